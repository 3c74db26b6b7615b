//! A scripted API server for tests of single IO steps.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

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

/// A client whose server answers each request with what `script` says: status and body.
pub fn answering(script: impl Fn(&Asked) -> (u16, Value) + Send + 'static) -> Client {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the client of the test"
    )]
    tokio::task::spawn(async move {
        while let Some((request, send)) = handle.next_request().await {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap_or_default();
            let asked = Asked {
                method: parts.method.to_string(),
                uri: parts.uri.to_string(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            let (status, answer) = script(&asked);
            let answer = serde_json::to_vec(&answer).unwrap();
            send.send_response(
                Response::builder()
                    .status(status)
                    .body(Body::from(answer))
                    .unwrap(),
            );
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
