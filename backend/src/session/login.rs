//! The state of a login under way: what the client asked for, and what binds the answer of the
//! identity provider to the browser. Lives in a sealed cookie, nowhere else. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::{Host, Url};

/// How long a user may take at the identity provider.
pub const LIFE: Duration = Duration::from_secs(600);
const COOKIE: &str = "kube-bind-login-";
const MAX_REDIRECT: usize = 512;
const MAX_SESSION_ID: usize = 256;
/// Length of the base64 of a SHA-256.
const CHALLENGE_CHARS: usize = 43;

/// A login under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// OAuth `state`.
    pub state: String,
    /// OpenID Connect `nonce`.
    pub nonce: String,
    /// Our own PKCE verifier towards the identity provider.
    pub verifier: String,
    /// Who gets the result.
    pub client: Client,
}

/// The plugin on the user's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Where it listens.
    pub redirect_url: String,
    /// What it recognises its login by.
    pub session_id: String,
    /// Its PKCE challenge; none for the original's plugin.
    pub challenge: Option<String>,
}

/// What the client asks for, as it comes.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Request {
    /// `cli`.
    #[serde(default)]
    pub client_type: String,
    /// Where the client listens.
    #[serde(default)]
    pub redirect_url: String,
    /// What it recognises its login by.
    #[serde(default)]
    pub session_id: String,
    /// Its PKCE challenge.
    #[serde(default)]
    pub code_challenge: Option<String>,
    /// `S256`.
    #[serde(default)]
    pub code_challenge_method: Option<String>,
    /// Always empty: there is one provider cluster.
    #[serde(default)]
    pub cluster_id: String,
}

/// A request that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not the plugin.
    #[error("client_type must be cli: log in with `kubectl bind login`")]
    ClientType,
    /// Not a loopback literal.
    #[error("redirect_url must be http://127.0.0.1:<port>/... or http://[::1]:<port>/...")]
    RedirectUrl,
    /// None, or too long.
    #[error(
        "session_id must have 1 to {MAX_SESSION_ID} letters, digits, dashes, dots or underscores"
    )]
    SessionId,
    /// A plugin without PKCE.
    #[error(
        "code_challenge is missing: this plugin is too old for this provider; get a newer kubectl-bind, or ask the provider to start the backend with --allow-legacy-login"
    )]
    NoChallenge,
    /// Not S256.
    #[error(
        "code_challenge must be the base64url SHA-256 of the verifier, with code_challenge_method=S256"
    )]
    Challenge,
    /// There is only one cluster.
    #[error("no cluster {0:?}: this provider has only one, leave cluster_id out")]
    Cluster(String),
}

impl Client {
    /// Checks a request.
    pub fn parse(request: Request, allow_legacy: bool) -> Result<Self, Invalid> {
        if request.client_type != "cli" {
            return Err(Invalid::ClientType);
        }
        if !request.cluster_id.is_empty() {
            return Err(Invalid::Cluster(request.cluster_id));
        }
        if !is_loopback_literal(&request.redirect_url) {
            return Err(Invalid::RedirectUrl);
        }
        let is_id_char = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        let id = &request.session_id;
        if id.is_empty() || id.len() > MAX_SESSION_ID || !id.chars().all(is_id_char) {
            return Err(Invalid::SessionId);
        }
        let challenge = request
            .code_challenge
            .filter(|challenge| !challenge.is_empty());
        match &challenge {
            None if !allow_legacy => return Err(Invalid::NoChallenge),
            Some(challenge)
                if request.code_challenge_method.as_deref() != Some("S256")
                    || challenge.len() != CHALLENGE_CHARS
                    || URL_SAFE_NO_PAD.decode(challenge).is_err() =>
            {
                return Err(Invalid::Challenge);
            }
            _ => {}
        }
        Ok(Self {
            redirect_url: request.redirect_url,
            session_id: request.session_id,
            challenge,
        })
    }

    /// The redirect URL with parameters added.
    pub fn redirect(&self, parameters: &[(&str, &str)]) -> String {
        let mut url = Url::parse(&self.redirect_url).expect("parse has checked it");
        url.query_pairs_mut().extend_pairs(parameters);
        url.into()
    }
}

/// Whether `text` is an http URL of this machine that names it by address: names such as
/// `localhost` can be made to point elsewhere (RFC 8252 section 8.3).
fn is_loopback_literal(text: &str) -> bool {
    let literal = text.starts_with("http://127.0.0.1:") || text.starts_with("http://[::1]:");
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip == Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(ip)) => ip == Ipv6Addr::LOCALHOST,
        _ => false,
    };
    literal
        && is_loopback
        && text.len() <= MAX_REDIRECT
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && url.port().is_some_and(|port| port != 0)
}

/// Name of the cookie of the login with this `state`; logins in several tabs do not meet.
pub fn cookie_name(state: &str, is_https: bool) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(state));
    // Browsers take a __Host- cookie only from https, and send it back to this host only.
    let prefix = if is_https { "__Host-" } else { "" };
    format!("{prefix}{COOKIE}{}", &digest[..16])
}

/// The S256 challenge of a PKCE verifier.
pub fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(redirect_url: &str) -> Request {
        Request {
            client_type: "cli".into(),
            redirect_url: redirect_url.into(),
            session_id: "abc-123".into(),
            code_challenge: Some(challenge_of("verifier")),
            code_challenge_method: Some("S256".into()),
            cluster_id: String::new(),
        }
    }

    #[test]
    fn only_loopback_literals_get_a_code() {
        for url in [
            "http://127.0.0.1:8000/callback",
            "http://[::1]:9/",
            "http://127.0.0.1:65535/a?b=c",
        ] {
            assert!(Client::parse(request(url), false).is_ok(), "{url}");
        }
        for url in [
            "",
            "http://localhost:8000/callback",
            "https://127.0.0.1:8000/callback",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:80/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:8000@evil.example/callback",
            "http://user@127.0.0.1:8000/callback",
            "http://127.0.0.1:8000#@evil.example",
            "http://127.0.0.1.evil.example:8000/",
            "http://127.0.0.2:8000/",
            "http://127.1:8000/",
            "http://0x7f000001:8000/",
            "http://[::ffff:127.0.0.1]:8000/",
            "http://evil.example:8000/",
            "http:\\\\127.0.0.1:8000/",
            "javascript:alert(1)//127.0.0.1:1",
            "//127.0.0.1:8000/",
        ] {
            let result = Client::parse(request(url), true);
            assert_eq!(result, Err(Invalid::RedirectUrl), "{url}");
        }
    }

    #[test]
    fn a_plugin_without_pkce_needs_the_legacy_flag() {
        let mut old = request("http://127.0.0.1:8000/callback");
        old.code_challenge = None;
        old.code_challenge_method = None;
        assert_eq!(Client::parse(old.clone(), false), Err(Invalid::NoChallenge));
        assert_eq!(Client::parse(old, true).unwrap().challenge, None);
    }

    #[test]
    fn a_plain_or_malformed_challenge_is_refused_even_with_the_legacy_flag() {
        let good = request("http://127.0.0.1:8000/callback");
        for (challenge, method) in [
            (challenge_of("v"), Some("plain")),
            (challenge_of("v"), None),
            ("short".to_owned(), Some("S256")),
            ("!".repeat(43), Some("S256")),
        ] {
            let mut bad = good.clone();
            bad.code_challenge = Some(challenge);
            bad.code_challenge_method = method.map(str::to_owned);
            assert_eq!(Client::parse(bad, true), Err(Invalid::Challenge));
        }
    }

    #[test]
    fn other_clients_clusters_and_session_ids_are_refused() {
        let good = request("http://127.0.0.1:8000/callback");
        let ui = Request {
            client_type: "ui".into(),
            ..good.clone()
        };
        assert_eq!(Client::parse(ui, true), Err(Invalid::ClientType));
        let cluster = Request {
            cluster_id: "root".into(),
            ..good.clone()
        };
        assert_eq!(
            Client::parse(cluster, true),
            Err(Invalid::Cluster("root".into()))
        );
        for id in ["", "a b", "a&b", "\n"] {
            let bad = Request {
                session_id: id.into(),
                ..good.clone()
            };
            assert_eq!(Client::parse(bad, true), Err(Invalid::SessionId));
        }
    }

    #[test]
    fn parameters_are_added_to_those_that_are_there() {
        let client = Client::parse(request("http://127.0.0.1:8000/cb?x=1"), false).unwrap();
        assert_eq!(
            client.redirect(&[("error", "a b&c")]),
            "http://127.0.0.1:8000/cb?x=1&error=a+b%26c"
        );
    }
}
