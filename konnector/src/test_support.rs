//! A scripted API server for tests of single IO steps, and a term of leadership around it.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube_bind_runtime::client::Options;
use kube_bind_runtime::clock::FixedClock;
use kube_bind_runtime::events::Events;
use kube_bind_runtime::kubeconfig::Policy;
use kube_bind_runtime::lease::LeaderToken;
use kube_bind_runtime::shutdown::Shutdown;
use serde_json::Value;

use crate::bundles::Bundles;
use crate::context::{Context, Syncing};
use crate::metrics::Metrics;
use crate::names::{CONTROLLER, USER_AGENT};
use crate::wake::Wake;
use crate::watch::Listed;

/// What a request looks like to a script.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, `PATCH` and so on.
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// The body, `Null` without one.
    pub body: Value,
}

impl Asked {
    async fn of(request: Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap_or_default();
        Self {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }
}

fn response((status, answer): (u16, Value)) -> Response<Body> {
    let answer = serde_json::to_vec(&answer).unwrap();
    let response = Response::builder().status(status);
    response.body(Body::from(answer)).unwrap()
}

/// A client whose server answers each request with what `script` says: status and body.
pub fn answering(script: impl Fn(&Asked) -> (u16, Value) + Send + 'static) -> Client {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the client of the test"
    )]
    tokio::task::spawn(async move {
        while let Some((request, send)) = handle.next_request().await {
            let asked = Asked::of(request).await;
            send.send_response(response(script(&asked)));
        }
    });
    Client::new(service, "default")
}

/// The same for many requests at a time; those to which `script` has no answer hang, as a watch does.
pub fn serving(script: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static) -> Client {
    let script = Arc::new(script);
    let service = tower::service_fn(move |request| {
        let script = script.clone();
        async move {
            match script(&Asked::of(request).await) {
                Some(answer) => Ok::<_, kube::Error>(response(answer)),
                None => std::future::pending().await,
            }
        }
    });
    Client::new(service, "default")
}

/// A `Status` document as the API server writes it on failure.
pub fn failure(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
            "reason": reason, "code": code, "message": reason, "metadata": {}}),
    )
}

/// What an admission webhook says with a 403.
pub const WEBHOOK_DENIES: &str =
    "admission webhook \"guard.example.org\" denied the request: not like this";

/// What the API server hands on with a 500 when an object does not fit into etcd: of etcd, and of its client.
pub const TOO_LARGE: [&str; 2] = [
    "etcdserver: request is too large",
    "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2298102 vs. 2097152)",
];

/// What the authorizer says.
pub fn lacks(verb: &str, resource: &str) -> (u16, Value) {
    let message =
        format!("{resource} is forbidden: User \"konnector\" cannot {verb} resource {resource:?}");
    failure(403, &message)
}

/// When tests begin.
pub fn clock() -> FixedClock {
    FixedClock::new("2026-01-01T12:00:00Z".parse().unwrap())
}

/// A term without bindings and bundles, in front of this consumer.
pub fn term(consumer: &Client) -> Context {
    term_at(consumer, &clock())
}

/// The same, by this clock.
pub fn term_at(consumer: &Client, clock: &FixedClock) -> Context {
    let shutdown = Shutdown::new();
    let clock = clock.shared();
    Context {
        client: consumer.clone(),
        engine_client: crate::sync::EngineClient::new(consumer.clone()),
        events: Events::new(consumer.clone(), CONTROLLER),
        metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
        wake: Wake::channel().0,
        bindings: kube::runtime::reflector::store().0,
        bundles: Bundles::new().0,
        bindings_listed: Listed::new(),
        polling: Duration::from_secs(15),
        syncing: Syncing::default(),
        policy: Policy::default(),
        provider_options: Options::new(USER_AGENT),
        leader: LeaderToken::unlimited(clock.clone(), shutdown.token.clone()),
        clock,
        shutdown,
    }
}
