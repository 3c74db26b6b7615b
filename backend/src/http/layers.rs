//! What surrounds every route: limits, security headers, request ids, traces that name routes and
//! never queries, metrics, and error documents for what no handler answered.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use kube_bind_crds::wire::ErrorCode;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{
    MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tracing::info_span;

use super::body::{BODY_MAX, too_large};
use super::failure::Failure;
use crate::metrics::Metrics;
use crate::state::AppState;

/// A bind waits for rights to take effect, so this is not short.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const CONCURRENT_REQUESTS: usize = 512;
const CSP: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
const HSTS: &str = "max-age=31536000";

/// Puts the layers around the routes.
pub fn wrap(router: Router, state: &AppState) -> Router {
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
                .layer(GlobalConcurrencyLimitLayer::new(CONCURRENT_REQUESTS))
                // Refuses by the announced length, before the body is sent.
                .layer(RequestBodyLimitLayer::new(BODY_MAX))
                .layer(DefaultBodyLimit::max(BODY_MAX)),
        )
}

fn route_of(request: &Request) -> String {
    let path = request.extensions().get::<MatchedPath>();
    path.map_or("unmatched", MatchedPath::as_str).to_owned()
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
