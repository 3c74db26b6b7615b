//! Plain data for the tests of provisioning and the controllers, and a scripted API server.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube_bind_crds::api::{
    APIServiceExport, APIServiceExportSpec, ExportResource, GroupResource, InformerScope,
    Isolation, PermissionClaim, Selector, SelectorReference,
};
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

use super::Settings;

/// Settings as a provider would have them.
pub fn settings() -> Settings {
    Settings {
        namespace: "kube-bind-backend".into(),
        namespace_prefix: "cluster-".into(),
        pretty_name: "Provider".into(),
        informer_scope: InformerScope::Namespaced,
        isolation: Isolation::Prefixed,
        allow_shared_reads: false,
        grant_cluster_wide_lists: false,
        external_address: "https://provider.example:6443".into(),
        external_ca: Some(
            b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_vec(),
        ),
        external_server_name: None,
        credential_ttl: Duration::from_secs(168 * 3600),
        credential_renew_after: Duration::from_secs(24 * 3600),
        max_requests: 100,
        max_namespaces: 1000,
        allowed_groups: vec!["tenants".into()],
        allowed_users: vec![],
        username_prefix: "oidc:".into(),
        groups_prefix: "oidc:".into(),
        schema_sync_interval: Duration::from_secs(300),
    }
}

/// `widgets.example.org` as group and resource; `secrets.` is in the core group.
pub fn group_resource(text: &str) -> GroupResource {
    let (resource, group) = text.split_once('.').unwrap();
    GroupResource {
        group: group.into(),
        resource: resource.into(),
    }
}

/// A resource with the versions that are wanted.
pub fn resource(text: &str, versions: &[&str]) -> ExportResource {
    ExportResource {
        group_resource: group_resource(text),
        versions: versions.iter().map(|v| (*v).into()).collect(),
    }
}

/// A claim by reference.
pub fn claim(text: &str) -> PermissionClaim {
    PermissionClaim {
        group_resource: group_resource(text),
        selector: Selector {
            references: vec![SelectorReference {
                group_resource: group_resource("widgets.example.org"),
                ..SelectorReference::default()
            }],
            ..Selector::default()
        },
    }
}

/// An export in the namespace `cluster-a` with the uid `uid-of-<name>`.
pub fn export(name: &str, resources: &[&str], claims: &[&str]) -> APIServiceExport {
    let mut export = APIServiceExport::new(
        name,
        APIServiceExportSpec {
            resources: resources.iter().map(|text| resource(text, &[])).collect(),
            permission_claims: claims.iter().map(|text| claim(text)).collect(),
            ..APIServiceExportSpec::default()
        },
    );
    export.metadata.namespace = Some("cluster-a".into());
    export.metadata.uid = Some(format!("uid-of-{name}"));
    export
}

/// An exported CRD with these served versions, the last one stored.
pub fn crd(text: &str, scope: &str, versions: &[&str]) -> Value {
    let GroupResource { group, resource } = group_resource(text);
    let last = versions.last().copied();
    let versions: Vec<_> = versions
        .iter()
        .map(|name| {
            json!({
                "name": name, "served": true, "storage": Some(*name) == last,
                "schema": { "openAPIV3Schema": { "type": "object" } },
                "subresources": { "status": {} },
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": text, "labels": { "kube-bind.io/exported": "true" } },
        "spec": {
            "group": group, "scope": scope, "versions": versions,
            "names": { "plural": resource, "kind": "Widget", "singular": "widget", "listKind": "WidgetList" },
        },
    })
}

/// An API server that answers as a test tells it to.
pub struct Script {
    handle: Handle<Request<Body>, Response<Body>>,
}

impl Script {
    /// A client and the script behind it.
    pub fn new() -> (Client, Self) {
        let (service, handle) = mock::pair();
        (Client::new(service, "default"), Self { handle })
    }

    /// Takes the next request, checks what it is, and answers it; returns its body.
    pub async fn answer(&mut self, method: &str, path: &str, status: u16, body: Value) -> Value {
        let (request, send) = self.handle.next_request().await.expect("a request");
        let (parts, sent) = request.into_parts();
        assert_eq!((parts.method.as_str(), parts.uri.path()), (method, path));
        let response = Response::builder()
            .status(status)
            .body(Body::from(serde_json::to_vec(&body).unwrap()))
            .unwrap();
        send.send_response(response);
        let bytes = sent.collect_bytes().await.unwrap();
        if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        }
    }

    /// Answers that there is no such object.
    pub async fn not_found(&mut self, method: &str, path: &str) {
        self.answer(method, path, 404, failure(404, "NotFound"))
            .await;
    }
}

/// An error answer of the API server.
pub fn failure(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    })
}

/// The settings, shared.
pub fn shared_settings() -> Arc<Settings> {
    Arc::new(settings())
}
