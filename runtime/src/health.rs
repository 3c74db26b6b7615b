//! The operations listener: is the process alive, is it ready, and its metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::shutdown::Shutdown;

/// Metrics of a process; everything that measures registers here at start.
pub type SharedRegistry = Arc<Mutex<Registry>>;

/// What a failing check means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Do not send requests here for now.
    Ready,
    /// Restart this process; nothing else helps.
    Alive,
}

#[derive(Debug, Clone)]
struct Check {
    kind: Kind,
    failure: Option<String>,
}

/// Named checks of a process; clones share them. Without any check all is well.
#[derive(Debug, Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<String, Check>>>,
}

/// Why the listener did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address.
    #[error("failed to parse listen address {address:?}: expected IP:port or :port")]
    Address {
        /// As given.
        address: String,
    },
    /// The address is taken or not ours.
    #[error("failed to listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// One check in a response.
#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    failing: BTreeMap<String, String>,
}

impl Health {
    /// No checks yet: alive and ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// States whether `name` is ready; the reason is shown to whoever can reach the listener.
    pub fn set(&self, name: &str, state: Result<(), String>) {
        self.insert(name, Kind::Ready, state);
    }

    /// States whether `name` is beyond repair without a restart.
    pub fn set_alive(&self, name: &str, state: Result<(), String>) {
        self.insert(name, Kind::Alive, state);
    }

    /// Forgets the check `name`: what it watched is gone.
    pub fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// The failing checks with their reasons; empty means ready.
    #[must_use]
    pub fn failing(&self) -> BTreeMap<String, String> {
        let checks = self.lock();
        checks
            .iter()
            .filter_map(|(name, check)| Some((name.clone(), check.failure.clone()?)))
            .collect()
    }

    fn insert(&self, name: &str, kind: Kind, state: Result<(), String>) {
        self.lock().insert(
            name.to_owned(),
            Check {
                kind,
                failure: state.err(),
            },
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Check>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `ok` or `degraded` per check, as the original's health document has it.
    fn summary(&self) -> (bool, BTreeMap<String, &'static str>) {
        let checks = self.lock();
        let alive = checks
            .values()
            .all(|check| check.kind == Kind::Ready || check.failure.is_none());
        let states = checks
            .iter()
            .map(|(name, check)| {
                (
                    name.clone(),
                    if check.failure.is_none() {
                        "ok"
                    } else {
                        "degraded"
                    },
                )
            })
            .collect();
        (alive, states)
    }
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(health: Health, registry: SharedRegistry) -> Router {
    Router::new()
        .merge(healthz(health.clone()))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(metrics).with_state(registry))
}

/// `/healthz` alone, for a listener that the public reaches.
pub fn healthz(health: Health) -> Router {
    Router::new().route("/healthz", get(alive).with_state(health))
}

/// Listens on `address` (`127.0.0.1:8081`, or Go's `:8090` for all addresses) and serves `router` as
/// a task of `shutdown`, until it is cancelled. Returns the address really bound, for port 0.
pub async fn serve(
    address: &str,
    router: Router,
    shutdown: &Shutdown,
) -> Result<SocketAddr, Error> {
    let listener = bind(address).await?;
    let bound = listener.local_addr().map_err(|source| Error::Bind {
        address: ([0, 0, 0, 0], 0).into(),
        source,
    })?;
    let stop = shutdown.token.clone();
    shutdown.spawn(format!("listener {bound}"), async move {
        let server = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(err) = server.await {
            tracing::error!(
                error = &err as &dyn std::error::Error,
                "listener {bound} failed"
            );
        }
    });
    tracing::info!(address = %bound, "listening on {bound}");
    Ok(bound)
}

/// Binds a listen address as the flags spell it.
pub async fn bind(address: &str) -> Result<TcpListener, Error> {
    let parsed = parse_address(address)?;
    TcpListener::bind(parsed)
        .await
        .map_err(|source| Error::Bind {
            address: parsed,
            source,
        })
}

/// Reads `IP:port`, `[IPv6]:port` or Go's `:port`, which means all addresses.
pub fn parse_address(address: &str) -> Result<SocketAddr, Error> {
    let failed = || Error::Address {
        address: address.to_owned(),
    };
    if let Some(port) = address.strip_prefix(':') {
        return Ok(SocketAddr::from((
            [0, 0, 0, 0],
            port.parse().map_err(|_| failed())?,
        )));
    }
    let address = address
        .strip_prefix("localhost:")
        .map_or_else(|| address.to_owned(), |port| format!("127.0.0.1:{port}"));
    address.parse().map_err(|_| failed())
}

async fn alive(State(health): State<Health>) -> Response {
    let (alive, states) = health.summary();
    let status = if alive {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(states)).into_response()
}

async fn readyz(State(health): State<Health>) -> Response {
    let failing = health.failing();
    if failing.is_empty() {
        (
            StatusCode::OK,
            Json(Report {
                status: "ready",
                failing,
            }),
        )
            .into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(Report {
                status: "not ready",
                failing,
            }),
        )
            .into_response()
    }
}

async fn metrics(State(registry): State<SharedRegistry>) -> Response {
    let mut text = String::new();
    let registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(err) => {
            tracing::error!(
                error = &err as &dyn std::error::Error,
                "failed to encode metrics"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use http::Request;
    use prometheus_client::metrics::counter::Counter;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let kind = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ask_json(router: &Router, path: &str) -> (StatusCode, Value) {
        let (status, kind, body) = ask(router, path).await;
        assert_eq!(kind, "application/json");
        (status, serde_json::from_str(&body).unwrap())
    }

    #[tokio::test]
    async fn a_process_without_checks_is_alive_and_ready() {
        let router = router(Health::new(), SharedRegistry::default());
        assert_eq!(
            ask_json(&router, "/healthz").await,
            (StatusCode::OK, json!({}))
        );
        assert_eq!(
            ask_json(&router, "/readyz").await,
            (StatusCode::OK, json!({"status": "ready"}))
        );
    }

    #[tokio::test]
    async fn a_failing_readiness_check_is_named_and_restarts_nothing() {
        let health = Health::new();
        let router = router(health.clone(), SharedRegistry::default());
        health.set("oidc", Err("discovery failed".to_owned()));
        health.set("cache", Ok(()));
        let failing = json!({"status": "not ready", "failing": {"oidc": "discovery failed"}});
        assert_eq!(
            ask_json(&router, "/readyz").await,
            (StatusCode::SERVICE_UNAVAILABLE, failing)
        );
        assert_eq!(
            ask_json(&router, "/healthz").await,
            (StatusCode::OK, json!({"oidc": "degraded", "cache": "ok"}))
        );

        health.set("oidc", Ok(()));
        assert_eq!(ask_json(&router, "/readyz").await.0, StatusCode::OK);
        health.set("oidc", Err("again".to_owned()));
        health.remove("oidc");
        assert!(health.failing().is_empty());
    }

    #[tokio::test]
    async fn a_process_beyond_repair_is_neither_alive_nor_ready() {
        let health = Health::new();
        let router = router(health.clone(), SharedRegistry::default());
        health.set_alive("engine", Err("stuck".to_owned()));
        assert_eq!(
            ask_json(&router, "/healthz").await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({"engine": "degraded"})
            )
        );
        assert_eq!(
            ask_json(&router, "/readyz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test]
    async fn metrics_are_in_the_openmetrics_format() {
        let registry = SharedRegistry::default();
        let syncs: Counter = Counter::default();
        registry
            .lock()
            .unwrap()
            .register("kube_bind_syncs", "Syncs", syncs.clone());
        syncs.inc();
        let (status, kind, body) = ask(&router(Health::new(), registry), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        assert!(
            body.contains("kube_bind_syncs_total 1\n") && body.ends_with("# EOF\n"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn the_listener_serves_until_shutdown() {
        let shutdown = Shutdown::new();
        let bound = serve("127.0.0.1:0", healthz(Health::new()), &shutdown)
            .await
            .unwrap();
        let mut stream = TcpStream::connect(bound).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

        assert!(matches!(
            bind(&bound.to_string()).await,
            Err(Error::Bind { .. })
        ));
        shutdown.drain(Duration::from_secs(10)).await.unwrap();
        bind(&bound.to_string()).await.expect("free again");
    }

    #[test]
    fn addresses_are_read_as_the_flags_spell_them() {
        for (text, address) in [
            (":8090", "0.0.0.0:8090"),
            ("127.0.0.1:8081", "127.0.0.1:8081"),
            ("localhost:8081", "127.0.0.1:8081"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(
                parse_address(text).unwrap(),
                address.parse().unwrap(),
                "{text}"
            );
        }
        for text in [
            "",
            ":",
            "8080",
            ":x",
            ":99999",
            "example.com:80",
            "127.0.0.1",
        ] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
