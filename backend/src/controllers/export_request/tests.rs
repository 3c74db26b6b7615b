//! What is read for a request, against a scripted API server.

use kube_bind_crds::api::{
    APIServiceExportRequestSpec, APIServiceExportTemplate, APIServiceExportTemplateSpec,
    ExportResource,
};
use serde_json::json;

use super::*;
use crate::provision::test_support::{Script, claim, resource};

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
        let binding = json!({
            "metadata": {
                "name": "cluster",
                "annotations": { "backend.kube-bind.io/offerings": "gadgets" },
            },
            "spec": { "kubeconfigSecretRef": { "name": "k", "key": "k" }, "providerPrettyName": "p" },
        });
        let path = format!("{group}/namespaces/cluster-a/clusterbindings/cluster");
        api.answer("GET", &path, 200, binding).await;
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
