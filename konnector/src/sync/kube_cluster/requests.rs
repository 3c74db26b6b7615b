//! The requests of the engine in HTTP, and sending one under the limiter.

use http::Request;
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::cluster::Error;
use super::{KubeCluster, errors};

/// Manager of patches that are not applies, for `managedFields` only.
const PATCH_MANAGER: &str = "fieldManager=kube-bind-konnector";

pub(super) fn get(path: String) -> Request<Vec<u8>> {
    build(Request::get(path), Vec::new())
}

pub(super) fn apply(path: &str, manager: &str, body: &Value) -> Request<Vec<u8>> {
    // YAML is the content type of apply; JSON is a subset of it.
    let builder = Request::patch(format!("{path}?fieldManager={manager}&force=true"))
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml");
    build(builder, bytes(body))
}

pub(super) fn json_patch(path: String, operations: &Value) -> Request<Vec<u8>> {
    let builder = Request::patch(format!("{path}?{PATCH_MANAGER}"))
        .header(http::header::CONTENT_TYPE, "application/json-patch+json");
    build(builder, bytes(operations))
}

pub(super) fn merge_patch(path: String, body: &Value) -> Request<Vec<u8>> {
    let builder = Request::patch(format!("{path}?{PATCH_MANAGER}"))
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json");
    build(builder, bytes(body))
}

pub(super) fn delete(path: String, uid: &str) -> Request<Vec<u8>> {
    let options = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "preconditions": { "uid": uid },
    });
    let builder = Request::delete(path).header(http::header::CONTENT_TYPE, "application/json");
    build(builder, bytes(&options))
}

fn bytes(body: &Value) -> Vec<u8> {
    serde_json::to_vec(body).expect("a JSON value always has a text form")
}

fn build(builder: http::request::Builder, body: Vec<u8>) -> Request<Vec<u8>> {
    builder
        .body(body)
        .expect("paths are made of names that the API server accepted")
}

impl KubeCluster {
    /// Sends a request when the limiter lets it, and tells the limiter how it went. A caller that
    /// gives up (drops the future) counts as a time-out of the server.
    pub(super) async fn send(&self, request: Request<Vec<u8>>) -> Result<Value, Error> {
        let permit = self.limiter.acquire().await;
        let answer = self.exchange(request).await;
        permit.done(answer.as_ref().err());
        answer
    }

    /// One request without the limiter.
    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Value, Error> {
        parse(&self.text(request).await?)
    }

    /// The text of a successful answer, without the limiter: for lists, which are few and long.
    pub(super) async fn text(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Error> {
        let client = self.client.current();
        let response = client
            .send(request.map(Body::from))
            .await
            .map_err(|error| errors::transport(&error))?;
        let (head, body) = response.into_parts();
        let bytes = body
            .collect_bytes()
            .await
            .map_err(|error| errors::transport(&error))?;
        if head.status.is_success() {
            Ok(bytes.into())
        } else {
            Err(errors::answer(head.status.as_u16(), &head.headers, &bytes))
        }
    }
}

/// Reads an answer or a part of it.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| Error::Unavailable {
        message: format!("failed to read the answer: {error}"),
        retry_after: None,
    })
}
