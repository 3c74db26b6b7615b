//! Kubernetes clients: with time-outs, a user agent, and without kube's own retries. Reads files and
//! the environment for the process's own cluster only.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::watch;

use crate::bounded;
use crate::kubeconfig::{Credential, SafeKubeconfig};
use crate::proxy::Proxy;
use crate::transport::Transport;

mod authorities;
#[cfg(test)]
mod proxy_tests;

pub use authorities::{Authorities, AuthoritiesError};

/// How long connecting may take, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be silent. Watches bring a bookmark about once a minute, and requests have
/// shorter time-outs of their own.
pub const READ_TIMEOUT: Duration = Duration::from_secs(100);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named file cannot be read or used.
    #[error("failed to load kubeconfig {path}")]
    Load {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// The default kubeconfig has no such context, or cannot be used.
    #[error("failed to load context {context:?} of the default kubeconfig")]
    Context {
        /// As given.
        context: String,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// Neither a kubeconfig nor a cluster around this process.
    #[error("failed to find a cluster: no usable kubeconfig, and not running in a cluster")]
    Infer(#[source] Box<kube::config::InferConfigError>),
    /// The user agent holds characters that no header may.
    #[error("user agent is not a valid header value")]
    UserAgent(#[source] http::header::InvalidHeaderValue),
    /// The server of a parsed kubeconfig is not a URI after all.
    #[error("failed to use the server address")]
    Server(#[source] http::uri::InvalidUri),
    /// The CA or the credential cannot be used, or TLS cannot be set up.
    #[error("failed to build the client")]
    Build(#[source] kube::Error),
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the API server's audit log shows.
    pub user_agent: String,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a connection may be silent. Watches are, but they show bookmarks every minute, so a
    /// longer silence means that the connection is dead.
    /// Time-outs of requests are the caller's ([`crate::apply::timed`]).
    pub read_timeout: Option<Duration>,
    /// Whether kube repeats requests answered with 429, 503 or 504 by itself, for minutes.
    pub retry: bool,
    /// The operator's proxy, for servers that a parsed kubeconfig names.
    pub proxy: Option<Proxy>,
    /// Authorities that the operator trusts beside those of a parsed kubeconfig.
    pub authorities: Authorities,
}

impl Options {
    /// Connecting and silence are limited, nothing is retried.
    #[must_use]
    pub fn new(user_agent: impl Into<String>) -> Self {
        Self {
            user_agent: user_agent.into(),
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: Some(READ_TIMEOUT),
            retry: false,
            proxy: None,
            authorities: Authorities::default(),
        }
    }
}

/// Connects to the cluster that this process belongs to, or that its user names: kube's normal
/// loading rules apply, because the kubeconfig is the user's own.
///
/// The client does not retry by itself. For other [`Options`], change the returned configuration
/// and use [`from_config`].
pub async fn consumer_or_provider(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    user_agent: &str,
) -> Result<(Client, Config), Error> {
    let context = context.filter(|context| !context.is_empty());
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = match (
        kubeconfig.filter(|path| !path.as_os_str().is_empty()),
        context,
    ) {
        (Some(path), _) => {
            let failed = |source| Error::Load {
                path: path.display().to_string(),
                source,
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(failed)?
        }
        (None, Some(context)) => {
            Config::from_kubeconfig(&options)
                .await
                .map_err(|source| Error::Context {
                    context: context.to_owned(),
                    source,
                })?
        }
        (None, None) => Config::infer()
            .await
            .map_err(|source| Error::Infer(Box::new(source)))?,
    };
    let config = configure(config, &Options::new(user_agent))?;
    let transport = Transport::to(config.clone()).map_err(Error::Build)?;
    Ok((transport.client(), config))
}

/// The way to the server of a configuration, with `options` put over it.
pub fn from_config(config: Config, options: &Options) -> Result<Transport, Error> {
    Transport::to(configure(config, options)?).map_err(Error::Build)
}

/// The way to the server of somebody else's kubeconfig. Needs a running runtime, but does not connect. Its
/// answers are bounded: the server is somebody else's, too.
pub fn from_safe(kubeconfig: &SafeKubeconfig, options: &Options) -> Result<Transport, Error> {
    let mut config = safe_config(kubeconfig)?;
    config.proxy_url = options
        .proxy
        .as_ref()
        .and_then(|proxy| proxy.for_server(&config.cluster_url))
        .cloned();
    config.root_cert = options.authorities.beside(config.root_cert.take());
    from_config(config, options).map(bounded::transport)
}

/// The configuration of somebody else's kubeconfig; nothing of this process is in it.
fn safe_config(kubeconfig: &SafeKubeconfig) -> Result<Config, Error> {
    let mut config = Config::new(kubeconfig.server().parse().map_err(Error::Server)?);
    config.default_namespace = kubeconfig.namespace().to_owned();
    config.root_cert = kubeconfig.ca_certificates().map(<[Vec<u8>]>::to_vec);
    config.accept_invalid_certs = kubeconfig.skips_tls_verification();
    config.tls_server_name = kubeconfig.tls_server_name().map(str::to_owned);
    match kubeconfig.credential() {
        Credential::Token(token) => config.auth_info.token = Some(token.clone().into()),
        Credential::Certificate { certificate, key } => {
            config.auth_info.client_certificate_data = Some(STANDARD.encode(certificate));
            config.auth_info.client_key_data = Some(STANDARD.encode(key).into());
        }
    }
    Ok(config)
}

fn configure(mut config: Config, options: &Options) -> Result<Config, Error> {
    let agent = HeaderValue::from_str(&options.user_agent).map_err(Error::UserAgent)?;
    config.headers.retain(|(name, _)| name != USER_AGENT);
    config.headers.push((USER_AGENT, agent));
    config.connect_timeout = Some(options.connect_timeout);
    config.read_timeout = options.read_timeout;
    // Otherwise the time that a pooled connection sat idle counts against the next answer.
    config.reset_reader_on_write = options.read_timeout.is_some();
    config.default_retry = options.retry;
    Ok(config)
}

/// A way to a server that can be replaced while others use it: a rotated credential must not stop a sync.
#[derive(Clone)]
pub struct SwapTransport {
    current: Arc<ArcSwap<Transport>>,
    /// Counts the exchanges.
    swaps: Arc<watch::Sender<u64>>,
}

impl SwapTransport {
    /// Starts with `transport`.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(transport)),
            swaps: Arc::new(watch::Sender::new(0)),
        }
    }

    /// What the next request goes by. Ask again for each: a kept one keeps its credential.
    #[must_use]
    pub fn get(&self) -> Arc<Transport> {
        self.current.load_full()
    }

    /// Replaces it; requests under way finish on the old one.
    pub fn swap(&self, transport: Transport) {
        self.current.store(Arc::new(transport));
        self.swaps.send_modify(|swaps| *swaps += 1);
    }

    /// Changes with each exchange: what the old credential was refused may be tried again.
    #[must_use]
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swaps.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use http::{HeaderMap, StatusCode};
    use k8s_openapi::api::core::v1::Namespace;
    use kube::Api;

    use super::*;
    use crate::health;
    use crate::kubeconfig::{Policy, render};
    use crate::shutdown::Shutdown;

    const POLICY: Policy = Policy {
        allow_insecure_tls: false,
        allow_http: true,
    };

    /// An API server that answers nothing but 429, and what it was asked with.
    async fn busy_server(shutdown: &Shutdown) -> (String, Arc<Mutex<Vec<HeaderMap>>>) {
        let asked: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let log = asked.clone();
        let busy = move |headers: HeaderMap| async move {
            log.lock().unwrap().push(headers);
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")])
        };
        let bound = health::serve("127.0.0.1:0", Router::new().fallback(busy), shutdown)
            .await
            .unwrap();
        (format!("http://{bound}"), asked)
    }

    fn kubeconfig(server: &str, token: &str) -> SafeKubeconfig {
        let yaml = render(server, None, None, "kube-bind-abc", token);
        SafeKubeconfig::parse(yaml.as_bytes(), POLICY).unwrap()
    }

    async fn ask(client: Client) -> kube::Result<Namespace> {
        let api: Api<Namespace> = Api::all(client);
        tokio::time::timeout(Duration::from_secs(20), api.get("x"))
            .await
            .expect("an answer in time")
    }

    #[tokio::test]
    async fn a_client_says_who_it_is_and_asks_once() {
        crate::tls::install_provider();
        let shutdown = Shutdown::new();
        let (server, asked) = busy_server(&shutdown).await;
        let client = from_safe(
            &kubeconfig(&server, "t0ken"),
            &Options::new("konnector/test"),
        )
        .unwrap();
        assert_eq!(client.default_namespace(), "kube-bind-abc");
        assert!(
            matches!(ask(client.client()).await, Err(kube::Error::Api(status)) if status.code == 429)
        );
        {
            let asked = asked.lock().unwrap();
            assert_eq!(asked.len(), 1, "kube's own retry is off");
            assert_eq!(asked[0]["user-agent"], "konnector/test");
            assert_eq!(asked[0]["authorization"], "Bearer t0ken");
        }
        shutdown.drain(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn kubes_retry_can_be_had() {
        crate::tls::install_provider();
        let shutdown = Shutdown::new();
        let (server, asked) = busy_server(&shutdown).await;
        let options = Options {
            retry: true,
            ..Options::new("test")
        };
        let client = from_safe(&kubeconfig(&server, "t"), &options).unwrap();
        let api: Api<Namespace> = Api::all(client.client());
        let retried = async {
            while asked.lock().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = api.get("x") => panic!("gave up: {answer:?}"),
            () = retried => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("not retried in time"),
        }
        shutdown.drain(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn a_swapped_transport_is_used_by_those_who_ask_again() {
        crate::tls::install_provider();
        let shutdown = Shutdown::new();
        let (server, asked) = busy_server(&shutdown).await;
        let client = |token| from_safe(&kubeconfig(&server, token), &Options::new("test")).unwrap();
        let shared = SwapTransport::new(client("old"));
        let user = shared.clone();
        let swaps = user.swaps();
        assert!(!swaps.has_changed().unwrap());
        assert!(ask(user.get().client()).await.is_err());
        shared.swap(client("new"));
        assert!(ask(user.get().client()).await.is_err());
        assert!(swaps.has_changed().unwrap());
        let tokens: Vec<_> = asked
            .lock()
            .unwrap()
            .iter()
            .map(|headers| headers["authorization"].clone())
            .collect();
        assert_eq!(tokens, ["Bearer old", "Bearer new"]);
        shutdown.drain(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn everything_of_a_safe_kubeconfig_reaches_the_client() {
        crate::tls::install_provider();
        let ca = include_str!("kubeconfig/testdata/ca.pem");
        let yaml = render(
            "https://127.0.0.1:6443/clusters/a",
            Some(ca),
            Some("kubernetes"),
            "ns",
            "t",
        );
        let safe = SafeKubeconfig::parse(yaml.as_bytes(), POLICY).unwrap();
        let config = configure(safe_config(&safe).unwrap(), &Options::new("test")).unwrap();
        assert_eq!(config.cluster_url, "https://127.0.0.1:6443/clusters/a");
        assert_eq!(config.tls_server_name.as_deref(), Some("kubernetes"));
        assert_eq!(config.root_cert.as_ref().map(Vec::len), Some(1));
        assert_eq!(config.connect_timeout, Some(CONNECT_TIMEOUT));
        assert_eq!(config.read_timeout, Some(READ_TIMEOUT), "no watch hangs");
        assert!(config.reset_reader_on_write);
        assert!(
            !config.default_retry && !config.accept_invalid_certs && config.proxy_url.is_none()
        );
        from_safe(&safe, &Options::new("test")).unwrap();
    }

    #[tokio::test]
    async fn credentials_that_only_look_right_are_an_error_not_a_panic() {
        crate::tls::install_provider();
        let nonsense = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let yaml = render("https://127.0.0.1", Some(nonsense), None, "ns", "t");
        let safe = SafeKubeconfig::parse(yaml.as_bytes(), POLICY).unwrap();
        assert!(matches!(
            from_safe(&safe, &Options::new("test")),
            Err(Error::Build(_))
        ));
        let safe = kubeconfig("https://127.0.0.1", "t");
        assert!(matches!(
            from_safe(&safe, &Options::new("two\nlines")),
            Err(Error::UserAgent(_))
        ));
    }

    #[tokio::test]
    async fn the_users_own_kubeconfig_is_loaded_from_the_named_file_and_context() {
        crate::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(
            &path,
            render("https://127.0.0.1:1", None, None, "mine", "t"),
        )
        .unwrap();
        let (client, config) =
            consumer_or_provider(Some(&path), Some("default"), "kubectl-bind/test")
                .await
                .unwrap();
        assert_eq!(client.default_namespace(), "mine");
        assert_eq!(
            config.headers,
            [(USER_AGENT, HeaderValue::from_static("kubectl-bind/test"))]
        );
        assert!(!config.default_retry);

        for (path, context) in [
            (path.clone(), Some("absent")),
            (dir.path().join("absent"), None),
        ] {
            let error = consumer_or_provider(Some(&path), context, "test")
                .await
                .err()
                .expect("fails");
            assert!(
                error.to_string().starts_with("failed to load kubeconfig /"),
                "{error}"
            );
        }
    }
}
