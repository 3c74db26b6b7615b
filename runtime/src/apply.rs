//! Server-side apply, and a time-out for every request.

use std::fmt::{self, Debug};
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

/// How long one request may take. kube itself waits for an answer without end.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A request got no answer in time; it may or may not have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the API server within {after:?}")]
pub struct TimedOut {
    /// How long the answer was waited for.
    pub after: Duration,
}

/// Runs one request under [`TIMEOUT`].
pub async fn timed<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    timed_for(TIMEOUT, request).await
}

/// Runs one request under a time-out of its own.
pub async fn timed_for<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(kube::Error::Service(Box::new(TimedOut { after: limit }))),
    }
}

/// Applies `body` as `manager`, taking over fields that others own.
pub async fn apply<K>(
    api: &Api<K>,
    name: &str,
    manager: &str,
    body: &impl Serialize,
) -> Result<K, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    timed(api.patch(
        name,
        &PatchParams::apply(manager).force(),
        &Patch::Apply(Body(body)),
    ))
    .await
}

/// What kube may send but, unlike its patches otherwise, cannot print: bodies may hold secrets.
struct Body<'a, B>(&'a B);

impl<B> Debug for Body<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<body>")
    }
}

impl<B: Serialize> Serialize for Body<'_, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Client;
    use kube::client::Body as HttpBody;
    use serde_json::json;
    use tower_test::mock::{self, Handle};

    use super::*;

    fn api() -> (
        Api<ConfigMap>,
        Handle<Request<HttpBody>, Response<HttpBody>>,
    ) {
        let (service, handle) = mock::pair();
        (Api::namespaced(Client::new(service, "ns"), "ns"), handle)
    }

    /// Answers one request with its own body and says what it was.
    async fn echo(
        mut handle: Handle<Request<HttpBody>, Response<HttpBody>>,
    ) -> (String, String, serde_json::Value) {
        let (request, send) = handle.next_request().await.expect("a request");
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.expect("a body").to_vec();
        let seen = serde_json::from_slice(&body).expect("JSON");
        send.send_response(Response::new(HttpBody::from(body)));
        let kind = parts.headers["content-type"]
            .to_str()
            .expect("text")
            .to_owned();
        (format!("{} {}", parts.method, parts.uri), kind, seen)
    }

    #[tokio::test]
    async fn apply_is_forced_and_names_its_manager() {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}});
        let (api, handle) = api();
        let (applied, (request, kind, sent)) =
            tokio::join!(apply(&api, "x", "kube-bind.io", &body), echo(handle));
        let path = "PATCH /api/v1/namespaces/ns/configmaps/x";
        assert_eq!(
            request,
            format!("{path}?&force=true&fieldManager=kube-bind.io")
        );
        assert_eq!(kind, "application/apply-patch+yaml");
        assert_eq!(sent, body);
        assert_eq!(applied.expect("applied").data.expect("data")["a"], "b");
    }

    #[tokio::test]
    async fn a_request_without_an_answer_ends_as_a_timeout() {
        let (api, _handle) = api();
        let error = timed_for(Duration::from_millis(1), api.get("x"))
            .await
            .expect_err("no answer");
        assert!(
            error
                .to_string()
                .contains("no answer from the API server within 1ms"),
            "{error}"
        );
    }

    #[test]
    fn bodies_cannot_be_printed() {
        assert_eq!(
            format!("{:?}", Patch::Apply(Body(&json!({"password": "p"})))),
            "Apply(<body>)"
        );
    }
}
