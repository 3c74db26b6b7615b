//! The order of the steps, against a scripted API server.

use kube_bind_crds::api::{APIServiceNamespaceSpec, APIServiceNamespaceStatus};
use kube_bind_crds::names::ANNOTATION_NAMESPACE_PROBLEM;
use serde_json::{Value, json};

use super::*;
use crate::controllers::error::RESYNC;
use crate::provision::test_support::{Script, export};

#[tokio::test(start_paused = true)]
async fn a_finalizer_that_is_never_answered_does_not_hold_a_worker_for_ever() {
    let (client, _api) = Script::new();
    let mut object = APIServiceNamespace::clone(&object(false));
    object.metadata.finalizers = None;
    let outcome = reconcile(Arc::new(object), scoped(client)).await;
    assert!(outcome.is_err());
}

const NAME: &str = "cluster-a-shop";

fn object(published: bool) -> Arc<APIServiceNamespace> {
    let mut object = APIServiceNamespace::new("shop", APIServiceNamespaceSpec {});
    object.metadata.namespace = Some("cluster-a".into());
    object.metadata.uid = Some("uid-of-shop".into());
    object.metadata.resource_version = Some("11".into());
    object.metadata.finalizers = Some(vec![FINALIZER_SERVICE_NAMESPACE.into()]);
    object.status = published.then(|| APIServiceNamespaceStatus {
        namespace: Some(NAME.into()),
    });
    Arc::new(object)
}

fn scoped(client: kube::Client) -> Arc<Scoped<()>> {
    Arc::new(Scoped::new(Context::for_tests(client), super::NAME, ()))
}

fn namespace(marker: &str) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {
            "name": NAME, "uid": "uid-of-namespace",
            "labels": { LABEL_COMPONENT: COMPONENT_SERVICE_NAMESPACE },
            "annotations": { ANNOTATION_API_SERVICE_NAMESPACE: marker },
        },
    })
}

async fn list_exports(api: &mut Script) {
    let exports = [export("one", &["widgets.example.org"], &[])];
    let list = json!({ "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExportList", "metadata": {}, "items": exports });
    api.answer(
        "GET",
        "/apis/kube-bind.io/v1alpha2/namespaces/cluster-a/apiserviceexports",
        200,
        list,
    )
    .await;
}

async fn make_rights(api: &mut Script) {
    for (plural, name) in [
        ("roles", "kube-binder-exports"),
        ("roles", "kube-binder-claims"),
        ("rolebindings", "kube-binder-exports"),
        ("rolebindings", "kube-binder-claims"),
    ] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAME}/{plural}/{name}");
        api.not_found("GET", &path).await;
        api.answer(
            "PATCH",
            &path,
            201,
            json!({ "apiVersion": "v1", "kind": "Role", "metadata": { "name": name } }),
        )
        .await;
    }
}

async fn review(api: &mut Script, allowed: bool) {
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let asked = api
        .answer(
            "POST",
            path,
            201,
            json!({ "metadata": {}, "spec": {}, "status": { "allowed": allowed } }),
        )
        .await;
    assert_eq!(
        asked["spec"]["user"],
        "system:serviceaccount:cluster-a:kube-binder"
    );
    assert_eq!(asked["spec"]["resourceAttributes"]["namespace"], NAME);
    assert_eq!(asked["spec"]["resourceAttributes"]["resource"], "widgets");
}

#[tokio::test]
async fn a_namespace_is_not_announced_before_its_rights_are_in_effect() {
    let (client, mut api) = Script::new();
    let server = async {
        api.not_found("GET", &format!("/api/v1/namespaces/{NAME}"))
            .await;
        let made = api
            .answer(
                "POST",
                "/api/v1/namespaces",
                201,
                json!({ "metadata": { "name": NAME } }),
            )
            .await;
        assert_eq!(
            made["metadata"]["annotations"][ANNOTATION_API_SERVICE_NAMESPACE],
            "cluster-a/shop"
        );
        list_exports(&mut api).await;
        make_rights(&mut api).await;
        review(&mut api, false).await;
    };
    let (outcome, ()) = tokio::join!(reconcile(object(false), scoped(client)), server);
    assert!(matches!(outcome, Err(Error::Waiting { .. })));
}

#[tokio::test]
async fn the_announcement_is_the_last_write() {
    let (client, mut api) = Script::new();
    let server = async {
        api.answer(
            "GET",
            &format!("/api/v1/namespaces/{NAME}"),
            200,
            namespace("cluster-a/shop"),
        )
        .await;
        list_exports(&mut api).await;
        make_rights(&mut api).await;
        review(&mut api, true).await;
        let path =
            "/apis/kube-bind.io/v1alpha2/namespaces/cluster-a/apiservicenamespaces/shop/status";
        let written = api
            .answer(
                "PATCH",
                path,
                200,
                serde_json::to_value(&*object(true)).unwrap(),
            )
            .await;
        assert_eq!(written["status"]["namespace"], NAME);
        assert_eq!(written["metadata"]["resourceVersion"], "11");
        let events = "/apis/events.k8s.io/v1/namespaces/cluster-a/events";
        api.answer(
            "POST",
            events,
            201,
            json!({ "metadata": {}, "eventTime": null }),
        )
        .await;
    };
    let (outcome, ()) = tokio::join!(reconcile(object(false), scoped(client)), server);
    assert_eq!(outcome.unwrap(), Action::requeue(RESYNC));
}

#[tokio::test]
async fn going_deletes_our_namespace_and_waits() {
    let (client, mut api) = Script::new();
    let mut going = APIServiceNamespace::clone(&object(true));
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        "2026-01-01T12:00:00Z".parse().unwrap(),
    ));
    let server = async {
        let path = format!("/api/v1/namespaces/{NAME}");
        api.answer("GET", &path, 200, namespace("cluster-a/shop"))
            .await;
        let sent = api
            .answer(
                "DELETE",
                &path,
                200,
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } }),
            )
            .await;
        assert_eq!(sent["preconditions"]["uid"], "uid-of-namespace");
    };
    let (outcome, ()) = tokio::join!(reconcile(Arc::new(going), scoped(client)), server);
    assert!(
        matches!(outcome, Err(Error::Waiting { .. })),
        "the finalizer stays on"
    );
}

#[tokio::test]
async fn why_there_is_no_namespace_is_written_on_the_object_once() {
    let (client, mut api) = Script::new();
    let path = "/apis/kube-bind.io/v1alpha2/namespaces/cluster-a/apiservicenamespaces/shop";
    let found = format!("/api/v1/namespaces/{NAME}");
    let event = "/apis/events.k8s.io/v1/namespaces/cluster-a/events";
    let server = async {
        api.answer("GET", &found, 200, namespace("somebody/else"))
            .await;
        let patch = api.answer("PATCH", path, 200, json!(*object(false))).await;
        assert_eq!(patch["metadata"]["uid"], "uid-of-shop");
        let why = patch["metadata"]["annotations"][ANNOTATION_NAMESPACE_PROBLEM].clone();
        api.answer("POST", event, 201, json!({})).await;
        why
    };
    let (outcome, why) = tokio::join!(reconcile(object(false), scoped(client)), server);
    assert!(outcome.is_ok());
    let why = why.as_str().unwrap().to_owned();
    assert!(why.contains("was not made for"), "{why}");

    let (client, mut api) = Script::new();
    let mut told = APIServiceNamespace::clone(&object(false));
    told.annotations_mut()
        .insert(ANNOTATION_NAMESPACE_PROBLEM.to_owned(), why);
    let server = async {
        api.answer("GET", &found, 200, namespace("somebody/else"))
            .await;
        api.answer("POST", event, 201, json!({})).await;
    };
    let (outcome, ()) = tokio::join!(reconcile(Arc::new(told), scoped(client)), server);
    assert!(outcome.is_ok());
}
