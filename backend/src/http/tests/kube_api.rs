//! A fake API server: access reviews, templates, collections, and config maps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

#[derive(Clone, Default)]
pub struct KubeApi {
    /// Config maps by name.
    pub markers: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Specs of the access reviews that were made.
    pub reviews: Arc<Mutex<Vec<Value>>>,
}

const TEMPLATES: [&str; 2] = ["widgets", "secret-project"];

impl KubeApi {
    pub fn client(&self) -> kube::Client {
        let config_maps = "/api/v1/namespaces/kube-bind/configmaps";
        let router = Router::new()
            .route(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                post(review),
            )
            .route(
                "/apis/kube-bind.io/v1alpha2/apiserviceexporttemplates",
                get(templates),
            )
            .route(
                "/apis/kube-bind.io/v1alpha2/apiserviceexporttemplates/{name}",
                get(template),
            )
            .route("/apis/kube-bind.io/v1alpha2/collections", get(collections))
            .route(config_maps, post(create_marker))
            .route(&format!("{config_maps}/{{name}}"), get(read_marker))
            .with_state(self.clone());
        kube::Client::new(router, "default")
    }
}

/// Ada may bind anything but the secret project, Grace nothing.
async fn review(State(api): State<KubeApi>, Json(mut review): Json<Value>) -> Response {
    let spec = review["spec"].clone();
    let name = spec["resourceAttributes"]["name"]
        .as_str()
        .unwrap_or_default();
    let allowed = spec["user"] == "oidc:ada" && name != "secret-project";
    api.reviews.lock().unwrap().push(spec);
    review["status"] = json!({ "allowed": allowed });
    (StatusCode::CREATED, Json(review)).into_response()
}

fn template_named(name: &str) -> Value {
    json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExportTemplate",
        "metadata": {
            "name": name,
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes" },
            "managedFields": [{ "manager": "kubectl" }],
        },
        "spec": {
            "scope": "Namespaced",
            "resources": [{ "group": "example.io", "resource": name, "versions": ["v1"] }],
            "permissionClaims": [{
                "group": "", "resource": "secrets", "selector": { "labelSelector": {} }
            }],
            "namespaces": [{ "name": "prepared" }],
            "schemaUpdatePolicy": "Always",
        },
    })
}

async fn templates() -> Json<Value> {
    let items: Vec<_> = TEMPLATES.iter().map(|name| template_named(name)).collect();
    Json(json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExportTemplateList",
        "metadata": {}, "items": items,
    }))
}

async fn template(Path(name): Path<String>) -> Response {
    if TEMPLATES.contains(&name.as_str()) {
        Json(template_named(&name)).into_response()
    } else {
        status(404, "NotFound")
    }
}

async fn collections() -> Json<Value> {
    let collection = |name: &str, templates: &[&str]| {
        let templates: Vec<_> = templates
            .iter()
            .map(|name| json!({ "name": name }))
            .collect();
        json!({
            "apiVersion": "kube-bind.io/v1alpha2", "kind": "Collection",
            "metadata": { "name": name }, "spec": { "templates": templates },
        })
    };
    Json(json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "CollectionList", "metadata": {},
        "items": [collection("all", &TEMPLATES), collection("hidden", &["secret-project"])],
    }))
}

async fn create_marker(State(api): State<KubeApi>, Json(marker): Json<Value>) -> Response {
    let name = marker["metadata"]["name"].as_str().unwrap().to_owned();
    let mut markers = api.markers.lock().unwrap();
    if markers.contains_key(&name) {
        return status(409, "AlreadyExists");
    }
    markers.insert(name, marker.clone());
    (StatusCode::CREATED, Json(marker)).into_response()
}

async fn read_marker(State(api): State<KubeApi>, Path(name): Path<String>) -> Response {
    match api.markers.lock().unwrap().get(&name) {
        Some(marker) => Json(marker.clone()).into_response(),
        None => status(404, "NotFound"),
    }
}

fn status(code: u16, reason: &str) -> Response {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": reason, "code": code, "message": reason,
    });
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}
