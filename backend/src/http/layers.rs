//! What surrounds every route: limits, security headers, request ids, traces that name routes and
//! never queries, metrics, and error documents for what no handler answered.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use kube_bind_crds::wire::ErrorCode;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{
    MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use tower_http::trace::TraceLayer;
use tracing::info_span;

use super::body::{BODY_MAX, too_large};
use super::failure::Failure;
use crate::metrics::Metrics;
use crate::state::AppState;

/// A bind waits for rights to take effect, so this is not short.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const CONCURRENT_REQUESTS: usize = 512;
/// Without a place of their own.
const HEALTH: [&str; 2] = ["/healthz", "/api/healthz"];
/// How long the next part of a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
const CSP: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
const HSTS: &str = "max-age=31536000";

/// Puts the layers around the routes.
pub fn wrap(router: Router, state: &AppState) -> Router {
    wrap_with(router, state, CONCURRENT_REQUESTS)
}

pub(super) fn wrap_with(router: Router, state: &AppState, concurrent: usize) -> Router {
    let places = Arc::new(Semaphore::new(concurrent));
    router
        .fallback(|| async { StatusCode::NOT_FOUND })
        .method_not_allowed_fallback(|| async { StatusCode::METHOD_NOT_ALLOWED })
        .layer(
            ServiceBuilder::new()
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                .layer(trace_layer())
                .layer(PropagateRequestIdLayer::x_request_id())
                .layer(middleware::from_fn_with_state(state.metrics.clone(), count))
                .layer(middleware::from_fn_with_state(
                    state.site.is_https,
                    security_headers,
                ))
                .layer(middleware::from_fn(documents))
                .layer(CatchPanicLayer::new())
                .layer(TimeoutLayer::with_status_code(
                    StatusCode::GATEWAY_TIMEOUT,
                    REQUEST_TIMEOUT,
                ))
                .layer(middleware::from_fn_with_state(places, shed))
                // Refuses by the announced length, before the body is sent.
                .layer(RequestBodyLimitLayer::new(BODY_MAX))
                .layer(DefaultBodyLimit::max(BODY_MAX))
                .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT)),
        )
}

fn route_of(request: &Request) -> String {
    let path = request.extensions().get::<MatchedPath>();
    path.map_or("unmatched", MatchedPath::as_str).to_owned()
}

/// Answers at once when there are too many requests: who waits in a queue has given up before its turn.
/// Whether the process is alive can be asked all the same.
async fn shed(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    if HEALTH.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let Ok(_place) = places.try_acquire() else {
        let failure = Failure::internal().with_status(StatusCode::SERVICE_UNAVAILABLE);
        let failure = failure.with_details("too many requests at once, try again in a moment");
        return ([(header::RETRY_AFTER, "1")], failure).into_response();
    };
    next.run(request).await
}

async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let route = route_of(&request);
    let response = next.run(request).await;
    metrics.request(&route, response.status().as_u16());
    response
}

async fn security_headers(State(is_https): State<bool>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut default = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    default(header::CONTENT_SECURITY_POLICY, CSP);
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::X_FRAME_OPTIONS, "DENY");
    default(header::REFERRER_POLICY, "no-referrer");
    default(header::CACHE_CONTROL, "no-store");
    if is_https {
        default(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

/// Gives errors that no handler made (unknown path, wrong method, time-out, panic) their document.
async fn documents(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if content_type.starts_with("application/json") || content_type.starts_with("text/html") {
        return response;
    }
    let failure = match status {
        StatusCode::NOT_FOUND => Failure::new(ErrorCode::ResourceNotFound, "there is no such path"),
        StatusCode::METHOD_NOT_ALLOWED => Failure::bad_request("this path has no such method"),
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::GATEWAY_TIMEOUT => {
            Failure::internal().with_details("the request took too long")
        }
        status if status.is_client_error() => {
            Failure::bad_request("the request cannot be understood")
        }
        _ => Failure::internal(),
    };
    let mut answer = failure.with_status(status).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allow.clone());
    }
    answer
}

type MakeSpan = fn(&Request) -> tracing::Span;

fn trace_layer() -> TraceLayer<
    tower_http::classify::SharedClassifier<tower_http::classify::ServerErrorsAsFailures>,
    MakeSpan,
> {
    let span: MakeSpan = |request| {
        // Only the route: codes and states travel in queries.
        let id = request.extensions().get::<RequestId>();
        let id = id
            .and_then(|id| id.header_value().to_str().ok())
            .unwrap_or_default();
        info_span!("request", http.method = %request.method(), http.route = route_of(request), request.id = id)
    };
    TraceLayer::new_for_http().make_span_with(span)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::routing::{get, post};
    use tower::ServiceExt;

    use super::*;
    use crate::http::tests::state;

    #[tokio::test]
    async fn what_finds_no_place_is_answered_at_once_and_health_needs_none() {
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/slow", get(std::future::pending::<String>));
        let router = wrap_with(router, &state().await, 1);
        let ask = |path: &str| {
            let request = Request::get(path).body(Body::empty());
            router.clone().oneshot(request.expect("a request"))
        };
        let mut first = Box::pin(ask("/slow"));
        assert!(futures::poll!(&mut first).is_pending());
        let second = ask("/slow").await.expect("infallible");
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = to_bytes(second.into_body(), 4096).await.expect("a body");
        let document: serde_json::Value = serde_json::from_slice(&body).expect("a document");
        assert_eq!(document["kind"], "Error");
        let health = ask("/healthz").await.expect("infallible");
        assert_eq!(health.status(), StatusCode::OK);
        drop(first);
        assert!(futures::poll!(Box::pin(ask("/slow"))).is_pending());
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_not_waited_for() {
        let state = state().await;
        tokio::time::pause();
        let router = Router::new().route("/", post(|body: String| async move { body }));
        let router = wrap_with(router, &state, 1);
        let body = Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
        let request = Request::post("/").body(body).expect("a request");
        let answer = tokio::time::timeout(BODY_TIMEOUT * 2, router.oneshot(request)).await;
        let status = answer.expect("in time").expect("infallible").status();
        assert!(status.is_client_error(), "{status}");
    }
}
