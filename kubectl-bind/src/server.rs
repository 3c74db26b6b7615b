//! Which provider server is meant: parsing of what people type, and the keys of the token store. Pure.

use url::{Host, Url};

/// Why a text names no usable server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL at all.
    #[error("{text:?} is not a server address like https://provider.example{hint}")]
    NotAUrl {
        /// As typed.
        text: String,
        /// What was probably meant.
        hint: String,
    },
    /// Neither http nor https.
    #[error("{0:?} is not a server address: it must begin with https://")]
    Scheme(String),
    /// A password in an argument is readable by everybody on the machine.
    #[error(
        "the server address must not contain a user name or password: log in with \"kubectl bind login\" instead"
    )]
    UserInfo,
    /// Two different clusters were named.
    #[error("--cluster is {flag:?} but the server address says {address:?}")]
    TwoClusters {
        /// Value of the flag.
        flag: String,
        /// Part of the address.
        address: String,
    },
    /// Tokens would cross the network readable by anybody.
    #[error(
        "{0} is not encrypted: use https://, or --insecure-allow-http if you trust everybody on the way"
    )]
    PlainHttp(String),
}

/// A provider server, and the cluster behind it for providers with many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    url: Url,
    cluster: Option<String>,
}

impl Server {
    /// Reads `URL`, `URL@cluster` (what people type) or `cluster@URL` (keys of the token store).
    pub fn parse(text: &str, cluster: Option<&str>) -> Result<Self, Error> {
        if has_password(text) {
            return Err(Error::UserInfo);
        }
        let (address, part) = split_cluster(text);
        let cluster = match (cluster.filter(|c| !c.is_empty()), part) {
            (Some(flag), Some(address)) if flag != address => {
                return Err(Error::TwoClusters {
                    flag: flag.into(),
                    address: address.into(),
                });
            }
            (flag, part) => flag.or(part).map(str::to_owned),
        };
        let mut url = parse(address)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::UserInfo);
        }
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Error::Scheme(address.to_owned()));
        }
        url.set_path("");
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { url, cluster })
    }

    /// Refuses plain http to anything but this machine.
    pub fn encrypted_or_local(self, allow_http: bool) -> Result<Self, Error> {
        if allow_http || is_encrypted_or_local(&self.url) {
            Ok(self)
        } else {
            Err(Error::PlainHttp(self.address()))
        }
    }

    /// `scheme://host[:port]`.
    pub fn address(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The provider's cluster, for providers with many.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// Key in the token store: `[cluster@]scheme://host[:port]`.
    pub fn key(&self) -> String {
        match &self.cluster {
            Some(cluster) => format!("{cluster}@{}", self.address()),
            None => self.address(),
        }
    }

    /// Address of an API endpoint; the path begins with a slash.
    pub fn endpoint(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        if let Some(cluster) = &self.cluster {
            url.query_pairs_mut().append_pair("cluster_id", cluster);
        }
        url
    }

    /// The login address that the server named, if the browser may be sent there.
    ///
    /// The original's backend says `http` even behind TLS; on its own host that is put right.
    pub fn login_address(&self, named: &str, allow_http: bool) -> Result<Url, Error> {
        let mut url = parse(named)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::UserInfo);
        }
        if url.scheme() == "http" && self.url.scheme() == "https" && url.host() == self.url.host() {
            url = parse(&named.replacen("http:", "https:", 1))?;
        }
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Error::Scheme(named.to_owned()));
        }
        if allow_http || is_encrypted_or_local(&url) {
            Ok(url)
        } else {
            Err(Error::PlainHttp(url.origin().ascii_serialization()))
        }
    }
}

fn parse(text: &str) -> Result<Url, Error> {
    Url::parse(text).map_err(|err| {
        let hint = match err {
            url::ParseError::RelativeUrlWithoutBase if text.contains('.') => {
                format!(": did you mean https://{text}?")
            }
            url::ParseError::RelativeUrlWithoutBase => {
                ", nor a command: \"kubectl bind --help\" lists those".to_owned()
            }
            other => format!(": {other}"),
        };
        Error::NotAUrl {
            text: text.to_owned(),
            hint,
        }
    })
}

/// Looked for before the text is taken apart, so that no message quotes it. What follows the colon of
/// `https://provider.example:8443@cluster` is a port.
fn has_password(text: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    Url::parse(text).is_ok_and(|url| url.password().is_some_and(|password| !is_port(password)))
}

fn is_encrypted_or_local(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

fn split_cluster(text: &str) -> (&str, Option<&str>) {
    let is_url = |part: &str| part.starts_with("http://") || part.starts_with("https://");
    match text.split_once('@') {
        Some((cluster, url)) if is_url(url) && !is_url(cluster) => (url, Some(cluster)),
        _ => match text.rsplit_once('@') {
            // What follows the at sign of credentials is a host, and those have dots, colons or slashes.
            Some((url, cluster)) if is_url(url) && is_cluster_id(cluster) => (url, Some(cluster)),
            _ => (text, None),
        },
    }
}

fn is_cluster_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        Server::parse(text, None).unwrap().key()
    }

    #[test]
    fn addresses_are_reduced_to_their_origin() {
        assert_eq!(
            key("https://Provider.Example/some/path?x=1#y"),
            "https://provider.example"
        );
        assert_eq!(key("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
    }

    #[test]
    fn what_is_no_address_gets_a_hint() {
        let error = |text: &str| Server::parse(text, None).unwrap_err().to_string();
        assert!(error("provider.example").ends_with("did you mean https://provider.example?"));
        assert!(error("tempaltes").contains("--help"));
        assert!(error("https://").ends_with(": empty host"));
        assert!(!error("https://me:secret@provider").contains("secret"));
    }

    #[test]
    fn a_port_before_a_cluster_is_no_password() {
        assert_eq!(
            key("https://provider.example:8443@kcp1"),
            "kcp1@https://provider.example:8443"
        );
    }

    #[test]
    fn both_orders_of_cluster_and_address_give_the_same_key() {
        assert_eq!(
            key("https://provider.example@kcp1"),
            "kcp1@https://provider.example"
        );
        assert_eq!(
            key("kcp1@https://provider.example"),
            "kcp1@https://provider.example"
        );
        let flag = Server::parse("https://provider.example", Some("kcp1")).unwrap();
        assert_eq!(flag.key(), "kcp1@https://provider.example");
        assert!(Server::parse("https://provider.example@kcp1", Some("kcp2")).is_err());
    }

    #[test]
    fn credentials_in_the_address_are_refused() {
        for text in [
            "https://me:pw@provider.example",
            "https://me:pw@provider",
            "https://me@provider.example",
        ] {
            assert!(
                matches!(Server::parse(text, None), Err(Error::UserInfo)),
                "{text}"
            );
        }
    }

    #[test]
    fn other_schemes_and_plain_words_are_refused() {
        for text in [
            "provider.example",
            "ftp://provider.example",
            "file:///etc/passwd",
            "",
        ] {
            assert!(Server::parse(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let check = |text: &str| Server::parse(text, None).unwrap().encrypted_or_local(false);
        assert!(check("http://127.0.0.1:1").is_ok());
        assert!(check("http://[::1]:1").is_ok());
        assert!(check("http://localhost").is_ok());
        assert!(check("https://provider.example").is_ok());
        assert!(check("http://provider.example").is_err());
        assert!(check("http://localhost.provider.example").is_err());
        let allowed = Server::parse("http://provider.example", None)
            .unwrap()
            .encrypted_or_local(true);
        assert!(allowed.is_ok());
    }

    #[test]
    fn endpoints_carry_the_cluster() {
        let server = Server::parse("kcp1@https://provider.example", None).unwrap();
        assert_eq!(
            server.endpoint("/api/templates").as_str(),
            "https://provider.example/api/templates?cluster_id=kcp1"
        );
    }

    #[test]
    fn a_login_address_on_the_same_host_is_lifted_to_https() {
        let server = Server::parse("https://provider.example", None).unwrap();
        let lifted = server
            .login_address("http://provider.example/api/authorize", false)
            .unwrap();
        assert_eq!(lifted.as_str(), "https://provider.example/api/authorize");
        assert!(server.login_address("http://evil.example/", false).is_err());
        assert!(server.login_address("javascript:alert(1)", false).is_err());
    }
}
