//! Who administers the consumer has the last word: rights that are taken away, offers that nobody has
//! accepted, and schemas that would break what exists.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube_bind_crds::consumer_rights::role_name;
use kube_bind_crds::switches::ACCEPT;
use kube_bind_e2e::bindings::{bindings, merge, ours, renew_export, says};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    api, as_consumer, create, create_namespace, service_namespace, wait_event, wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::run;
use kube_bind_e2e::widgets::{self, TEMPLATE, bind_kind, widget, widgets};
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";

#[test]
fn the_consumer_has_the_last_word() -> Result<()> {
    run(async {
        let (provider, consumer) = widgets::bound().await?;
        create_namespace(&consumer.plane, NAMESPACE).await?;
        create(&widgets(&consumer.plane, NAMESPACE), &widget("one", 1)).await?;
        let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &cluster_namespace, NAMESPACE).await?;
        rights_that_are_taken_away(&provider, &consumer, &service).await?;
        an_offer_that_grows(&provider, &consumer, &cluster_namespace).await?;
        a_schema_that_would_break_objects(&provider, &consumer, &service).await
    })
}

/// Nothing is written without the right, which is said; and no restart is needed when it is back.
async fn rights_that_are_taken_away(
    provider: &Provider,
    consumer: &Consumer,
    service: &str,
) -> Result<()> {
    let copies = widgets(&provider.plane, service);
    let mine = widgets(&consumer.plane, NAMESPACE);
    wait_until(&copies, "one", "at the provider", |_| true).await?;
    let kind = ("rbac.authorization.k8s.io", "v1", "ClusterRole");
    let roles = api(consumer.plane.client(), kind, "");
    let role = roles.get(&role_name(TEMPLATE)).await?;
    let granted = json!({"rules": role.data["rules"]});
    let rules = role.data["rules"].as_array().context("it has rules")?;
    let without: Vec<&Value> = rules
        .iter()
        .filter(|rule| rule["resources"] != json!(["widgets"]))
        .collect();
    ensure!(without.len() + 1 == rules.len(), "{rules:?}");
    let konnector = consumer.konnector()?;
    // Nobody writes anything: the konnector finds out by itself.
    merge(&roles, &role_name(TEMPLATE), json!({"rules": without})).await?;
    let message = says(
        &consumer.plane,
        TEMPLATE,
        "Ready",
        ("False", "MissingPermissions"),
    )
    .await?;
    ensure!(
        message.contains("get/list/patch/watch widgets.example.org"),
        "{message}"
    );
    let note = wait_event(&consumer.plane, "default", TEMPLATE, "NotReady").await?;
    ensure!(note.contains("MissingPermissions"), "{note}");
    konnector.wait_for_line("kind: ClusterRole").await?;

    create(&mine, &widget("meanwhile", 2)).await?;
    merge(&mine, "one", json!({"spec": {"size": 8}})).await?;
    let meanwhile = mine.get("meanwhile").await?;
    ensure!(meanwhile.finalizers().is_empty(), "it was written to");
    merge(&roles, &role_name(TEMPLATE), granted.clone()).await?;
    says(&consumer.plane, TEMPLATE, "Ready", ("True", "*")).await?;
    wait_until(&copies, "meanwhile", "at the provider", |_| true).await?;
    wait_until(&copies, "one", "the change", |copy| {
        copy.data["spec"]["size"] == 8
    })
    .await?;
    ensure!(consumer.konnector()?.pid() == konnector.pid());
    Ok(())
}

/// The provider makes its export anew, with a claim.
async fn an_offer_that_grows(
    provider: &Provider,
    consumer: &Consumer,
    cluster_namespace: &str,
) -> Result<()> {
    let bound = bindings(&consumer.plane).get(TEMPLATE).await?;
    ensure!(bound.data["status"]["permissionClaims"].is_null());
    let exports = ours(&provider.plane, "APIServiceExport", cluster_namespace);
    renew_export(&exports, TEMPLATE, |spec| {
        spec["permissionClaims"] = json!([{"group": "", "resource": "configmaps", "selector": {
            "references": [{"group": "example.org", "resource": "widgets", "versions": ["v1"],
                "jsonPath": {"name": "spec.finish"}}],
        }}]);
    })
    .await?;
    let waits = ("True", "AcceptancePending");
    let message = says(&consumer.plane, TEMPLATE, "Connected", waits).await?;
    ensure!(message.contains("claim on configmaps"), "{message}");
    wait_event(&consumer.plane, "default", TEMPLATE, "AcceptancePending").await?;
    let binding = bindings(&consumer.plane).get(TEMPLATE).await?;
    ensure!(
        binding.data["status"]["permissionClaims"].is_null(),
        "it took effect"
    );
    // The command that the message shows.
    let argument = message
        .split_whitespace()
        .find(|word| word.starts_with(ACCEPT))
        .context("the message shows no command")?;
    let arguments = [
        "annotate",
        "apiservicebinding",
        TEMPLATE,
        argument,
        "--overwrite",
    ];
    consumer.plane.kubectl(&arguments).await?;
    wait_until(
        &bindings(&consumer.plane),
        TEMPLATE,
        "accepted",
        |binding| {
            binding.data["status"]["permissionClaims"][0]["resource"] == "configmaps"
                && !binding.annotations().contains_key(ACCEPT)
        },
    )
    .await?;
    // In force is not yet granted: that is another consent.
    let message = says(
        &consumer.plane,
        TEMPLATE,
        "InformersSynced",
        ("False", "MissingPermissions"),
    )
    .await?;
    ensure!(message.contains("configmaps"), "{message}");
    Ok(())
}

/// The old schema stays in force, for the objects and for the sync, until nothing is in the way.
async fn a_schema_that_would_break_objects(
    provider: &Provider,
    consumer: &Consumer,
    service: &str,
) -> Result<()> {
    let mut crd = widgets::crd("gauges", "Gauge", true);
    bind_kind(provider, consumer, &crd).await?;
    let gvk = ("example.org", "v1", "Gauge");
    let mine = api(consumer.plane.client(), gvk, NAMESPACE);
    let copies = api(provider.plane.client(), gvk, service);
    let gauge = |name: &str, size: i64| json!({"apiVersion": "example.org/v1", "kind": "Gauge", "metadata": {"name": name}, "spec": {"size": size}});
    create(&mine, &gauge("big", 50)).await?;
    wait_until(&copies, "big", "at the provider", |_| true).await?;
    let most = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size";
    *crd.pointer_mut(most).context("it has a size")? =
        json!({"type": "integer", "minimum": 0, "maximum": 10});
    provider.apply(&[crd]).await?;
    let held = ("False", "SchemaChangeHeld");
    let message = says(&consumer.plane, "gauges", "SchemaInSync", held).await?;
    ensure!(
        message.contains("shop/big: spec.size has the value 50"),
        "{message}"
    );
    // The sync goes on, with what the consumer has.
    create(&mine, &gauge("small", 3)).await?;
    wait_until(&copies, "small", "at the provider", |_| true).await?;
    merge(&mine, "small", json!({"spec": {"size": 4}})).await?;
    wait_until(&copies, "small", "the change", |copy| {
        copy.data["spec"]["size"] == 4
    })
    .await?;
    // Its author mends it, and the schema arrives.
    merge(&mine, "big", json!({"spec": {"size": 9}})).await?;
    says(&consumer.plane, "gauges", "SchemaInSync", ("True", "*")).await?;
    says(&consumer.plane, "gauges", "Ready", ("True", "*")).await?;
    let refused = create(&mine, &gauge("huge", 11)).await;
    ensure!(refused.is_err(), "the consumer has the old schema still");
    Ok(())
}
