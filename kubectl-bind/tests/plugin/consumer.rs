//! The consumer cluster of these tests.

use std::path::PathBuf;

use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::World;

/// An API server that has nothing but its identity.
pub async fn consumer(world: &World) -> (MockServer, PathBuf) {
    let server = MockServer::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "consumer-uid"}});
    Mock::given(method("GET"))
        .and(path("/api/v1/namespaces/kube-system"))
        .respond_with(ResponseTemplate::new(200).set_body_json(namespace))
        .mount(&server)
        .await;
    let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"});
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(404).set_body_json(missing))
        .with_priority(200)
        .mount(&server)
        .await;
    let file = world.home.path().join("consumer.kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server.uri()}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "consumer-token"}}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    (server, file)
}

/// All that was written to it.
pub async fn writes(server: &MockServer) -> Vec<String> {
    let all = server.received_requests().await.unwrap();
    all.iter()
        .filter(|r| r.method.as_str() != "GET")
        .map(|r| format!("{} {}", r.method, r.url.path()))
        .collect()
}
