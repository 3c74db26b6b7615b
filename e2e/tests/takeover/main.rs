//! Our konnector starts where the original's ran, and ends where the original's may start again.
//! Nothing is deleted or made anew, fields change hands, and nothing is written without need.

mod left;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::{bindings, definitions, merge, ours};
use kube_bind_e2e::objects::{api, condition, create, secrets, wait_gone, wait_until};
use kube_bind_e2e::original::{self, CLUSTER_NAMESPACE};
use kube_bind_e2e::widgets::{self, widget};
use kube_bind_e2e::{run, wait_for};
use serde_json::{Value, json};

use left::{Installation, NAMESPACE};

fn crd() -> Value {
    let mut crd = widgets::crd("widgets", "Widget", true);
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    if let Some(spec) = crd.pointer_mut(spec) {
        spec["secretName"] = json!({"type": "string"});
    }
    crd
}

fn claim() -> Value {
    json!({"group": "", "resource": "secrets", "selector": {"references": [{
        "group": "example.org", "resource": "widgets", "versions": ["v1"], "jsonPath": {"name": "spec.secretName"}}]}})
}

fn managers(copy: &DynamicObject) -> Vec<(String, String)> {
    let all = copy.metadata.managed_fields.iter().flatten();
    all.filter(|entry| entry.subresource.is_none())
        .map(|entry| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            (text(&entry.manager), text(&entry.operation))
        })
        .collect()
}

/// Uids of all that must outlive the change-over.
async fn uids(left: &Installation) -> Result<BTreeMap<String, String>> {
    let (consumer, provider) = (left.consumer.plane.client(), left.provider.plane.client());
    let namespace = ("", "v1", "Namespace");
    let secret = ("", "v1", "Secret");
    let groups = [
        ("consumer", left.mine()),
        ("consumer", definitions(&left.consumer.plane)),
        ("consumer", api(consumer.clone(), secret, NAMESPACE)),
        (
            "consumer",
            api(consumer.clone(), secret, names::KONNECTOR_NAMESPACE),
        ),
        ("consumer", api(consumer, namespace, "")),
        ("consumer", bindings(&left.consumer.plane)),
        ("provider", left.copies()),
        ("provider", api(provider.clone(), secret, &left.service)),
        ("provider", api(provider, namespace, "")),
        (
            "provider",
            ours(&left.provider.plane, "APIServiceExport", CLUSTER_NAMESPACE),
        ),
        (
            "provider",
            ours(&left.provider.plane, "BoundSchema", CLUSTER_NAMESPACE),
        ),
        (
            "provider",
            ours(
                &left.provider.plane,
                "APIServiceNamespace",
                CLUSTER_NAMESPACE,
            ),
        ),
        (
            "provider",
            ours(&left.provider.plane, "ClusterBinding", CLUSTER_NAMESPACE),
        ),
    ];
    let mut all = BTreeMap::new();
    for (side, group) in groups {
        for object in group.list(&ListParams::default()).await? {
            let kind = group.resource_url().to_owned();
            let key = format!("{side} {kind} {}", object.name_any());
            all.insert(key, object.uid().unwrap_or_default());
        }
    }
    Ok(all)
}

async fn lease(left: &Installation) -> Result<()> {
    let now = format!("{:.6}", original::now());
    let lease: Lease = serde_json::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": names::KONNECTOR_LEASE},
        "spec": {"holderIdentity": "konnector-6f7d8-x2x1z", "leaseDurationSeconds": 15,
            "acquireTime": now, "renewTime": now, "leaseTransitions": 3},
    }))?;
    let leases: Api<Lease> =
        Api::namespaced(left.consumer.plane.client(), names::KONNECTOR_NAMESPACE);
    leases.create(&PostParams::default(), &lease).await?;
    Ok(())
}

/// The konnector's writes of each widget and Secret on both sides.
fn writes(
    left: &Installation,
    since: [kube_bind_e2e::cluster::Mark; 2],
) -> Result<BTreeMap<String, usize>> {
    let mut requests = left.consumer.plane.audit().since(since[0])?;
    requests.extend(left.provider.plane.audit().since(since[1])?);
    let mut counts = BTreeMap::new();
    for request in requests {
        let counted = matches!(&*request.resource, "widgets")
            || (request.resource == "secrets" && request.namespace != names::KONNECTOR_NAMESPACE);
        if counted && request.is_write() && request.user_agent.contains("konnector") {
            *counts
                .entry(format!("{}/{}", request.resource, request.name))
                .or_default() += 1;
        }
    }
    Ok(counts)
}

#[test]
fn an_installation_of_the_original_is_taken_over_and_given_back() -> Result<()> {
    run(async {
        let left = Installation::start(&crd(), &claim()).await?;
        for name in [
            "plain",
            "edited",
            "removed-later",
            "edited-then-removed",
            "changed-meanwhile",
            "shrunk-meanwhile",
            "deleted-meanwhile",
        ] {
            let mut object = widget(name, 1);
            object["metadata"]["labels"] = json!({"team": "shop", "tier": "front"});
            object["spec"]["colours"] = json!(["red", "blue"]);
            object["spec"]["secretName"] = format!("{name}-secret").into();
            left.synced(&object).await?;
        }
        for name in ["edited", "edited-then-removed"] {
            left.changed(name, &json!({"spec": {"size": 2}})).await?;
        }
        left.status_of("plain", "Built").await?;
        left.claimed("plain-secret").await?;
        lease(&left).await?;
        // Meanwhile nobody runs.
        let mine = left.mine();
        merge(&mine, "changed-meanwhile", json!({"spec": {"size": 7}})).await?;
        merge(
            &mine,
            "shrunk-meanwhile",
            json!({"spec": {"colours": null}}),
        )
        .await?;
        mine.delete("deleted-meanwhile", &DeleteParams::default())
            .await?;

        let mut before = uids(&left).await?;
        before.retain(|key, _| !key.contains("deleted-meanwhile"));
        let since = [
            left.consumer.plane.audit().mark()?,
            left.provider.plane.audit().mark()?,
        ];
        left.consumer.start_konnector()?;
        taken_over(&left, since).await?;
        removals_go(&left).await?;
        ensure!(
            uids(&left).await? == before,
            "{before:#?}\n{:#?}",
            uids(&left).await?
        );
        left.consumer.stop_konnector().await?;
        as_the_original_expects_it(&left).await
    })
}

/// What changed meanwhile arrives, and nothing else is written.
async fn taken_over(left: &Installation, since: [kube_bind_e2e::cluster::Mark; 2]) -> Result<()> {
    let (mine, copies) = (left.mine(), left.copies());
    wait_until(&copies, "changed-meanwhile", "changed", |copy| {
        copy.data["spec"]["size"] == 7
    })
    .await?;
    wait_until(&copies, "shrunk-meanwhile", "shrunk", |copy| {
        copy.data["spec"].get("colours").is_none()
    })
    .await?;
    wait_gone(&mine, "deleted-meanwhile").await?;
    wait_gone(&copies, "deleted-meanwhile").await?;
    let lease: Api<Lease> =
        Api::namespaced(left.consumer.plane.client(), names::KONNECTOR_NAMESPACE);
    let lease = lease
        .get(names::KONNECTOR_LEASE)
        .await?
        .spec
        .unwrap_or_default();
    ensure!(lease.holder_identity.as_deref() == Some("konnector-0"));
    ensure!(lease.lease_transitions == Some(4), "one change of hands");
    let bindings = bindings(&left.consumer.plane);
    wait_until(&bindings, "widgets", "ready by our konnector", |binding| {
        let ready = condition(binding, "Ready").is_some_and(|(status, ..)| status == "True");
        ready
            && binding
                .finalizers()
                .iter()
                .any(|f| f == names::FINALIZER_BINDING)
    })
    .await?;
    // A probe goes through behind everything that the start found.
    create(&mine, &widget("probe", 1)).await?;
    wait_until(&mine, "probe", "annotated", |object| {
        object
            .annotations()
            .contains_key(names::ANNOTATION_PROVIDER_UID)
    })
    .await?;
    mine.delete("probe", &DeleteParams::default()).await?;
    wait_gone(&mine, "probe").await?;
    wait_for("the audit log of the probe", || async {
        let all = writes(left, since)?;
        ensure!(all.get("widgets/probe").is_some_and(|n| *n >= 5), "{all:?}");
        Ok(())
    })
    .await?;
    let mut spent = writes(left, since)?;
    spent.remove("widgets/probe");
    spent.remove("widgets/deleted-meanwhile");
    for (object, number) in &spent {
        let changed = object.ends_with("-meanwhile");
        let budget = if changed { 2 } else { 1 };
        ensure!(
            *number <= budget,
            "{object}: {number} writes; all: {spent:?}"
        );
    }
    ensure!(
        spent.contains_key("widgets/changed-meanwhile"),
        "the log shows writes"
    );
    for name in ["changed-meanwhile", "shrunk-meanwhile"] {
        let owners = managers(&copies.get(name).await?);
        let ours = [("kube-bind.io".to_owned(), "Apply".to_owned())];
        ensure!(owners == ours, "{name} is owned by {owners:?}");
    }
    Ok(())
}

/// Fields that the original gave at creation go when their user takes them away.
async fn removals_go(left: &Installation) -> Result<()> {
    let (mine, copies) = (left.mine(), left.copies());
    for name in ["removed-later", "edited-then-removed"] {
        let since = [
            left.consumer.plane.audit().mark()?,
            left.provider.plane.audit().mark()?,
        ];
        let change = json!({"metadata": {"labels": {"tier": null}}, "spec": {"secretName": null, "colours": ["red"]}});
        merge(&mine, name, change).await?;
        wait_until(&copies, name, "without what was removed", |copy| {
            copy.data["spec"].get("secretName").is_none()
                && copy.data["spec"]["colours"] == json!(["red"])
                && !copy.labels().contains_key("tier")
                && copy.labels().contains_key("team")
        })
        .await?;
        let spent = wait_for("the audit log", || async {
            let spent = writes(left, since)?;
            spent
                .get(&format!("widgets/{name}"))
                .copied()
                .context("no write yet")
        })
        .await?;
        ensure!(spent <= 2, "{name}: {spent} writes");
    }
    Ok(())
}

/// Each row of contract section 5.8, and what 5.1, 5.4 and 5.6 say of the rest.
async fn as_the_original_expects_it(left: &Installation) -> Result<()> {
    let (mine, copies) = (left.mine(), left.copies());
    for object in mine.list(&ListParams::default()).await? {
        let name = object.name_any();
        let copy = copies.get(&name).await?;
        ensure!(object.finalizers() == [names::FINALIZER_SYNCER], "{name}");
        let said = |object: &DynamicObject, key: &str| {
            object.annotations().get(key).cloned().unwrap_or_default()
        };
        ensure!(
            said(&object, names::ANNOTATION_PROVIDER_NAMESPACE) == left.service,
            "{name}"
        );
        ensure!(
            Some(said(&object, names::ANNOTATION_PROVIDER_UID)) == copy.uid(),
            "{name}"
        );
        ensure!(
            said(&copy, names::ANNOTATION_CLUSTER_NAMESPACE) == CLUSTER_NAMESPACE,
            "{name}"
        );
        ensure!(
            said(&copy, names::ANNOTATION_CONSUMER_NAMESPACE) == NAMESPACE,
            "{name}"
        );
        ensure!(
            Some(said(&copy, names::ANNOTATION_CONSUMER_UID)) == object.uid(),
            "{name}"
        );
        ensure!(copy.data["spec"] == object.data["spec"], "{name}");
        ensure!(copy.finalizers().is_empty(), "{name}");
    }
    ensure!(mine.get("plain").await?.data["status"]["phase"] == "Built");

    let crds = definitions(&left.consumer.plane);
    let crd = crds.get("widgets.example.org").await?;
    let owner = json!([{"apiVersion": names::API_VERSION, "kind": "APIServiceBinding",
        "name": "widgets", "uid": left.binding, "controller": true}]);
    ensure!(
        json!(crd.owner_references()) == owner,
        "{:?}",
        crd.owner_references()
    );

    let secret = secrets(&left.consumer.plane, NAMESPACE)
        .get("plain-secret")
        .await?;
    ensure!(secret.labels().get(names::LABEL_OWNER).map(String::as_str) == Some("provider"));
    let theirs = secrets(&left.provider.plane, &left.service)
        .get("plain-secret")
        .await?;
    ensure!(secret.annotations().get(names::ANNOTATION_PROVIDER_UID) == theirs.uid().as_ref());
    ensure!(secret.data == theirs.data);

    let binding = bindings(&left.consumer.plane).get("widgets").await?;
    let status = &binding.data["status"];
    let known = [
        "Ready",
        "Connected",
        "Heartbeating",
        "InformersSynced",
        "SchemaInSync",
        "SecretValid",
    ];
    let conditions = status["conditions"].as_array().context("no conditions")?;
    ensure!(
        conditions
            .iter()
            .map(|c| c["type"].as_str().unwrap_or_default())
            .eq(known),
        "{status}"
    );
    ensure!(conditions.iter().all(|c| c["status"] == "True"), "{status}");
    ensure!(status["boundSchemas"] == json!([{"group": "example.org", "resource": "widgets"}]));
    ensure!(status["permissionClaims"] == json!([claim()]), "{status}");
    ensure!(status["providerPrettyName"] == "Example Company");

    let leases: Api<Lease> =
        Api::namespaced(left.consumer.plane.client(), names::KONNECTOR_NAMESPACE);
    let lease = leases
        .get(names::KONNECTOR_LEASE)
        .await?
        .spec
        .unwrap_or_default();
    ensure!(lease.holder_identity.as_deref() == Some(""), "{lease:?}");
    let clusters = ours(&left.provider.plane, "ClusterBinding", CLUSTER_NAMESPACE);
    let cluster = clusters.get("cluster").await?;
    ensure!(cluster.data["status"]["heartbeatInterval"] == "5m0s");
    ensure!(cluster.data["status"]["consumerSecretRef"]["name"] == "kubeconfig-abcde");

    // The original's own requests do what they did before, on what it wrote and on what we wrote.
    for name in ["plain", "changed-meanwhile"] {
        left.apply_spec(name, &json!({"size": 9, "finish": "matt"}))
            .await?;
        let copy = copies.get(name).await?;
        ensure!(copy.data["spec"]["size"] == 9, "{name}");
    }
    let copy = copies.get("changed-meanwhile").await?;
    ensure!(
        copy.data["spec"].get("colours").is_none(),
        "what we wrote is the original's to remove"
    );
    Ok(())
}
