//! The connections to one API server: kube's own stack, except for what costs time or memory when many
//! requests and watches go to one server. Connects when it is used, not before.

use std::time::Duration;

use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config, Error};
use tower::retry::RetryLayer;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

/// Unused connections go after this long: a burst opens many, and each has its buffers.
const IDLE: Duration = Duration::from_secs(30);
/// Largest buffer of a connection. Without a limit each one that ever brought a lot keeps 400 KiB.
const BUFFER: usize = 64 << 10;

/// The body of an answer.
pub type Answer = UnsyncBoxBody<Bytes, Error>;

/// The way to one API server, which puts address, credential and headers on each request. Cheap to clone.
///
/// A [`Client`] is a queue with a task of its own before it: whoever sends a request for each of thousands
/// of objects saves that.
#[derive(Clone)]
pub struct Transport {
    service: BoxCloneSyncService<Request<Body>, Response<Answer>, Error>,
    namespace: String,
}

impl Transport {
    /// By the way of `service`.
    pub fn new<S, B>(service: S, namespace: impl Into<String>) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Error>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let boxed = |answer: Response<B>| {
            answer.map(|body| body.map_err(|e| error(e.into())).boxed_unsync())
        };
        Self {
            service: BoxCloneSyncService::new(service.map_response(boxed)),
            namespace: namespace.into(),
        }
    }

    /// To the server of this configuration.
    pub(crate) fn to(config: Config) -> Result<Self, Error> {
        // A proxy changes how connections are made, and a helper program how long a client lives: those
        // are kube's business, and speed is not what matters there.
        if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
            return Client::try_from(config).map(Self::from);
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        // A request that does not fit into one packet must not wait for the answer to its first one.
        http.set_nodelay(true);
        let mut connector =
            TimeoutConnector::new(config.rustls_https_connector_with_connector(http)?);
        connector.set_connect_timeout(config.connect_timeout);
        connector.set_read_timeout(config.read_timeout);
        connector.set_write_timeout(config.write_timeout);
        connector.set_reset_reader_on_write(config.reset_reader_on_write);
        let connections = hyper_util::client::legacy::Builder::new(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(BUFFER)
            .build::<_, Body>(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(
                config
                    .default_retry
                    .then(|| RetryLayer::new(RetryPolicy::server_retry())),
            )
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(connections)
            .map_err(error);
        Ok(Self::new(service, config.default_namespace))
    }

    /// Asks the server, or begins a watch.
    pub fn send(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Answer>, Error>> + Send + use<> {
        self.service.clone().oneshot(request)
    }

    /// For [`kube::Api`].
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.service.clone(), self.namespace.clone())
    }

    /// The namespace of who names none.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        &self.namespace
    }
}

/// Asks by way of a client, whatever that does with requests.
impl From<Client> for Transport {
    fn from(client: Client) -> Self {
        let namespace = client.default_namespace().to_owned();
        let service = tower::service_fn(move |request| {
            let client = client.clone();
            async move { client.send(request).await }
        });
        Self::new(service, namespace)
    }
}

/// The error as a [`Client`] would give it.
fn error(error: BoxError) -> Error {
    error
        .downcast::<Error>()
        .map_or_else(Error::Service, |error| *error)
}
