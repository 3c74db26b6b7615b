//! Namespaces and definitions that somebody deletes under a binding.

use anyhow::{Context, Result, ensure};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::{Resource, ResourceExt};
use kube_bind_crds::switches::RELEASE_DELETES;
use kube_bind_e2e::bindings::{bindings, definitions, merge, ours, says, switch};
use kube_bind_e2e::objects::{
    api, create, create_namespace, service_namespace, wait_event, wait_gone, wait_until,
};
use kube_bind_e2e::widgets::TEMPLATE;
use kube_bind_e2e::{ControlPlane, wait_for};
use serde_json::json;

use crate::{Both, GEARS, Scene, named, object, uids};

const DEFINITION: &str = "gears.example.org";

fn namespaces(plane: &ControlPlane) -> Api<DynamicObject> {
    api(plane.client(), ("", "v1", "Namespace"), "")
}

/// A person's deletion is never held, however much goes with it; and what the provider deletes comes back.
pub async fn namespaces_that_are_deleted(scene: &Scene) -> Result<()> {
    let (consumer, provider) = (&scene.consumer.plane, &scene.provider.plane);
    create_namespace(consumer, "big").await?;
    let mine = scene.both_in("Widget", "big", "-").mine;
    create(&mine, &object("Widget", "first", 1)).await?;
    let service = service_namespace(provider, &scene.home, "big").await?;
    let big = scene.both_in("Widget", "big", &service);
    // More than a third of all, whatever the scenes before have left.
    let names = named("w", 60);
    big.fill("Widget", &names).await?;

    let before = uids(&big.copies).await?;
    let delete = DeleteParams::default();
    namespaces(provider).delete(&service, &delete).await?;
    wait_for("the provider's namespace to be another one", || async {
        let now = uids(&big.copies).await?;
        let old = now
            .values()
            .filter(|uid| before.values().any(|b| b == *uid));
        ensure!(now.len() == names.len() + 1 && old.count() == 0, "{now:?}");
        anyhow::Ok(())
    })
    .await?;
    big.wait_copies(&names).await?;
    ensure!(uids(&big.mine).await?.len() == names.len() + 1);

    namespaces(consumer).delete("big", &delete).await?;
    wait_gone(&namespaces(consumer), "big").await?;
    ensure!(uids(&big.copies).await?.is_empty(), "copies are left");
    wait_gone(&namespaces(provider), &service).await?;
    scene.ready(TEMPLATE).await
}

/// A namespace that a restored cluster does not have was not deleted by anybody: what the provider has
/// of it stays until a person says so.
pub async fn a_namespace_that_was_never_restored(scene: &Scene) -> Result<()> {
    let (consumer, provider) = (&scene.consumer.plane, &scene.provider.plane);
    create_namespace(consumer, "lost").await?;
    let mine = scene.both_in("Widget", "lost", "-").mine;
    create(&mine, &object("Widget", "first", 1)).await?;
    let service = service_namespace(provider, &scene.home, "lost").await?;
    let lost = scene.both_in("Widget", "lost", &service);
    let names = named("w", 60);
    lost.fill("Widget", &names).await?;
    let held = uids(&lost.copies).await?;

    scene.consumer.stop_konnector().await?;
    let delete = DeleteParams::default();
    namespaces(consumer).delete("lost", &delete).await?;
    for name in held.keys() {
        let free = json!({"metadata": {"finalizers": null}});
        merge(&lost.mine, name, free).await?;
    }
    wait_gone(&namespaces(consumer), "lost").await?;
    scene.consumer.start_konnector()?;
    scene.consumer.wait_konnector_ready().await?;

    says(
        consumer,
        TEMPLATE,
        "InformersSynced",
        ("False", "DeletesHeld"),
    )
    .await?;
    ensure!(uids(&lost.copies).await? == held, "copies are gone");
    let home = namespaces(provider).get(&service).await?;
    let mapping = mappings(provider, &scene.home).get("lost").await?;
    ensure!(
        home.meta().deletion_timestamp.is_none(),
        "{:?}",
        home.metadata
    );
    ensure!(
        mapping.meta().deletion_timestamp.is_none(),
        "{:?}",
        mapping.metadata
    );

    switch(consumer, TEMPLATE, (RELEASE_DELETES, Some("true"))).await?;
    wait_gone(&namespaces(provider), &service).await?;
    wait_gone(&mappings(provider, &scene.home), "lost").await?;
    switch(consumer, TEMPLATE, (RELEASE_DELETES, None)).await?;
    scene.ready(TEMPLATE).await
}

fn mappings(provider: &ControlPlane, home: &str) -> Api<DynamicObject> {
    ours(provider, "APIServiceNamespace", home)
}

/// Nothing goes at the provider because a definition goes, until a person says so.
pub async fn a_definition_that_is_deleted(scene: &Scene) -> Result<()> {
    let consumer = &scene.consumer.plane;
    let gears = scene.both("Gear");
    let names = named("g", 30);
    gears.fill("Gear", &names).await?;
    let held = uids(&gears.copies).await?;

    delete_definition(scene, &gears, held.len()).await?;
    // The objects cannot be kept: they are let go, and made anew from what their owner has in git.
    let objects = gears.mine.list(&ListParams::default()).await?.items;
    for object in &objects {
        let free = json!({"metadata": {"finalizers": null}});
        merge(&gears.mine, &object.name_any(), free).await?;
    }
    installed_anew(consumer).await?;
    ensure!(uids(&gears.copies).await? == held, "a copy is another one");
    for object in &objects {
        create(&gears.mine, &crate::object("Gear", &object.name_any(), 2)).await?;
    }
    let all: Vec<String> = held.keys().cloned().collect();
    gears.wait_copies(&all).await?;
    scene.ready(GEARS).await?;
    ensure!(uids(&gears.copies).await? == held, "a copy was made anew");
    wait_until(&gears.copies, "g-0", "what it is now", |copy| {
        copy.data["spec"]["size"] == 2
    })
    .await?;

    // Deleted one by one they go at once.
    for name in &names {
        gears.mine.delete(name, &DeleteParams::default()).await?;
    }
    gears.wait_no_copies(&names).await?;
    for name in &names {
        wait_gone(&gears.mine, name).await?;
    }

    gears.fill("Gear", &names).await?;
    let count = uids(&gears.copies).await?.len();
    delete_definition(scene, &gears, count).await?;
    switch(consumer, GEARS, (RELEASE_DELETES, Some("true"))).await?;
    installed_anew(consumer).await?;
    ensure!(uids(&gears.copies).await?.is_empty(), "copies are left");
    switch(consumer, GEARS, (RELEASE_DELETES, None)).await?;
    scene.ready(GEARS).await?;
    gears.fill("Gear", &named("after", 2)).await
}

/// Deletes it as a person would, and waits until that is known to be held, in every way it is shown.
async fn delete_definition(scene: &Scene, gears: &Both, count: usize) -> Result<()> {
    let consumer = &scene.consumer.plane;
    let delete = DeleteParams::default();
    definitions(consumer).delete(DEFINITION, &delete).await?;
    let message = says(consumer, GEARS, "InformersSynced", ("False", "DeletesHeld")).await?;
    ensure!(message.contains(RELEASE_DELETES), "{message}");
    wait_for("the metric", || async {
        let shown = scene.consumer.metrics().await?;
        let line = shown
            .lines()
            .find(|line| {
                line.starts_with("kube_bind_objects{")
                    && line.contains(DEFINITION)
                    && line.contains(r#"state="held""#)
            })
            .context("no line of it")?;
        ensure!(line.ends_with(&format!(" {count}")), "{line}");
        anyhow::Ok(())
    })
    .await?;
    let note = wait_event(consumer, "default", GEARS, "NotReady").await?;
    ensure!(note.contains("DeletesHeld"), "{note}");
    let binding = bindings(consumer).get(GEARS).await?;
    let ready = kube_bind_e2e::provider::is_ready(&binding.data);
    ensure!(!ready, "{:?}", binding.data["status"]);
    let copies = gears.copies.list(&ListParams::default()).await?.items;
    let staying = copies
        .iter()
        .filter(|c| c.meta().deletion_timestamp.is_none());
    ensure!(
        staying.count() == count,
        "copies of {} are left",
        copies.len()
    );
    Ok(())
}

async fn installed_anew(consumer: &ControlPlane) -> Result<()> {
    wait_until(
        &definitions(consumer),
        DEFINITION,
        "installed anew",
        |crd| {
            let established =
                |c: &serde_json::Value| c["type"] == "Established" && c["status"] == "True";
            let conditions = crd.data["status"]["conditions"].as_array();
            crd.metadata.deletion_timestamp.is_none()
                && conditions.is_some_and(|all| all.iter().any(established))
        },
    )
    .await?;
    Ok(())
}
