//! How the identity provider is reached: never through redirects, never without end, and only with
//! the trust that the operator configured. Does IO.

use std::time::Duration;

use futures::future::BoxFuture;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};

/// More than any discovery document or token has.
const BODY_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// `--oidc-ca-file` holds no certificates, or TLS cannot be set up.
    #[error("failed to set up the HTTP client for the identity provider (--oidc-ca-file)")]
    SetUp(#[source] reqwest::Error),
    /// Not reachable, too slow, or not trusted.
    #[error("failed to reach the identity provider")]
    Request(#[source] reqwest::Error),
    /// The answer is too big.
    #[error("the identity provider's answer has more than {BODY_MAX} bytes")]
    TooLarge,
    /// The answer cannot be represented.
    #[error("failed to read the identity provider's answer")]
    Response(#[source] http::Error),
}

/// A client for the identity provider; clones share its connections.
#[derive(Clone, Debug)]
pub struct HttpClient(Client);

impl HttpClient {
    /// A client that trusts the certificates in `ca` (PEM) only, or those of the system.
    pub fn new(ca: Option<&[u8]>) -> Result<Self, HttpError> {
        let mut builder = Client::builder()
            // A redirect would carry secrets to a place nobody configured.
            .redirect(Policy::none())
            // A connection that was idle may be closed by the other end just as it is used again, and a code
            // can be redeemed only once: that login would be lost.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT);
        if let Some(ca) = ca {
            let certificates = Certificate::from_pem_bundle(ca).map_err(HttpError::SetUp)?;
            builder = builder.tls_certs_only(certificates);
        }
        builder.build().map(Self).map_err(HttpError::SetUp)
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let mut answer = self
            .0
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body)
            .send()
            .await
            .map_err(|err| HttpError::Request(err.without_url()))?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.extend(answer.headers().clone());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|err| HttpError::Request(err.without_url()))?
        {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        response.body(body).map_err(HttpError::Response)
    }
}

impl<'c> AsyncHttpClient<'c> for HttpClient {
    type Error = HttpError;
    type Future = BoxFuture<'c, Result<HttpResponse, HttpError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    #[tokio::test]
    async fn an_identity_provider_that_hangs_up_between_requests_costs_no_login() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let mut connections = JoinSet::new();
        let server = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    stream.write_all(ANSWER).await.unwrap();
                    // Keeps the connection until it is used again, and hangs up then.
                    let _ = stream.read(&mut request).await;
                });
            }
        };
        let client = HttpClient::new(None).unwrap();
        let logins = async {
            for _ in 0..3 {
                let request = http::Request::post(&url).body(b"code=1".to_vec()).unwrap();
                let answer = client.send(request).await.unwrap();
                assert_eq!(answer.body(), b"{}");
            }
        };
        tokio::select! {
            () = logins => {}
            () = server => {}
        }
    }
}
