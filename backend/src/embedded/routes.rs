//! HTTP side of the embedded identity provider, below `/oidc`. Pages and JSON, no other IO.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Form, Json, Router};
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::{Basic, Bearer};
use http::{HeaderValue, StatusCode, header};
use kube_bind_runtime::clock::SharedClock;
use kube_bind_runtime::text::escape_html;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{AuthorizationRequest, CLIENT_ID, Embedded, Refusal, WARNING};
use crate::html::page;
use crate::keys::store::Keys;

/// What the routes need.
#[derive(Clone)]
struct IdpState {
    embedded: Arc<Embedded>,
    keys: Keys,
    clock: SharedClock,
}

/// The browser goes on to the plugin after the form, and Chrome holds redirects against `form-action`.
const CSP: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' http://127.0.0.1:* http://[::1]:*";

/// The routes of the identity provider.
pub fn router<S: Clone + Send + Sync + 'static>(
    embedded: Arc<Embedded>,
    keys: Keys,
    clock: SharedClock,
) -> Router<S> {
    Router::new()
        .route("/oidc/.well-known/openid-configuration", get(discovery))
        .route("/oidc/.well-known/jwks.json", get(jwks))
        .route("/oidc/authorize", get(ask).post(consent))
        .route("/oidc/token", axum::routing::post(token))
        .route("/oidc/userinfo", get(userinfo).post(userinfo))
        .with_state(IdpState {
            embedded,
            keys,
            clock,
        })
}

async fn discovery(State(state): State<IdpState>) -> Response {
    Json(state.embedded.discovery()).into_response()
}

async fn jwks(State(state): State<IdpState>) -> Response {
    Json(state.embedded.signer.key_set()).into_response()
}

async fn ask(
    State(state): State<IdpState>,
    Query(request): Query<AuthorizationRequest>,
) -> Response {
    match state
        .embedded
        .ask(request, &state.keys.get(), state.clock.now())
    {
        Ok(sealed) => {
            let action = escape_html(&format!("{}/authorize", state.embedded.issuer));
            // Sealed texts have no characters that HTML knows.
            let form = format!(
                "<p><strong>{WARNING}.</strong></p>\n<form method=\"post\" action=\"{action}\">\
                 <input type=\"hidden\" name=\"consent\" value=\"{sealed}\">\
                 <button type=\"submit\">Continue as demo user</button></form>"
            );
            with_csp(Html(page("Log in", &form)).into_response())
        }
        Err(refusal) => refused_page(refusal),
    }
}

#[derive(Deserialize)]
struct ConsentForm {
    consent: String,
}

async fn consent(State(state): State<IdpState>, Form(form): Form<ConsentForm>) -> Response {
    match state
        .embedded
        .consent(&form.consent, &state.keys.get(), state.clock.now())
    {
        Ok(url) => match HeaderValue::try_from(url) {
            Ok(url) => with_csp((StatusCode::SEE_OTHER, [(header::LOCATION, url)]).into_response()),
            Err(_) => refused_page(Refusal::ServerError),
        },
        Err(refusal) => refused_page(refusal),
    }
}

#[derive(Deserialize)]
struct TokenForm {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    code_verifier: String,
    #[serde(default)]
    redirect_uri: String,
}

async fn token(
    State(state): State<IdpState>,
    client: Option<TypedHeader<Authorization<Basic>>>,
    Form(form): Form<TokenForm>,
) -> Response {
    let embedded = &state.embedded;
    let is_client = client.is_some_and(|TypedHeader(Authorization(client))| {
        // Hashes are compared, so that time tells nothing.
        client.username() == CLIENT_ID
            && Sha256::digest(client.password()) == Sha256::digest(embedded.client_secret.expose())
    });
    if !is_client {
        return refused(StatusCode::UNAUTHORIZED, Refusal::InvalidClient);
    }
    if form.grant_type != "authorization_code" {
        return refused(StatusCode::BAD_REQUEST, Refusal::UnsupportedGrantType);
    }
    let keys = state.keys.get();
    let now = state.clock.now();
    match embedded.redeem(
        &form.code,
        &form.code_verifier,
        &form.redirect_uri,
        &keys,
        now,
    ) {
        Ok(tokens) => Json(tokens).into_response(),
        Err(refusal) => refused(StatusCode::BAD_REQUEST, refusal),
    }
}

async fn userinfo(
    State(state): State<IdpState>,
    token: Option<TypedHeader<Authorization<Bearer>>>,
) -> Response {
    let is_ours = token.is_some_and(|TypedHeader(Authorization(token))| {
        state
            .embedded
            .is_access_token(token.token(), state.clock.now())
    });
    if is_ours {
        Json(state.embedded.user()).into_response()
    } else {
        refused(StatusCode::UNAUTHORIZED, Refusal::InvalidGrant)
    }
}

fn refused(status: StatusCode, refusal: Refusal) -> Response {
    (status, Json(json!({ "error": refusal.name() }))).into_response()
}

fn refused_page(refusal: Refusal) -> Response {
    let body = format!(
        "<p>The login cannot go on: {}. Begin it again.</p>",
        refusal.name()
    );
    (StatusCode::BAD_REQUEST, Html(page("Log in", &body))).into_response()
}

fn with_csp(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CSP),
    );
    response
}
