//! What works but should not stay so. Pure.

use std::fmt;

use url::Url;

use super::Config;

/// Something that works but should not stay so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning(&'static str);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Config {
    /// What works but should not stay so, for the log at start.
    pub fn warnings(&self) -> Vec<Warning> {
        let is_clear_text = |url: &Url| url.scheme() == "http" && !is_loopback(url);
        let issuer = self
            .oidc_issuer_url
            .as_deref()
            .and_then(|url| Url::parse(url).ok());
        [
            (
                self.oidc_issuer_client_secret.is_some(),
                "--oidc-issuer-client-secret is deprecated: everyone on the machine can read it; use OIDC_CLIENT_SECRET or --oidc-issuer-client-secret-file",
            ),
            (
                self.cookie_signing_key.is_some(),
                "--cookie-signing-key and --cookie-encryption-key are deprecated: everyone on the machine can read them; without them keys are kept in the Secret kube-bind-backend-keys",
            ),
            (
                self.allow_legacy_login,
                "--allow-legacy-login puts tokens into URLs on users' machines; drop it when all users have the new plugin",
            ),
            (
                is_clear_text(&self.oidc_callback_url),
                "--oidc-callback-url is not https: cookies and codes travel in the clear",
            ),
            (
                issuer.is_some_and(|url| is_clear_text(&url)),
                "--oidc-issuer-url is not https: whoever is on the way can impersonate the identity provider",
            ),
            (
                self.allow_shared_reads,
                "--allow-shared-reads lets consumers read each other's objects of every kind that is bound cluster-wide",
            ),
            (
                self.oidc_allowed_groups.is_empty() && self.oidc_allowed_users.is_empty(),
                "neither --oidc-allowed-groups nor --oidc-allowed-users is given: only users with roles of their own can bind",
            ),
        ]
        .into_iter()
        .filter_map(|(holds, text)| holds.then_some(Warning(text)))
        .collect()
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
