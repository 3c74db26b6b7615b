//! The order of the steps, against a scripted API server.

use serde_json::{Value, json};

use super::*;
use crate::provision::test_support::{Script, export, failure, settings};

const BINDING: &str = "/apis/kube-bind.io/v1alpha2/namespaces/cluster-a1/clusterbindings/cluster";
const EXPORTS: &str = "/apis/kube-bind.io/v1alpha2/namespaces/cluster-a1/apiserviceexports";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

fn binding(finalizers: &[&str]) -> Arc<ClusterBinding> {
    let mut binding = ClusterBinding::new("cluster", Default::default());
    binding.metadata.namespace = Some("cluster-a1".into());
    binding.metadata.uid = Some("uid-of-binding".into());
    binding.metadata.resource_version = Some("7".into());
    binding.metadata.finalizers = Some(finalizers.iter().map(|f| (*f).into()).collect());
    Arc::new(binding)
}

fn scoped(client: kube::Client) -> Arc<Scoped<State>> {
    let state = State {
        policy: policy::policy(&settings()),
        enforced: Mutex::default(),
    };
    Arc::new(Scoped::new(Context::for_tests(client), super::NAME, state))
}

async fn list(api: &mut Script, path: &str, items: Value) {
    let list = json!({ "metadata": {}, "items": items });
    api.answer("GET", path, 200, list).await;
}

/// One export of a cluster-scoped kind.
async fn observe_tenants(api: &mut Script) {
    let mut tenants = export("one", &["tenants.example.org"], &[]);
    tenants.metadata.namespace = Some("cluster-a1".into());
    list(api, EXPORTS, json!([tenants])).await;
    let schema = BoundSchema::new(
        "tenants.example.org",
        kube_bind_crds::api::BoundSchemaSpec {
            scope: ResourceScope::Cluster,
            ..Default::default()
        },
    );
    let path = "/apis/kube-bind.io/v1alpha2/namespaces/cluster-a1/boundschemas/tenants.example.org";
    api.answer("GET", path, 200, json!(schema)).await;
    let role = format!("{RBAC}/namespaces/cluster-a1/roles/kube-binder-exports");
    api.not_found("GET", &role).await;
    let all = "/apis/kube-bind.io/v1alpha2/apiserviceexports";
    list(api, all, json!([tenants])).await;
}

async fn create(api: &mut Script, collection: &str, name: &str) -> Value {
    api.not_found("GET", &format!("{collection}/{name}")).await;
    let made = json!({ "apiVersion": "v1", "kind": "K", "metadata": { "name": name, "uid": "u", "generation": 1 } });
    api.answer("POST", collection, 201, made).await
}

async fn put_policy(api: &mut Script) {
    let name = "kube-bind-backend.kube-bind-backend";
    for plural in ["policies", "policybindings"] {
        create(
            api,
            &format!("{ADMISSION}/validatingadmission{plural}"),
            name,
        )
        .await;
    }
}

#[tokio::test]
async fn nothing_is_granted_before_the_finalizer_is_there() {
    let (client, mut api) = Script::new();
    let server = async {
        observe_tenants(&mut api).await;
        let patch = api
            .answer("PATCH", BINDING, 200, json!(*binding(&[])))
            .await;
        assert_eq!(
            patch["metadata"]["finalizers"],
            json!(["other", FINALIZER_ACCESS])
        );
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
    };
    let (outcome, ()) = tokio::join!(reconcile(binding(&["other"]), scoped(client)), server);
    assert!(matches!(outcome, Err(Error::Waiting { .. })));
}

#[tokio::test]
async fn cluster_wide_writes_are_not_bound_before_the_policy_is_seen_to_refuse() {
    let (client, mut api) = Script::new();
    let scoped = scoped(client);
    let clusters = "/apis/kube-bind.io/v1alpha2/clusters";
    let server = async {
        observe_tenants(&mut api).await;
        put_policy(&mut api).await;
        let accepted = json!({ "metadata": { "name": "kube-bind-policy-probe" }, "spec": {} });
        api.answer("POST", clusters, 201, accepted).await;
    };
    let bound = || binding(&[FINALIZER_ACCESS]);
    let (outcome, ()) = tokio::join!(reconcile(bound(), scoped.clone()), server);
    assert!(matches!(outcome, Err(Error::Waiting { .. })));

    let server = async {
        observe_tenants(&mut api).await;
        put_policy(&mut api).await;
        let mut refusal = failure(403, "Forbidden");
        refusal["message"] = policy::answer(&scoped.state.policy.digest).into();
        let probe = api.answer("POST", clusters, 403, refusal).await;
        assert_eq!(
            probe["metadata"]["annotations"][names::ANNOTATION_PROBE],
            scoped.state.policy.digest.as_str()
        );
        let namespace = json!({ "metadata": { "name": "cluster-a1", "uid": "uid-of-namespace" } });
        api.answer("GET", "/api/v1/namespaces/cluster-a1", 200, namespace)
            .await;
        let roles = format!("{RBAC}/clusterroles");
        let role = create(&mut api, &roles, "kube-binder-cluster-a1").await;
        assert_eq!(role["rules"][0]["resources"], json!(["tenants"]));
        let bindings = format!("{RBAC}/clusterrolebindings");
        create(&mut api, &bindings, "kube-binder-cluster-a1").await;
    };
    let (outcome, ()) = tokio::join!(reconcile(bound(), scoped.clone()), server);
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn a_cluster_role_of_somebody_else_is_left_alone() {
    let (client, mut api) = Script::new();
    let scoped = scoped(client);
    *scoped.state.enforced.lock().unwrap() = Some(("uu".into(), 1));
    let server = async {
        observe_tenants(&mut api).await;
        put_policy(&mut api).await;
        let namespace = json!({ "metadata": { "name": "cluster-a1", "uid": "uid-of-namespace" } });
        api.answer("GET", "/api/v1/namespaces/cluster-a1", 200, namespace)
            .await;
        let foreign = json!({ "apiVersion": "v1", "kind": "ClusterRole", "metadata": { "name": "n" }, "rules": [] });
        let role = format!("{RBAC}/clusterroles/kube-binder-cluster-a1");
        api.answer("GET", &role, 200, foreign).await;
        // The event that says so.
        api.answer(
            "POST",
            "/apis/events.k8s.io/v1/namespaces/cluster-a1/events",
            201,
            json!({}),
        )
        .await;
    };
    let (outcome, ()) = tokio::join!(
        reconcile(binding(&[FINALIZER_ACCESS]), scoped.clone()),
        server
    );
    assert!(matches!(outcome, Err(Error::Foreign { .. })), "{outcome:?}");
}

#[tokio::test]
async fn the_end_of_a_consumer_takes_its_rights_away_binding_first() {
    let (client, mut api) = Script::new();
    let ours = |name: &str| {
        json!({ "apiVersion": "v1", "kind": "K", "metadata": {
            "name": name, "uid": format!("uid-of-{name}"),
            "labels": { LABEL_COMPONENT: COMPONENT_ACCESS },
        }})
    };
    let server = async {
        for plural in ["clusterrolebindings", "clusterroles"] {
            let path = format!("{RBAC}/{plural}/kube-binder-cluster-a1");
            api.answer("GET", &path, 200, ours(plural)).await;
            let path = format!("{RBAC}/{plural}/{plural}");
            let sent = api.answer("DELETE", &path, 200, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" })).await;
            assert_eq!(sent["preconditions"]["uid"], format!("uid-of-{plural}"));
        }
        let patch = api
            .answer("PATCH", BINDING, 200, json!(*binding(&[])))
            .await;
        assert_eq!(patch["metadata"]["finalizers"], json!([]));
    };
    let mut going = ClusterBinding::clone(&binding(&[FINALIZER_ACCESS]));
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        jiff::Timestamp::UNIX_EPOCH,
    ));
    let (outcome, ()) = tokio::join!(reconcile(Arc::new(going), scoped(client)), server);
    assert!(outcome.is_ok(), "{outcome:?}");
}
