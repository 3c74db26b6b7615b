//! The loopback listener that the browser comes back to (RFC 8252). IO. Requests that do not know
//! the session id are answered and otherwise ignored: any page on this machine can send them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::page;
use crate::text::one_line;

/// How long the last page may take to reach the browser.
const GRACE: Duration = Duration::from_secs(2);

/// How a login ended.
pub enum Answer {
    /// A one-time code.
    Code(String),
    /// No, and why.
    Refused(String),
    /// A token in the redirect, which was allowed.
    Legacy {
        /// The token.
        token: String,
        /// `Bearer`.
        kind: String,
        /// Seconds until it ends.
        seconds: u64,
    },
    /// A token in the redirect, which was not allowed.
    LegacyRefused,
}

/// An answer, and where to say what became of it.
type Delivery = (Answer, oneshot::Sender<Result<(), String>>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    session_id: String,
    code: String,
    error: String,
    error_description: String,
    access_token: String,
    token_type: String,
    expires_in: String,
}

#[derive(Clone)]
struct Waiting {
    session_id: Arc<str>,
    /// The session id is part of the path, because the original's backend does not repeat it.
    by_path: bool,
    deliver: mpsc::Sender<Delivery>,
}

/// A bound port.
pub struct Listener {
    socket: TcpListener,
    path: String,
    redirect_uri: String,
    waiting: Waiting,
    answers: mpsc::Receiver<Delivery>,
}

impl Listener {
    /// Takes a free port on the loopback address.
    pub async fn bind(session_id: &str, allow_legacy: bool) -> std::io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let path = if allow_legacy {
            format!("/callback/{session_id}")
        } else {
            "/callback".to_owned()
        };
        let redirect_uri = format!("http://{}{path}", socket.local_addr()?);
        let (deliver, answers) = mpsc::channel(1);
        let waiting = Waiting {
            session_id: session_id.into(),
            by_path: allow_legacy,
            deliver,
        };
        Ok(Self {
            socket,
            path,
            redirect_uri,
            waiting,
            answers,
        })
    }

    /// Where the browser has to come back to.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Waits for the one answer that counts, and shows in the browser what `finish` makes of it.
    /// Whether there was one in time.
    pub async fn serve(
        self,
        timeout: Duration,
        finish: impl AsyncFnOnce(Answer) -> Result<(), String>,
    ) -> bool {
        let Self {
            socket,
            path,
            waiting,
            mut answers,
            ..
        } = self;
        let router = Router::new()
            .route(&path, get(callback))
            .fallback(async || respond(StatusCode::NOT_FOUND, page::stray()))
            .with_state(waiting);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(socket, router)
            .with_graceful_shutdown(async move {
                let _ = stopped.await;
            })
            .into_future();
        let wait = async {
            let came = match tokio::time::timeout(timeout, answers.recv()).await {
                Ok(Some((answer, shown))) => {
                    let _ = shown.send(finish(answer).await);
                    true
                }
                Ok(None) | Err(_) => false,
            };
            let _ = stop.send(());
            came
        };
        tokio::pin!(server);
        tokio::pin!(wait);
        tokio::select! {
            came = &mut wait => {
                // A browser that keeps a connection open must not keep the plugin.
                let _ = tokio::time::timeout(GRACE, server).await;
                came
            }
            _ = &mut server => wait.await,
        }
    }
}

async fn callback(
    State(waiting): State<Waiting>,
    Query(parameters): Query<Parameters>,
) -> Response {
    let Some(answer) = understand(parameters, &waiting) else {
        return respond(StatusCode::BAD_REQUEST, page::stray());
    };
    let (shown, outcome) = oneshot::channel();
    if waiting.deliver.send((answer, shown)).await.is_err() {
        return respond(StatusCode::GONE, page::stray());
    }
    match outcome.await {
        Ok(Ok(())) => respond(StatusCode::OK, page::success()),
        Ok(Err(why)) => respond(StatusCode::BAD_REQUEST, page::failure(&why)),
        Err(_) => respond(StatusCode::GONE, page::stray()),
    }
}

/// What a callback says, if it belongs to this login at all.
fn understand(parameters: Parameters, waiting: &Waiting) -> Option<Answer> {
    let Parameters {
        session_id,
        code,
        error,
        error_description,
        access_token,
        token_type,
        expires_in,
    } = parameters;
    let known = *session_id == *waiting.session_id || (waiting.by_path && session_id.is_empty());
    if !known {
        return None;
    }
    if !error.is_empty() {
        let why = if error_description.is_empty() {
            error
        } else {
            format!("{error_description} ({error})")
        };
        return Some(Answer::Refused(one_line(&why)));
    }
    if !code.is_empty() {
        return Some(Answer::Code(code));
    }
    if access_token.is_empty() {
        return None;
    }
    if !waiting.by_path {
        return Some(Answer::LegacyRefused);
    }
    Some(Answer::Legacy {
        token: access_token,
        kind: if token_type.is_empty() {
            "Bearer".to_owned()
        } else {
            token_type
        },
        seconds: expires_in.parse().unwrap_or_default(),
    })
}

fn respond(status: StatusCode, page: String) -> Response {
    let mut response = (status, Html(page)).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::CONNECTION, "close"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(by_path: bool) -> Waiting {
        Waiting {
            session_id: "mine".into(),
            by_path,
            deliver: mpsc::channel(1).0,
        }
    }

    fn parameters(session_id: &str, code: &str) -> Parameters {
        Parameters {
            session_id: session_id.into(),
            code: code.into(),
            ..Parameters::default()
        }
    }

    #[test]
    fn only_callbacks_of_this_login_are_understood() {
        for session in ["", "foreign", "mine2"] {
            assert!(
                understand(parameters(session, "code"), &waiting(false)).is_none(),
                "{session}"
            );
        }
        assert!(
            matches!(understand(parameters("mine", "code"), &waiting(false)), Some(Answer::Code(c)) if c == "code")
        );
        assert!(understand(parameters("mine", ""), &waiting(false)).is_none());
        assert!(understand(parameters("foreign", "code"), &waiting(true)).is_none());
    }

    #[test]
    fn a_token_in_the_redirect_counts_only_where_it_was_allowed() {
        let token = |session: &str| Parameters {
            access_token: "t".into(),
            ..parameters(session, "")
        };
        assert!(matches!(
            understand(token("mine"), &waiting(false)),
            Some(Answer::LegacyRefused)
        ));
        assert!(understand(token(""), &waiting(false)).is_none());
        assert!(matches!(
            understand(token(""), &waiting(true)),
            Some(Answer::Legacy { .. })
        ));
    }

    #[test]
    fn errors_are_shown_on_one_line() {
        let error = Parameters {
            error: "access_denied".into(),
            error_description: "no\n\u{1b}way".into(),
            ..parameters("mine", "")
        };
        let Some(Answer::Refused(why)) = understand(error, &waiting(false)) else {
            panic!("refused")
        };
        assert_eq!(why, "no way (access_denied)");
    }
}
