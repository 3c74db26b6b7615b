//! What must hold between flags before anything starts. Each error names the flag and the remedy.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::{CALLBACK_PATH, Config, EMBEDDED_PATH, EMBEDDED_SUBJECT};

/// A command line that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that cannot be meant.
    #[error("invalid {flag}: {problem}; {remedy}")]
    Invalid {
        /// The flag.
        flag: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A flag that is needed.
    #[error("{flag} is missing: {remedy}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A file that a flag names cannot be read.
    #[error("failed to read {path} of {flag}", path = path.display())]
    Read {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

pub(super) fn invalid(
    flag: &'static str,
    problem: impl Into<String>,
    remedy: &'static str,
) -> Error {
    Error::Invalid {
        flag,
        problem: problem.into(),
        remedy,
    }
}

impl Config {
    /// Checks everything once and completes what follows from other flags.
    pub fn validate(&mut self) -> Result<(), Error> {
        self.validate_names()?;
        self.validate_external()?;
        self.validate_durations()?;
        self.validate_listener()?;
        self.validate_keys()?;
        self.validate_oidc()
    }

    fn validate_names(&self) -> Result<(), Error> {
        if self.pretty_name.is_empty() {
            return Err(invalid(
                "--pretty-name",
                "empty",
                "give the provider a name",
            ));
        }
        if self.namespace.is_empty() {
            return Err(invalid(
                "--namespace",
                "empty",
                "name the backend's own namespace",
            ));
        }
        let prefix = &self.namespace_prefix;
        let is_label_start = prefix.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && prefix
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            // 13 characters of hash follow, and service namespaces append the consumer's name.
            && prefix.len() <= 40;
        if !is_label_start {
            return Err(invalid(
                "--namespace-prefix",
                format!("{prefix:?} cannot begin a namespace name"),
                "use up to 40 lower-case letters, digits and dashes, beginning with a letter or digit",
            ));
        }
        Ok(())
    }

    fn validate_external(&self) -> Result<(), Error> {
        if let Some(address) = &self.external_address {
            let is_https = Url::parse(address)
                .is_ok_and(|url| url.scheme() == "https" && url.host_str().is_some());
            if !is_https {
                return Err(invalid(
                    "--external-address",
                    format!("{address:?} is no https URL"),
                    "give the address of the provider's API server as consumers reach it, beginning with https://",
                ));
            }
        }
        Ok(())
    }

    fn validate_durations(&self) -> Result<(), Error> {
        if self.schema_sync_interval < Duration::from_secs(10) {
            return Err(invalid(
                "--schema-sync-interval",
                "under 10s",
                "use 10s or more",
            ));
        }
        // The API server refuses tokens of under ten minutes.
        if self.credential_ttl < Duration::from_secs(600) {
            return Err(invalid("--credential-ttl", "under 10m", "use 10m or more"));
        }
        if self.credential_renew_after.is_zero()
            || self.credential_renew_after >= self.credential_ttl / 2
        {
            return Err(invalid(
                "--credential-renew-after",
                "not less than half of --credential-ttl",
                "renew earlier or let credentials live longer, so that one missed renewal does no harm",
            ));
        }
        let (shortest, longest) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
        if self.token_expiry < shortest || self.token_expiry > longest {
            return Err(invalid(
                "--token-expiry",
                "not between 1m and 24h",
                "use for example 1h",
            ));
        }
        Ok(())
    }

    fn validate_listener(&self) -> Result<(), Error> {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(_), None) => Err(Error::Missing {
                flag: "--tls-key-file",
                remedy: "give the private key of --tls-cert-file, or neither",
            }),
            (None, Some(_)) => Err(Error::Missing {
                flag: "--tls-cert-file",
                remedy: "give the certificate of --tls-key-file, or neither",
            }),
            _ => Ok(()),
        }
    }

    fn validate_keys(&self) -> Result<(), Error> {
        for (flag, key) in [
            ("--cookie-signing-key", &self.cookie_signing_key),
            ("--cookie-encryption-key", &self.cookie_encryption_key),
        ] {
            let Some(key) = key else { continue };
            if !matches!(STANDARD.decode(key.expose()), Ok(bytes) if [32, 64].contains(&bytes.len()))
            {
                return Err(invalid(
                    flag,
                    "not base64 of 32 or 64 bytes",
                    "drop the flag (keys are then kept in the Secret kube-bind-backend-keys) or use `openssl rand -base64 32`",
                ));
            }
        }
        if self.cookie_encryption_key.is_some() && self.cookie_signing_key.is_none() {
            return Err(Error::Missing {
                flag: "--cookie-signing-key",
                remedy: "give it together with --cookie-encryption-key, or neither",
            });
        }
        Ok(())
    }

    fn validate_oidc(&mut self) -> Result<(), Error> {
        let callback = &self.oidc_callback_url;
        let is_plain = callback.query().is_none()
            && callback.fragment().is_none()
            && callback.username().is_empty()
            && callback.password().is_none();
        if !is_http(callback) || !is_plain || !callback.path().ends_with(CALLBACK_PATH) {
            return Err(invalid(
                "--oidc-callback-url",
                format!("{callback} is no http(s) URL that ends in {CALLBACK_PATH}"),
                "give the backend's public URL followed by /api/callback",
            ));
        }
        if self.is_embedded() {
            return self.validate_embedded();
        }
        let issuer = self.oidc_issuer_url.as_deref().ok_or(Error::Missing {
            flag: "--oidc-issuer-url",
            remedy: "name the identity provider, or try things out with --oidc-type=embedded",
        })?;
        if !Url::parse(issuer).is_ok_and(|url| is_http(&url)) {
            return Err(invalid(
                "--oidc-issuer-url",
                format!("{issuer:?} is no http(s) URL"),
                "give the issuer exactly as the identity provider's discovery document spells it",
            ));
        }
        if self
            .oidc_issuer_client_id
            .as_deref()
            .unwrap_or_default()
            .is_empty()
        {
            return Err(Error::Missing {
                flag: "--oidc-issuer-client-id",
                remedy: "give the id under which the identity provider knows this backend",
            });
        }
        Ok(())
    }

    fn validate_embedded(&mut self) -> Result<(), Error> {
        let own = format!("{}{EMBEDDED_PATH}", self.public_url());
        let issuer = self.oidc_issuer_url.get_or_insert_with(|| own.clone());
        if *issuer != own {
            return Err(invalid(
                "--oidc-issuer-url",
                format!("{issuer:?} is not this backend"),
                "with --oidc-type=embedded drop it, or use the public URL (--oidc-callback-url without /api/callback) followed by /oidc",
            ));
        }
        if self.oidc_issuer_client_secret.is_some() || self.oidc_issuer_client_secret_file.is_some()
        {
            return Err(invalid(
                "--oidc-issuer-client-secret",
                "given with --oidc-type=embedded",
                "drop it: the embedded identity provider knows its only client",
            ));
        }
        if !self.listen_address.ip().is_loopback() && !self.embedded_oidc_allow_non_loopback {
            return Err(invalid(
                "--oidc-type",
                "the embedded identity provider lets everybody in, and --listen-address can be reached by others",
                "listen on 127.0.0.1, use a real identity provider, or accept the risk with --embedded-oidc-allow-non-loopback",
            ));
        }
        let is_loopback = match self.oidc_callback_url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if !is_loopback && !self.embedded_oidc_allow_non_loopback {
            return Err(invalid(
                "--oidc-type",
                "the embedded identity provider lets everybody in, and --oidc-callback-url names a host that others reach, perhaps by a proxy in front",
                "use 127.0.0.1 or localhost, use a real identity provider, or accept the risk with --embedded-oidc-allow-non-loopback",
            ));
        }
        if !self
            .oidc_allowed_users
            .iter()
            .any(|user| user == EMBEDDED_SUBJECT)
        {
            self.oidc_allowed_users.push(EMBEDDED_SUBJECT.to_owned());
        }
        Ok(())
    }
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.host_str().is_some()
}
