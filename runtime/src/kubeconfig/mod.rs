//! Kubeconfigs that others hand us. They are hostile input: a kubeconfig can name programs to run,
//! files to read and proxies to use. Only inline data is taken, everything else is refused by name,
//! and no message repeats what the document says. No IO.

mod error;
mod parse;
mod render;
#[cfg(test)]
mod tests;

use std::fmt;

use kube_bind_crds::hex;
use sha2::{Digest as _, Sha256};

pub use error::Error;
pub use render::render;

/// Larger documents are refused unread.
pub const MAX_BYTES: usize = 256 * 1024;

/// What an administrator may allow on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Accept `insecure-skip-tls-verify: true`.
    pub allow_insecure_tls: bool,
    /// Accept a server address that begins with `http://`.
    pub allow_http: bool,
}

/// How a client says who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A bearer token.
    Token(String),
    /// A client certificate.
    Certificate {
        /// PEM.
        certificate: String,
        /// PEM.
        key: String,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(<redacted>)",
            Self::Certificate { .. } => "Certificate(<redacted>)",
        })
    }
}

/// The current context of a kubeconfig that passed all checks.
#[derive(Clone, PartialEq, Eq)]
pub struct SafeKubeconfig {
    server: String,
    ca: Option<Ca>,
    tls_server_name: Option<String>,
    insecure: bool,
    namespace: String,
    credential: Credential,
}

/// A certificate authority, as it was written and as it is used.
#[derive(Clone, PartialEq, Eq)]
struct Ca {
    pem: String,
    der: Vec<Vec<u8>>,
}

impl SafeKubeconfig {
    /// Reads `document`, refusing whatever is not plain inline data.
    pub fn parse(document: &[u8], policy: Policy) -> Result<Self, Error> {
        parse::parse(document, policy)
    }

    /// Address of the API server, without a trailing slash.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The certificate authority as PEM; none means the machine's own trust store.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca.as_ref().map(|ca| ca.pem.as_str())
    }

    /// The certificates of [`SafeKubeconfig::ca_pem`] as DER.
    #[must_use]
    pub fn ca_certificates(&self) -> Option<&[Vec<u8>]> {
        self.ca.as_ref().map(|ca| ca.der.as_slice())
    }

    /// The name that the server's certificate must have, if not that of its address.
    #[must_use]
    pub fn tls_server_name(&self) -> Option<&str> {
        self.tls_server_name.as_deref()
    }

    /// Whether any server certificate is good enough; only where [`Policy`] allows it.
    #[must_use]
    pub fn skips_tls_verification(&self) -> bool {
        self.insecure
    }

    /// Namespace of the context: on the provider, the consumer's cluster namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How to authenticate. Not for logs.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// A hash over everything, safe to log and to compare: another one means another client.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let Self {
            server,
            ca,
            tls_server_name,
            insecure,
            namespace,
            credential,
        } = self;
        let (kind, first, second) = match credential {
            Credential::Token(token) => ("token", token.as_str(), ""),
            Credential::Certificate { certificate, key } => {
                ("certificate", certificate.as_str(), key.as_str())
            }
        };
        let mut hash = Sha256::new();
        for part in [
            server.as_str(),
            ca.as_ref().map_or("", |ca| ca.pem.as_str()),
            tls_server_name.as_deref().unwrap_or_default(),
            if *insecure { "insecure" } else { "" },
            namespace,
            kind,
            first,
            second,
        ] {
            // The length keeps neighbouring parts from running into each other.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hex::encode(&hash.finalize()[..16])
    }
}

impl fmt::Debug for SafeKubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafeKubeconfig")
            .field("server", &self.server)
            .field(
                "ca",
                &self
                    .ca
                    .as_ref()
                    .map(|ca| format!("{} certificates", ca.der.len())),
            )
            .field("tls_server_name", &self.tls_server_name)
            .field("insecure", &self.insecure)
            .field("namespace", &self.namespace)
            .field("credential", &self.credential)
            .finish()
    }
}
