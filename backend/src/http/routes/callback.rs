//! `GET /api/callback`: the browser comes back from the identity provider. Ends in a redirect to the
//! plugin with a one-time code, or with the error, so that nobody waits for a time-out.

use std::error::Error as StdError;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use serde::Deserialize;
use tracing::{error, info, warn};

use super::found;
use crate::http::failure::Failure;
use crate::keys::{self, Purpose};
use crate::metrics::LoginResult;
use crate::oidc::{self, Callback};
use crate::session::login::{Login, cookie_name};
use crate::session::{User, code, login_cookie, token};
use crate::state::AppState;

const TEXT_MAX: usize = 200;

/// What the identity provider sends along.
#[derive(Deserialize)]
pub struct Answer {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Why the browser cannot even be sent to the plugin.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The query cannot be read.
    #[error("failed to read the query")]
    Query(#[from] QueryRejection),
    /// There is no login of this browser with that state.
    #[error("this login was not begun in this browser, or it took too long: begin it again")]
    NoLogin,
    /// The cookie is altered or stale.
    #[error("this login is not valid (any more): begin it again")]
    Cookie(#[source] keys::Error),
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        Failure::bad_request(self.to_string()).into_response()
    }
}

/// Why the plugin gets no code.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{description}")]
    Refused { error: String, description: String },
    #[error("the identity provider sent no code")]
    NoCode,
    #[error(transparent)]
    Oidc(#[from] oidc::Error),
    #[error("failed to make the code")]
    Make(#[from] keys::Error),
}

impl Failed {
    fn error(&self) -> &str {
        match self {
            Self::Refused { error, .. } => error,
            Self::NoCode => "invalid_request",
            Self::Oidc(oidc::Error::NotReady) => "temporarily_unavailable",
            Self::Oidc(_) => "access_denied",
            Self::Make(_) => "server_error",
        }
    }

    fn result(&self) -> LoginResult {
        match self {
            Self::Refused { .. } => LoginResult::Refused,
            Self::NoCode
            | Self::Oidc(
                oidc::Error::Issuer
                | oidc::Error::NoIdToken
                | oidc::Error::IdToken(_)
                | oidc::Error::AuthorizedParty,
            ) => LoginResult::Invalid,
            Self::Oidc(_) | Self::Make(_) => LoginResult::Error,
        }
    }

    fn log(&self) {
        match self {
            Self::Refused { error, .. } => info!(oidc.error = error, "a login was refused"),
            Self::Oidc(oidc::Error::Exchange(problem)) => {
                warn!(
                    problem,
                    "failed to complete a login: the code was not redeemed"
                );
            }
            Self::Oidc(err) => warn!(error = err as &dyn StdError, "failed to complete a login"),
            Self::NoCode | Self::Make(_) => {
                error!(error = self as &dyn StdError, "failed to complete a login");
            }
        }
    }
}

/// Completes a login.
pub async fn handle(
    State(state): State<AppState>,
    jar: CookieJar,
    query: Result<Query<Answer>, QueryRejection>,
) -> Result<Response, RouteError> {
    let result = query.map_err(RouteError::from).and_then(|Query(answer)| {
        let login = login_of(&state, &jar, &answer)?;
        Ok((answer, login))
    });
    let (answer, login) = result.inspect_err(|_| state.metrics.login(LoginResult::Invalid))?;
    let name = cookie_name(&login.state, state.site.is_https);
    let forget = CookieJar::new().add(login_cookie::removal(name, state.site.is_https));
    let client = login.client.clone();
    let session_id = client.session_id.as_str();
    let url = match complete(&state, answer, login).await {
        Ok(parameters) => {
            let parameters: Vec<_> = parameters
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            client.redirect(&[parameters.as_slice(), &[("session_id", session_id)]].concat())
        }
        Err(failed) => {
            failed.log();
            state.metrics.login(failed.result());
            let description = failed.to_string();
            client.redirect(&[
                ("error", failed.error()),
                ("error_description", &description),
                ("session_id", session_id),
            ])
        }
    };
    Ok((forget, found(&url)).into_response())
}

fn login_of(state: &AppState, jar: &CookieJar, answer: &Answer) -> Result<Login, RouteError> {
    let name = cookie_name(&answer.state, state.site.is_https);
    let cookie = jar.get(&name).ok_or(RouteError::NoLogin)?;
    let login: Login = state
        .keys
        .get()
        .open(Purpose::LoginCookie, cookie.value(), state.clock.now())
        .map_err(RouteError::Cookie)?;
    if login.state != answer.state {
        return Err(RouteError::NoLogin);
    }
    Ok(login)
}

/// Parameters for the plugin.
async fn complete(
    state: &AppState,
    answer: Answer,
    login: Login,
) -> Result<Vec<(&'static str, String)>, Failed> {
    if let Some(error) = answer.error {
        let description = answer.error_description.filter(|text| !text.is_empty());
        return Err(Failed::Refused {
            description: plain(&description.unwrap_or_else(|| error.clone())),
            error: plain(&error),
        });
    }
    if answer.code.is_empty() {
        return Err(Failed::NoCode);
    }
    let callback = Callback {
        code: answer.code,
        issuer: answer.iss,
        nonce: login.nonce,
        verifier: login.verifier,
    };
    let user = state.relying_party.finish(callback).await?;
    let now = state.clock.now();
    match login.client.challenge {
        Some(challenge) => {
            let redirect_url = login.client.redirect_url;
            let code = code::issue(&state.keys.get(), user, challenge, redirect_url, now)?;
            Ok(vec![("code", code)])
        }
        None => legacy(state, user),
    }
}

/// What the original's plugin expects; only reached with `--allow-legacy-login`.
fn legacy(state: &AppState, user: User) -> Result<Vec<(&'static str, String)>, Failed> {
    let life = state.site.token_expiry;
    let keys = state.keys.get();
    let token = token::issue(&keys, &state.site.public_url, user, state.clock.now(), life)?;
    state.metrics.login(LoginResult::Success);
    Ok(vec![
        ("access_token", token),
        ("token_type", "Bearer".to_owned()),
        ("expires_in", life.as_secs().to_string()),
    ])
}

/// Somebody else's text, made short and printable.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(TEXT_MAX)
        .collect()
}
