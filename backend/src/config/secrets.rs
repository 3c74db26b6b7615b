//! What flags only name the place of: the client secret and the CA certificates. Reads files.

use std::path::Path;

use super::validate::{Error, invalid};
use super::{Config, Sensitive};

impl Config {
    /// The client secret: from the environment, the file, or the deprecated flag. Reads the file.
    pub fn client_secret(&self, from_env: Option<String>) -> Result<Option<Sensitive>, Error> {
        if let Some(secret) = from_env.filter(|secret| !secret.is_empty()) {
            return Ok(Some(secret.into()));
        }
        let Some(path) = &self.oidc_issuer_client_secret_file else {
            return Ok(self.oidc_issuer_client_secret.clone());
        };
        let secret = read("--oidc-issuer-client-secret-file", path)?;
        let secret = String::from_utf8_lossy(&secret).trim().to_owned();
        if secret.is_empty() {
            return Err(invalid(
                "--oidc-issuer-client-secret-file",
                "the file is empty",
                "write the client secret into it",
            ));
        }
        Ok(Some(secret.into()))
    }

    /// The identity provider's CA certificates. Reads the file.
    pub fn oidc_ca(&self) -> Result<Option<Vec<u8>>, Error> {
        let path = self.oidc_ca_file.as_deref();
        path.map(|path| read("--oidc-ca-file", path)).transpose()
    }
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        flag,
        path: path.to_owned(),
        source,
    })
}
