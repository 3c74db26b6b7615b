//! The generated CRDs on a real API server: what the contract calls valid comes back as it was sent,
//! what it forbids is refused, what it defaults is there.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod objects;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Api, Client};
use kube_bind_e2e::{ControlPlane, Options, run};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

/// One API server for all tests of this file; they work on objects of their own names.
async fn client() -> Client {
    let start = async || {
        let options = Options {
            without_controller_manager: true,
            ..Default::default()
        };
        let plane = ControlPlane::start("crds", options).await.unwrap();
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds");
        plane
            .kubectl(&["apply", "--server-side", "-f", crds])
            .await
            .unwrap();
        plane
            .kubectl(&[
                "wait",
                "--for=condition=Established",
                "--timeout=60s",
                "-f",
                crds,
            ])
            .await
            .unwrap();
        plane
    };
    PLANE.get_or_init(start).await.client()
}

async fn api(plural: &str, object: &Value, version: &str) -> Api<DynamicObject> {
    let kind = object["kind"].as_str().unwrap();
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kube-bind.io", version, kind),
        plural,
    );
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client().await, namespace, &resource),
        None => Api::all_with(client().await, &resource),
    }
}

/// The example of a kind under another name.
async fn example(plural: &'static str, name: &str) -> (Api<DynamicObject>, Value) {
    let mut object = objects::all()
        .into_iter()
        .find(|case| case.plural == plural)
        .unwrap()
        .object;
    object["metadata"]["name"] = json!(name);
    (api(plural, &object, "v1alpha2").await, object)
}

async fn create(api: &Api<DynamicObject>, object: &Value) -> Result<Value, kube::Error> {
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    Ok(serde_json::to_value(api.create(&PostParams::default(), &object).await?).unwrap())
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, kube::Error>) -> Box<Status> {
    match answer {
        Err(kube::Error::Api(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Everything in `sent` is in `got`; `got` may have more, such as defaults.
fn assert_kept(sent: &Value, got: &Value, path: &str) {
    match (sent, got) {
        (Value::Object(sent), Value::Object(got)) => {
            for (key, value) in sent {
                let inner = format!("{path}.{key}");
                assert_kept(
                    value,
                    got.get(key).unwrap_or_else(|| panic!("{inner} was pruned")),
                    &inner,
                );
            }
        }
        (Value::Array(sent), Value::Array(got)) if sent.len() == got.len() => {
            for (index, (sent, got)) in sent.iter().zip(got).enumerate() {
                assert_kept(sent, got, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(sent, got, "{path}"),
    }
}

#[test]
fn an_object_with_every_field_of_the_contract_comes_back_unpruned() {
    run(async {
        for case in objects::all() {
            let api = api(case.plural, &case.object, "v1alpha2").await;
            let created = create(&api, &case.object)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", case.plural));
            assert_kept(&case.object, &created, case.plural);
            let name = case.object["metadata"]["name"].as_str().unwrap();
            let patch = Patch::Merge(json!({"status": case.status}));
            let patched = api
                .patch_status(name, &PatchParams::default(), &patch)
                .await;
            let patched = patched.unwrap_or_else(|error| panic!("{} status: {error}", case.plural));
            assert_kept(
                &case.status,
                &patched.data["status"],
                &format!("{}.status", case.plural),
            );
            // The status subresource keeps its hands off the spec, and the other way round.
            let patch = Patch::Merge(
                json!({"status": {"conditions": [], "phase": "Pending", "namespace": "other"}}),
            );
            let spec_side = api
                .patch(name, &PatchParams::default(), &patch)
                .await
                .unwrap();
            assert_kept(
                &case.status,
                &spec_side.data["status"],
                &format!("{}.status after a patch of the object", case.plural),
            );
        }
    });
}

#[test]
fn immutable_fields_stay() {
    let secret = json!({"kubeconfigSecretRef": {"name": "another"}});
    let request = [
        json!({"parameters": {"new": true}}),
        json!({"resources": [{"group": "example.org", "resource": "gadgets"}]}),
        json!({"permissionClaims": []}),
        json!({"namespaces": [{"name": "team-b"}]}),
        json!({"schemaUpdatePolicy": "Never"}),
    ];
    let export = [
        json!({"resources": [{"group": "example.org", "resource": "gadgets"}]}),
        json!({"permissionClaims": []}),
        json!({"informerScope": "Cluster"}),
        json!({"isolation": "None"}),
        json!({"clusterScopedIsolation": "Prefixed"}),
    ];
    run(async {
        for (plural, name, changes) in [
            ("apiserviceexportrequests", "immutable", request.as_slice()),
            ("apiserviceexports", "immutable", &export),
            (
                "apiservicebindings",
                "immutable",
                std::slice::from_ref(&secret),
            ),
            (
                "apiservicebindingbundles",
                "immutable",
                std::slice::from_ref(&secret),
            ),
        ] {
            let (api, object) = example(plural, name).await;
            create(&api, &object).await.unwrap();
            for spec in changes {
                let patch = Patch::Merge(json!({"spec": spec}));
                let refused = refusal(api.patch(name, &PatchParams::default(), &patch).await);
                assert_eq!(refused.code, 422, "{plural} {spec}: {}", refused.message);
            }
        }
        // A template's policy is the exception.
        let (api, object) = example("apiserviceexporttemplates", "mutable").await;
        create(&api, &object).await.unwrap();
        let patch =
            Patch::Merge(json!({"spec": {"schemaUpdatePolicy": "Never", "description": "new"}}));
        api.patch("mutable", &PatchParams::default(), &patch)
            .await
            .unwrap();
    });
}

#[test]
fn what_is_left_out_is_defaulted() {
    run(async {
        let resources = json!([{"resource": "things"}]);
        let (api, mut request) = example("apiserviceexportrequests", "defaults").await;
        request["spec"] = json!({"resources": resources});
        let created = create(&api, &request).await.unwrap();
        assert_eq!(created["status"], json!({"phase": "Pending"}));
        assert_eq!(
            created["spec"],
            json!({"resources": [{"group": "", "resource": "things"}], "schemaUpdatePolicy": "Never"})
        );

        let (api, mut request) = example("bindableresourcesrequests", "defaults").await;
        request["spec"] = json!({"clusterIdentity": {}, "author": ""});
        let created = create(&api, &request).await.unwrap();
        assert_eq!(created["status"], json!({"phase": "Pending"}));

        let (api, mut template) = example("apiserviceexporttemplates", "defaults").await;
        template["spec"] = json!({"scope": "Cluster", "resources": resources});
        let created = create(&api, &template).await.unwrap();
        assert_eq!(created["spec"]["schemaUpdatePolicy"], "Never");

        // What the original's client sends for an unset free-form field.
        let (api, mut binding) = example("clusterbindings", "cluster").await;
        binding["metadata"]["namespace"] = json!("kube-public");
        binding["spec"]["serviceProviderSpec"] = Value::Null;
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("kube-bind.io", "v1alpha2", "ClusterBinding"),
            "clusterbindings",
        );
        drop(api);
        let api = Api::namespaced_with(client().await, "kube-public", &resource);
        let created = create(&api, &binding).await.unwrap();
        assert!(
            created["spec"]
                .get("serviceProviderSpec")
                .is_none_or(Value::is_null),
            "{created}"
        );
    });
}

#[test]
fn what_the_contract_forbids_is_refused() {
    let cases = [
        ("apiserviceexporttemplates", "/spec/resources", json!([])),
        ("apiserviceexporttemplates", "/spec/scope", json!("Galaxy")),
        (
            "apiserviceexporttemplates",
            "/spec/resources/0/resource",
            json!("Widgets"),
        ),
        (
            "apiserviceexporttemplates",
            "/spec/resources/0/group",
            json!("-example.org"),
        ),
        ("collections", "/spec/templates", json!([])),
        ("apiserviceexportrequests", "/spec/resources", json!([])),
        (
            "apiserviceexportrequests",
            "/spec/schemaUpdatePolicy",
            json!("Sometimes"),
        ),
        ("apiserviceexports", "/spec/isolation", json!("")),
        ("boundschemas", "/spec/versions", json!([])),
        ("boundschemas", "/spec/versions/0/name", json!("one")),
        ("boundschemas", "/spec/conversion/strategy", json!("None")),
        ("clusterbindings", "/metadata/name", json!("another")),
        ("clusterbindings", "/spec/providerPrettyName", json!("")),
        (
            "clusterbindings",
            "/spec/kubeconfigSecretRef/name",
            json!(""),
        ),
        (
            "apiservicebindings",
            "/spec/kubeconfigSecretRef/namespace",
            json!(""),
        ),
        ("apiservicebindings", "/spec", json!({})),
    ];
    run(async {
        for (plural, pointer, value) in cases {
            let (api, mut object) = example(plural, "invalid").await;
            if plural == "clusterbindings" && pointer != "/metadata/name" {
                object["metadata"]["name"] = json!("cluster");
            }
            *object.pointer_mut(pointer).unwrap() = value.clone();
            let refused = refusal(create(&api, &object).await);
            assert_eq!(
                refused.code, 422,
                "{plural} {pointer} = {value}: {}",
                refused.message
            );
        }
    });
}

#[test]
fn the_older_version_is_served_where_the_contract_says_so() {
    run(async {
        client().await;
        let plane = PLANE.get().unwrap();
        let resources = plane
            .kubectl(&["get", "--raw", "/apis/kube-bind.io/v1alpha1"])
            .await
            .unwrap();
        let resources: Value = serde_json::from_str(&resources).unwrap();
        let mut served: Vec<&str> = resources["resources"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|r| r["name"].as_str())
            .filter(|name| !name.contains('/'))
            .collect();
        served.sort_unstable();
        let expected = [
            "apiservicebindings",
            "apiserviceexportrequests",
            "apiserviceexports",
            "apiservicenamespaces",
            "clusterbindings",
        ];
        assert_eq!(served, expected);
    });
}
