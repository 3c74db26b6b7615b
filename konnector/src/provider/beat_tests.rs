//! What makes a provider's heart beat, against a scripted server.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response};
use kube::client::Body;
use kube_bind_crds::api::{APIServiceExport, APIServiceExportSpec};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::test_support::connected;
use super::*;
use crate::test_support::{answering, failure, term};

/// Long enough for everything that is under way, and much less than the time between two heartbeats.
const A_WHILE: Duration = Duration::from_secs(10);

fn export(version: u32) -> Value {
    let mut export = APIServiceExport::new("widgets", APIServiceExportSpec::default());
    export.metadata.namespace = Some("tenant".into());
    export.metadata.resource_version = Some(version.to_string());
    serde_json::to_value(export).unwrap()
}

fn cluster_binding() -> Value {
    json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "ClusterBinding",
        "metadata": { "name": "cluster", "namespace": "tenant", "resourceVersion": "5" },
        "spec": {
            "kubeconfigSecretRef": { "name": "kubeconfig", "key": "kubeconfig" },
            "providerPrettyName": "p",
        },
    })
}

/// A provider with one export that nobody uses, whose status somebody empties when `touch` is told.
struct Server {
    touch: Notify,
    touched: AtomicBool,
    /// Versions of the export to which a status was written.
    reported: mpsc::UnboundedSender<String>,
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let is_of_exports = path.contains("/apiserviceexports");
        if query.contains("watch=true") {
            if !is_of_exports || self.touched.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.touch.notified().await;
            self.touched.store(true, Ordering::Relaxed);
            return json_of(&json!({ "type": "MODIFIED", "object": export(21) }));
        }
        if parts.method == http::Method::PATCH {
            let sent = body.collect_bytes().await.unwrap();
            let sent: Value = serde_json::from_slice(&sent).unwrap();
            if !is_of_exports {
                return json_of(&cluster_binding());
            }
            let version = sent["metadata"]["resourceVersion"].as_str().unwrap();
            self.reported.send(version.to_owned()).unwrap();
            return json_of(&export(20));
        }
        if self.touched.load(Ordering::Relaxed) {
            // A list would be news too; here it is the event that has to do.
            std::future::pending::<()>().await;
        }
        let items = match path.rsplit('/').next() {
            Some("apiserviceexports") => vec![export(20)],
            Some("clusterbindings") => vec![cluster_binding()],
            _ => vec![],
        };
        json_of(&json!({ "metadata": { "resourceVersion": "20" }, "items": items }))
    }
}

fn json_of(value: &Value) -> Response<Body> {
    Response::new(Body::from(format!("{value}\n").into_bytes()))
}

#[tokio::test(start_paused = true)]
async fn a_status_of_an_export_that_somebody_changed_is_looked_at_before_the_next_heartbeat() {
    let consumer = answering(|_| failure(404, "NotFound"));
    let ctx = Arc::new(term(&consumer));
    ctx.bindings_listed.set();
    let (reported, mut reports) = mpsc::unbounded_channel();
    let server = Arc::new(Server {
        touch: Notify::new(),
        touched: AtomicBool::new(false),
        reported,
    });
    let serving = server.clone();
    let serve = tower::service_fn(move |request| {
        let server = serving.clone();
        async move { Ok::<_, kube::Error>(server.answer(request).await) }
    });
    let provider = connected(&ctx, Client::new(serve, "tenant"));

    // Beats until all is quiet.
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(*provider.heartbeat.borrow(), HeartbeatState::Beating);
    let mut before = Vec::new();
    while let Ok(version) = reports.try_recv() {
        before.push(version);
    }
    assert!(before.iter().all(|version| version == "20"), "{before:?}");
    assert!(!before.is_empty());

    server.touch.notify_one();
    let report = tokio::time::timeout(A_WHILE, reports.recv()).await;
    assert_eq!(report.unwrap().as_deref(), Some("21"));
    ctx.shutdown.token.cancel();
}
