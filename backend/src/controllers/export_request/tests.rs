//! What is read for a request, against a scripted API server.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use kube::client::Body;
use kube_bind_crds::api::{
    APIServiceExportRequestSpec, APIServiceExportTemplate, APIServiceExportTemplateSpec,
    ExportResource,
};
use kube_bind_runtime::health::Health;
use serde_json::json;

use super::*;
use crate::provision::test_support::{Script, claim, crd, failure, resource};

const REQUEST: &str =
    "/apis/kube-bind.io/v1alpha2/namespaces/cluster-a/apiserviceexportrequests/wanted/status";

fn request(resources: Vec<ExportResource>, claims: &[&str]) -> Arc<APIServiceExportRequest> {
    let spec = APIServiceExportRequestSpec {
        resources,
        permission_claims: claims.iter().map(|text| claim(text)).collect(),
        ..APIServiceExportRequestSpec::default()
    };
    let mut request = APIServiceExportRequest::new("wanted", spec);
    request.metadata.namespace = Some("cluster-a".into());
    request.metadata.uid = Some("uid-of-wanted".into());
    Arc::new(request)
}

fn scoped(client: kube::Client) -> Arc<Scoped<Sources>> {
    let (sources, _) = Sources::new(client.clone());
    Arc::new(Scoped::new(Context::for_tests(client), NAME, sources))
}

/// The connection of a consumer whose users have bound this offering.
fn bound(offering: &str) -> serde_json::Value {
    json!({
        "metadata": {
            "name": "cluster",
            "annotations": { "backend.kube-bind.io/offerings": offering },
        },
        "spec": { "kubeconfigSecretRef": { "name": "k", "key": "k" }, "providerPrettyName": "p" },
    })
}

#[tokio::test]
async fn for_a_request_that_nobody_could_be_granted_nothing_is_read() {
    let (client, mut api) = Script::new();
    let wanted = request(vec![resource("widgets.example.org", &[])], &["nodes."]);
    let answer = json!({ "metadata": { "name": "wanted" }, "spec": { "resources": [] } });
    tokio::select! {
        outcome = reconcile(wanted, scoped(client)) => panic!("without a report: {:?}", outcome.err()),
        written = api.answer("PATCH", REQUEST, 200, answer) => {
            assert_eq!(written["status"]["phase"], "Failed");
        }
    }
}

#[tokio::test]
async fn an_offering_that_was_not_bound_is_refused_before_schemas_are_read() {
    let (client, mut api) = Script::new();
    let wanted = request(vec![resource("widgets.example.org", &[])], &[]);
    let server = async {
        let group = "/apis/kube-bind.io/v1alpha2";
        let path = format!("{group}/namespaces/cluster-a/clusterbindings/cluster");
        api.answer("GET", &path, 200, bound("gadgets")).await;
        let namespace = json!({ "metadata": { "name": "cluster-a" } });
        api.answer("GET", "/api/v1/namespaces/cluster-a", 200, namespace)
            .await;
        let template = APIServiceExportTemplate::new(
            "widgets",
            APIServiceExportTemplateSpec {
                resources: vec![resource("widgets.example.org", &[])],
                ..APIServiceExportTemplateSpec::default()
            },
        );
        let list = json!({ "metadata": {}, "items": [template] });
        let path = format!("{group}/apiserviceexporttemplates");
        api.answer("GET", &path, 200, list).await;
        let answer = json!({ "metadata": { "name": "wanted" }, "spec": { "resources": [] } });
        api.answer("PATCH", REQUEST, 200, answer).await
    };
    tokio::select! {
        outcome = reconcile(wanted, scoped(client)) => panic!("without a report: {:?}", outcome.err()),
        written = server => {
            assert_eq!(written["status"]["phase"], "Failed");
            let message = written["status"]["terminalMessage"].as_str().unwrap();
            assert!(message.contains("widgets.example.org"), "{message}");
        }
    }
}

/// A client whose server has one exported CRD and one template, and counts the lists of CRDs.
fn offering(lists: &Arc<AtomicUsize>) -> kube::Client {
    let lists = lists.clone();
    let serve = tower::service_fn(move |request: Request<Body>| {
        let lists = lists.clone();
        async move {
            let uri = request.uri().to_string();
            if uri.contains("watch=true") {
                // Nothing happens.
                std::future::pending::<()>().await;
            }
            let item = if uri.contains("customresourcedefinitions") {
                lists.fetch_add(1, Ordering::Relaxed);
                crd("widgets.example.org", "Namespaced", &["v1"])
            } else {
                json!({
                    "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExportTemplate",
                    "metadata": { "name": "widgets" },
                    "spec": {
                        "resources": [{ "group": "example.org", "resource": "widgets" }],
                        "scope": "Namespaced",
                    },
                })
            };
            let list = json!({ "metadata": { "resourceVersion": "1" }, "items": [item] });
            let body = Body::from(serde_json::to_vec(&list).unwrap());
            Ok::<_, kube::Error>(Response::new(body))
        }
    });
    kube::Client::new(serve, "default")
}

#[tokio::test]
async fn the_schemas_of_all_requests_come_from_one_list() {
    let lists = Arc::default();
    let (sources, feed) = Sources::new(offering(&lists));
    let (client, mut api) = Script::new();
    let scoped = Arc::new(Scoped::new(Context::for_tests(client), NAME, sources));
    // The script names every request that is sent: nobody asks for schemas past the sources.
    let mut serve = async || {
        let group = "/apis/kube-bind.io/v1alpha2/namespaces/cluster-a";
        let path = format!("{group}/clusterbindings/cluster");
        api.answer("GET", &path, 200, bound("widgets")).await;
        let namespace = json!({ "metadata": { "name": "cluster-a" } });
        api.answer("GET", "/api/v1/namespaces/cluster-a", 200, namespace)
            .await;
        let path = format!("{group}/boundschemas/widgets.example.org");
        api.not_found("GET", &path).await;
        let path = format!("{group}/apiserviceexports/wanted");
        api.not_found("GET", &path).await;
        let path = format!("{group}/boundschemas");
        let refused = failure(403, "Forbidden");
        let schema = api.answer("POST", &path, 403, refused).await;
        assert_eq!(schema["spec"]["names"]["plural"], "widgets");
        let answer = json!({ "metadata": { "name": "wanted" }, "spec": { "resources": [] } });
        api.answer("PATCH", REQUEST, 200, answer).await;
    };
    let requests = async {
        scoped.state.ready().await;
        for _ in 0..2 {
            let wanted = request(vec![resource("widgets.example.org", &[])], &[]);
            tokio::select! {
                outcome = reconcile(wanted, scoped.clone()) => panic!("without a report: {:?}", outcome.err()),
                () = serve() => {}
            }
        }
    };
    tokio::select! {
        () = feed.run(Health::new(), CancellationToken::new()) => panic!("the watches ended"),
        () = requests => {}
    }
    assert_eq!(lists.load(Ordering::Relaxed), 1);
}
