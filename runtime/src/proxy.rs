//! The proxy that the operator of this process names in its environment, with the meaning that Go
//! programs give to the variables: `HTTPS_PROXY` and `NO_PROXY`, or their lower-case forms.
//!
//! A kubeconfig from somebody else must not name a proxy; the environment is the operator's own. Reads
//! the environment, and does no other IO.

use std::net::IpAddr;

use http::Uri;

/// Why the environment cannot be followed. The values are not repeated: they may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The proxy is no address.
    #[error("failed to read HTTPS_PROXY: it is not a URL such as http://proxy.example:3128")]
    Url,
    /// The proxy speaks something else.
    #[error("failed to use HTTPS_PROXY: only http:// and https:// proxies are supported")]
    Scheme,
}

/// A proxy, and the hosts that are reached without it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    url: Uri,
    except: Vec<Except>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.url.host())
            .field("except", &self.except)
            .finish()
    }
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Except {
    Everything,
    /// An address range: network and length of the prefix.
    Network(IpAddr, u8),
    /// A domain and what is below it; without `apex` only what is below it.
    Domain {
        name: String,
        apex: bool,
        port: Option<u16>,
    },
    /// An address, with a port if only that one is meant.
    Address(IpAddr, Option<u16>),
}

impl Proxy {
    /// What the environment of this process says.
    pub fn from_env() -> Result<Option<Self>, Error> {
        let read = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        };
        Self::new(
            read(["HTTPS_PROXY", "https_proxy"]).as_deref(),
            read(["NO_PROXY", "no_proxy"]).as_deref(),
        )
    }

    /// The proxy that these values name.
    pub fn new(proxy: Option<&str>, except: Option<&str>) -> Result<Option<Self>, Error> {
        let Some(proxy) = proxy.map(str::trim).filter(|proxy| !proxy.is_empty()) else {
            return Ok(None);
        };
        let with_scheme = if proxy.contains("://") {
            proxy.to_owned()
        } else {
            format!("http://{proxy}")
        };
        let url: Uri = with_scheme.parse().map_err(|_| Error::Url)?;
        if url.host().is_none_or(str::is_empty) {
            return Err(Error::Url);
        }
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(Error::Scheme);
        }
        let except = except.unwrap_or_default().split(',').filter_map(Except::of);
        Ok(Some(Self {
            url,
            except: except.collect(),
        }))
    }

    /// The proxy through which a server is reached; none for this machine itself and for exceptions.
    #[must_use]
    pub fn for_server(&self, server: &Uri) -> Option<&Uri> {
        let host = bare(server.host()?).to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        let default = if server.scheme_str() == Some("http") {
            80
        } else {
            443
        };
        let port = server.port_u16().unwrap_or(default);
        let excepted = self
            .except
            .iter()
            .any(|except| except.matches(&host, address, port));
        (!excepted).then_some(&self.url)
    }
}

impl Except {
    /// Reads one entry; what means nothing is skipped, as Go does.
    fn of(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Some((network, length)) = entry.split_once('/') {
            let network: IpAddr = network.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            let longest = if network.is_ipv4() { 32 } else { 128 };
            return (length <= longest).then_some(Self::Network(network, length));
        }
        if let Ok(address) = bare(&entry).parse() {
            return Some(Self::Address(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (&*entry, None),
        };
        if let Ok(address) = bare(host).parse() {
            return Some(Self::Address(address, port));
        }
        let host = host.strip_prefix('*').unwrap_or(host);
        let name = host.strip_prefix('.').unwrap_or(host).to_owned();
        let apex = name.len() == host.len();
        (!name.is_empty()).then_some(Self::Domain { name, apex, port })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network, length) => {
                address.is_some_and(|address| within(address, *network, *length))
            }
            Self::Address(excepted, only) => {
                address == Some(*excepted) && only.is_none_or(|only| only == port)
            }
            Self::Domain {
                name,
                apex,
                port: only,
            } => {
                let below = host
                    .strip_suffix(&**name)
                    .is_some_and(|rest| rest.ends_with('.'));
                (below || (*apex && host == name)) && only.is_none_or(|only| only == port)
            }
        }
    }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let differ = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
        _ => return false,
    };
    // Shifting by the whole width would be an overflow.
    length == 0 || differ >> (128 - u32::from(length)) == 0
}

#[cfg(test)]
mod tests;
