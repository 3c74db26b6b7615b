//! One HTTP client for all calls to a provider: redirects off, time-outs on, answers limited. IO.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;

use super::Error;
use crate::server::Server;
use crate::text::{one_line, printable, root_cause};

/// Larger answers are not read to their end.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Binding provisions a namespace and waits for its credentials.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Everything else only reads.
const READ_TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Header by which the provider finds a request in its log.
const REQUEST_ID: &str = "x-request-id";
/// What the original sends; servers may know it.
const USER_AGENT: &str = "kubectl-bind-cli";

/// How the server's certificate is checked.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Any certificate is good enough.
    pub insecure_skip_tls_verify: bool,
    /// PEM file with the certificates to trust besides those of the machine.
    pub certificate_authority: Option<PathBuf>,
}

/// The client.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
}

/// What a call came to, if not to an answer.
pub enum Failure {
    /// No answer, or a broken one.
    Transport(reqwest::Error),
    /// The stored token cannot be a header.
    BadToken,
    /// A redirect, with its target.
    Redirect(String),
    /// An error status, with the body and the server's name for the request.
    Status(StatusCode, Vec<u8>, Option<String>),
    /// More than [`MAX_BYTES`].
    TooLarge,
}

impl Http {
    /// Sets up the client.
    pub fn new(tls: &TlsOptions) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .danger_accept_invalid_certs(tls.insecure_skip_tls_verify);
        if let Some(path) = &tls.certificate_authority {
            let failed = |why: &dyn std::fmt::Display| Error::SetUp {
                what: format!("--certificate-authority {}: {why}", path.display()),
            };
            let pem = std::fs::read(path).map_err(|err| failed(&err))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|err| failed(&err))?;
            if certificates.is_empty() {
                return Err(failed(&"no certificate in the file"));
            }
            builder = certificates
                .into_iter()
                .fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        let client = builder.build().map_err(|err| Error::SetUp {
            what: crate::text::causes(&err),
        })?;
        Ok(Self { client })
    }

    /// One call; the answer's body if it was a success.
    pub async fn send(
        &self,
        method: Method,
        url: Url,
        authorization: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Vec<u8>, Failure> {
        let mut request = self
            .client
            .request(method, url)
            .header(ACCEPT, "application/json");
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::from_str(authorization).map_err(|_| Failure::BadToken)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request = match body {
            Some(body) => request.json(body),
            None => request.timeout(READ_TIMEOUT),
        };
        let response = request
            .send()
            .await
            .map_err(|err| Failure::Transport(err.without_url()))?;
        let status = response.status();
        if status.is_redirection() {
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|l| l.to_str().ok());
            return Err(Failure::Redirect(location.unwrap_or("nowhere").to_owned()));
        }
        let named = response.headers().get(REQUEST_ID);
        let named = named.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = read(response).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(Failure::Status(status, body, named))
        }
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|err| Failure::Transport(err.without_url()))?
    {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

impl Failure {
    /// The same in words, with what to do about it.
    pub fn explain(self, server: &Server) -> Error {
        let address = server.address();
        match self {
            Self::Transport(source) => {
                let why = root_cause(&source);
                let remedy = transport_remedy(&why);
                Error::Unreachable {
                    server: address,
                    why,
                    remedy,
                }
            }
            Self::BadToken => Error::LoginNeeded {
                why: "the stored token is unusable",
                server: server.key(),
            },
            Self::TooLarge => Error::Strange {
                server: address,
                what: "more data than expected".into(),
            },
            Self::Redirect(location) => {
                // The query of a redirect may hold anything, a login state included.
                let location = location.split(['?', '#']).next().unwrap_or_default();
                Error::Redirected {
                    server: address,
                    location: printable(location),
                }
            }
            // Without a token the server cannot have refused it.
            Self::Status(StatusCode::UNAUTHORIZED, ..) => Error::LoginNeeded {
                why: "the server does not accept the login any more",
                server: server.key(),
            },
            Self::Status(status, body, request) => refused(address, status, &body, request),
        }
    }
}

/// What to do about the failures that a new user meets first.
fn transport_remedy(why: &str) -> &'static str {
    if why.contains("peer certificate") {
        "\n  Its certificate is not trusted here: name the authority that issued it with --certificate-authority."
    } else if why.contains("InvalidContentType") {
        "\n  It does not speak TLS there: is the address right?"
    } else {
        ""
    }
}

fn refused(server: String, status: StatusCode, body: &[u8], request: Option<String>) -> Error {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |name: &str| {
        document
            .get(name)
            .and_then(Value::as_str)
            .map(printable)
            .filter(|text| !text.trim().is_empty())
    };
    // The login routes answer {success: false, error} to command lines.
    let message = field("message").or_else(|| field("error"));
    if message.is_none() && status == StatusCode::NOT_FOUND {
        return Error::Strange {
            server,
            what: format!("HTTP {status}"),
        };
    }
    let mut details: String = field("details")
        .filter(|details| Some(details) != message.as_ref())
        .map(|details| details.lines().map(|line| format!("\n  {line}")).collect())
        .unwrap_or_default();
    // Who is told by the details what to do needs no second advice.
    let remedy = if details.is_empty() {
        remedy(status)
    } else {
        ""
    };
    if let Some(request) = request.filter(|_| status.is_server_error()) {
        details.push_str(&format!("\n  x-request-id: {}", one_line(&request)));
    }
    Error::Refused {
        status: status.as_u16(),
        message: message.unwrap_or_else(|| format!("{server} refused the request")),
        code: field("code").unwrap_or_else(|| format!("HTTP {status}")),
        details,
        remedy,
    }
}

fn remedy(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => {
            "\n  The provider has to permit this for your user or one of your groups."
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "\n  Try again in a moment."
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server::parse("https://provider.example", None).unwrap()
    }

    fn explain(status: u16, body: &str) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        Failure::Status(status, body.as_bytes().to_vec(), Some("r-1".to_owned()))
            .explain(&server())
            .to_string()
    }

    #[test]
    fn a_failure_of_the_server_names_its_request() {
        let body =
            r#"{"message":"internal error","code":"INTERNAL_ERROR","details":"see the log"}"#;
        assert_eq!(
            explain(500, body),
            "internal error (INTERNAL_ERROR)\n  see the log\n  x-request-id: r-1"
        );
    }

    #[test]
    fn advice_is_given_once() {
        let with = explain(403, r#"{"message":"no","code":"X","details":"ask bob"}"#);
        assert_eq!(with, "no (X)\n  ask bob");
        assert!(explain(403, r#"{"message":"no"}"#).contains("has to permit"));
    }

    #[test]
    fn something_else_than_a_provider_is_recognised() {
        assert_eq!(
            explain(404, "<html>nothing here</html>"),
            "https://provider.example answered with HTTP 404 Not Found: is it a kube-bind server?"
        );
    }

    #[test]
    fn an_unknown_authority_has_a_remedy() {
        let why = "invalid peer certificate: UnknownIssuer";
        assert!(transport_remedy(why).contains("--certificate-authority"));
        assert_eq!(transport_remedy("Connection refused"), "");
    }

    #[test]
    fn error_documents_are_shown_with_their_code() {
        let body = r#"{"kind":"Error","message":"no such template","code":"RESOURCE_NOT_FOUND","details":"nope"}"#;
        assert_eq!(
            explain(404, body),
            "no such template (RESOURCE_NOT_FOUND)\n  nope"
        );
    }

    #[test]
    fn errors_without_a_document_show_the_status() {
        let text = explain(502, "<html>bad gateway</html>");
        assert_eq!(
            text,
            "https://provider.example refused the request (HTTP 502 Bad Gateway)\n  x-request-id: r-1"
        );
    }

    #[test]
    fn an_expired_login_names_the_command_to_run() {
        let text = explain(
            401,
            r#"{"message":"token expired","code":"AUTHENTICATION_FAILED"}"#,
        );
        assert!(
            text.ends_with("log in with \"kubectl bind login https://provider.example\""),
            "{text}"
        );
    }

    #[test]
    fn redirects_are_named_without_their_query() {
        let failure = Failure::Redirect("https://other.example/x?code=secret".into());
        let text = failure.explain(&server()).to_string();
        assert!(
            text.contains("https://other.example/x:") && !text.contains("secret"),
            "{text}"
        );
    }
}
