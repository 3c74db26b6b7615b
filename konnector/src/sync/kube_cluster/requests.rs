//! The requests of the engine in HTTP, and sending one.

use http::Request;
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube_bind_crds::digest;
use kube_bind_runtime::transport::Answer;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::cluster::Error;
use super::{KubeCluster, errors, object};

/// Manager of patches that are not applies, for `managedFields` only.
const PATCH_MANAGER: &str = "fieldManager=kube-bind-konnector";

/// No answer that makes sense is longer; lists are asked for in smaller pages then.
const LONGEST_ANSWER: usize = 64 << 20;

pub(super) fn get(path: String) -> Result<Request<Vec<u8>>, Error> {
    build(Request::get(path), Vec::new())
}

pub(super) fn apply(path: &str, manager: &str, body: &Value) -> Result<Request<Vec<u8>>, Error> {
    let builder = Request::patch(format!("{path}?fieldManager={manager}&force=true"))
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml");
    build(builder, digest::to_apply(body))
}

pub(super) fn json_patch(path: String, operations: &Value) -> Result<Request<Vec<u8>>, Error> {
    let builder = Request::patch(format!("{path}?{PATCH_MANAGER}"))
        .header(http::header::CONTENT_TYPE, "application/json-patch+json");
    build(builder, bytes(operations))
}

pub(super) fn merge_patch(path: String, body: &Value) -> Result<Request<Vec<u8>>, Error> {
    let builder = Request::patch(format!("{path}?{PATCH_MANAGER}"))
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json");
    build(builder, bytes(body))
}

pub(super) fn delete(path: String, uid: &str, version: &str) -> Result<Request<Vec<u8>>, Error> {
    let options = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "preconditions": { "uid": uid, "resourceVersion": version },
    });
    let builder = Request::delete(path).header(http::header::CONTENT_TYPE, "application/json");
    build(builder, bytes(&options))
}

fn bytes(body: &Value) -> Vec<u8> {
    serde_json::to_vec(body).expect("a JSON value always has a text form")
}

/// Names of objects and namespaces come from servers, and need not be fit for a path.
fn build(builder: http::request::Builder, body: Vec<u8>) -> Result<Request<Vec<u8>>, Error> {
    builder.body(body).map_err(|error| Error::Rejected {
        code: 400,
        message: format!("its name cannot be part of a request: {error}"),
    })
}

impl KubeCluster {
    /// Sends a request, and remembers the version in its answer.
    pub(super) async fn send(
        &self,
        request: Result<Request<Vec<u8>>, Error>,
    ) -> Result<Value, Error> {
        let answer = self.exchange(request?).await;
        let object = match &answer {
            Err(Error::Unreadable(metadata)) => Some(&**metadata),
            answer => answer.as_ref().ok(),
        };
        if let Some(object) = object
            && let Some(version) = object["metadata"]["resourceVersion"].as_str()
        {
            self.heard(version);
        }
        answer
    }

    /// Sends a request and reads its answer.
    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Value, Error> {
        let text = self.text(request).await.map_err(Untold::error)?;
        self.managed_fields
            .read(&text)
            .map_err(|error| match object::metadata(&text) {
                Some(metadata) => Error::Unreadable(Box::new(metadata)),
                None => unreadable(error),
            })
    }

    /// The text of a successful answer.
    pub(super) async fn text(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Untold> {
        let response = self
            .client
            .transport
            .send(request.map(Body::from))
            .await
            .map_err(|error| Untold::Refused(errors::transport(&error)))?;
        let (head, body) = response.into_parts();
        let bytes = collect(body).await.map_err(Untold::Cut)?;
        if head.status.is_success() {
            Ok(bytes)
        } else {
            let error = errors::answer(head.status.as_u16(), &head.headers, &bytes);
            Err(Untold::Refused(error))
        }
    }
}

/// Why there is no text.
pub(super) enum Untold {
    /// The server says so, or says nothing.
    Refused(Error),
    /// The answer began, and was longer than is read or did not reach its end.
    Cut(Error),
}

impl Untold {
    pub(super) fn error(self) -> Error {
        let (Self::Refused(error) | Self::Cut(error)) = self;
        error
    }
}

/// All of a body, unless it is larger than any honest answer.
async fn collect(body: Answer) -> Result<Vec<u8>, Error> {
    match Limited::new(body, LONGEST_ANSWER).collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) => Err(Error::Unavailable {
            message: format!("failed to read the answer: {error}"),
            retry_after: None,
        }),
    }
}

/// Reads an answer or a part of it.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::Unavailable {
        message: format!("failed to read the answer: {error}"),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_is_deleted() {
        let request = delete("/apis/example.io/v1/widgets/a".to_owned(), "u", "7").unwrap();
        let options: Value = parse(request.body()).unwrap();
        let preconditions = json!({"uid": "u", "resourceVersion": "7"});
        assert_eq!(options["preconditions"], preconditions);
    }
}
