//! `kube-bind.io/suspend`.

use anyhow::{Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube_bind_crds::names;
use kube_bind_crds::switches::SUSPEND;
use kube_bind_e2e::bindings::{definitions, merge, ours, says, switch};
use kube_bind_e2e::claims::{labelled, object as claimable, wait_copy};
use kube_bind_e2e::cluster::{AuditedRequest, Mark};
use kube_bind_e2e::objects::{create, create_namespace, service_namespace, wait_gone, wait_until};
use kube_bind_e2e::widgets::TEMPLATE;
use serde_json::json;

use crate::{Scene, named, object, size};

const DEFINITION: &str = "widgets.example.org";

/// What the konnector writes or lists for the suspended binding.
const CONCERNED: [&str; 4] = [
    "widgets",
    "secrets",
    "apiservicenamespaces",
    "customresourcedefinitions",
];

type Marks = (Mark, Mark);

fn marks(scene: &Scene) -> Result<Marks> {
    let (provider, consumer) = (&scene.provider.plane, &scene.consumer.plane);
    Ok((provider.audit().mark()?, consumer.audit().mark()?))
}

/// The konnector's requests that concern the binding, on both sides.
fn asked(scene: &Scene, since: Marks) -> Result<Vec<AuditedRequest>> {
    let mut all = scene.provider.plane.audit().since(since.0)?;
    all.extend(scene.consumer.plane.audit().since(since.1)?);
    all.retain(|request| {
        request.user_agent.contains("konnector")
            && CONCERNED.contains(&&*request.resource)
            // Its credential is not the binding's.
            && request.namespace != names::KONNECTOR_NAMESPACE
    });
    Ok(all)
}

fn shown(requests: &[AuditedRequest]) -> Vec<String> {
    let line = |r: &AuditedRequest| format!("{} {} {}", r.verb, r.uri, r.code);
    requests.iter().map(line).collect()
}

pub async fn stops_all_writes_and_ends_without_a_storm(scene: &Scene) -> Result<()> {
    let (consumer, provider) = (&scene.consumer.plane, &scene.provider.plane);
    let (widgets, secrets) = (scene.both("Widget"), scene.both("Secret"));
    let idle = named("idle", 30);
    widgets.fill("Widget", &idle).await?;
    let touched = ["changed", "removed", "served", "robbed"].map(str::to_owned);
    widgets.fill("Widget", &touched).await?;
    let secret = |name: &str, content: &str| labelled(claimable("Secret", name, content));
    for name in ["s-changed", "s-removed"] {
        create(&secrets.mine, &secret(name, "old")).await?;
        wait_copy(&secrets.copies, name, "old", "consumer").await?;
    }

    switch(consumer, TEMPLATE, (SUSPEND, Some("true"))).await?;
    let message = says(consumer, TEMPLATE, "Connected", ("False", "Suspended")).await?;
    ensure!(message.contains(SUSPEND), "{message}");
    let since = marks(scene)?;
    create_namespace(consumer, "fresh").await?;
    let fresh = scene.both_in("Widget", "fresh", "-");
    let fresh_secrets = scene.both_in("Secret", "fresh", "-");
    create(&fresh_secrets.mine, &secret("s-fresh", "new")).await?;
    create(&fresh.mine, &object("Widget", "fresh", 1)).await?;
    create(&widgets.mine, &object("Widget", "made", 1)).await?;
    merge(&widgets.mine, "changed", size(7)).await?;
    let delete = DeleteParams::default();
    widgets.mine.delete("removed", &delete).await?;
    widgets.copies.delete("robbed", &delete).await?;
    let status = json!({"status": {"phase": "Ready"}});
    let params = PatchParams::default();
    let patch = Patch::Merge(&status);
    widgets
        .copies
        .patch_status("served", &params, &patch)
        .await?;
    create(&secrets.mine, &secret("s-made", "new")).await?;
    merge(
        &secrets.mine,
        "s-changed",
        claimable("Secret", "s-changed", "new"),
    )
    .await?;
    secrets.mine.delete("s-removed", &delete).await?;
    no_write(scene, since, "meanwhile").await?;
    ensure!(widgets.copies.get("changed").await?.data["spec"]["size"] == 1);
    ensure!(widgets.copies.get_opt("removed").await?.is_some());
    let mapped = ours(provider, "APIServiceNamespace", &scene.home);
    ensure!(
        mapped.get_opt("fresh").await?.is_none(),
        "a mapping was made"
    );

    let since = marks(scene)?;
    switch(consumer, TEMPLATE, (SUSPEND, None)).await?;
    scene.ready(TEMPLATE).await?;
    wait_until(&widgets.copies, "changed", "the change", |copy| {
        copy.data["spec"]["size"] == 7
    })
    .await?;
    wait_gone(&widgets.mine, "removed").await?;
    wait_gone(&widgets.copies, "removed").await?;
    widgets
        .wait_copies(&["made".to_owned(), "robbed".to_owned()])
        .await?;
    wait_until(&widgets.mine, "served", "its status", |object| {
        object.data["status"]["phase"] == "Ready"
    })
    .await?;
    let service = service_namespace(provider, &scene.home, "fresh").await?;
    let fresh = scene.both_in("Widget", "fresh", &service);
    fresh.wait_copies(&["fresh".to_owned()]).await?;
    let fresh_secrets = scene.both_in("Secret", "fresh", &service);
    wait_copy(&fresh_secrets.copies, "s-fresh", "new", "consumer").await?;
    for name in ["s-changed", "s-made"] {
        wait_copy(&secrets.copies, name, "new", "consumer").await?;
    }
    wait_gone(&secrets.copies, "s-removed").await?;
    no_storm(&asked(scene, since)?, &service)
}

/// Apart, because an API server begins all watches of a kind anew when its definition changes.
pub async fn leaves_a_changed_definition_alone_and_repairs_it_afterwards(
    scene: &Scene,
) -> Result<()> {
    let definitions = definitions(&scene.consumer.plane);
    switch(&scene.consumer.plane, TEMPLATE, (SUSPEND, Some("true"))).await?;
    let suspended = ("False", "Suspended");
    says(&scene.consumer.plane, TEMPLATE, "Connected", suspended).await?;
    let since = marks(scene)?;
    let names = json!({"spec": {"names": {"singular": "wi"}}});
    merge(&definitions, DEFINITION, names).await?;
    no_write(scene, since, "during").await?;
    switch(&scene.consumer.plane, TEMPLATE, (SUSPEND, None)).await?;
    scene.ready(TEMPLATE).await?;
    wait_until(&definitions, DEFINITION, "repaired", |definition| {
        definition.data["spec"]["names"]["singular"] == "widget"
    })
    .await?;
    Ok(())
}

/// Another binding goes on, and nothing was written for the suspended one by when what came before its
/// objects has been heard.
async fn no_write(scene: &Scene, since: Marks, prefix: &str) -> Result<()> {
    let gears = scene.both("Gear");
    gears.fill("Gear", &named(prefix, 5)).await?;
    let of_gears =
        |r: &AuditedRequest| r.resource == "customresourcedefinitions" && r.name != DEFINITION;
    let mut writes = asked(scene, since)?;
    writes.retain(|request| request.is_write() && !of_gears(request));
    ensure!(writes.is_empty(), "{:#?}", shown(&writes));
    Ok(())
}

/// Nobody listed again what was known, and only what had changed was written.
fn no_storm(requests: &[AuditedRequest], fresh: &str) -> Result<()> {
    // A namespace that is new at the provider has to be listed once.
    let again = |r: &&AuditedRequest| r.verb == "list" && r.namespace != fresh;
    let lists: Vec<_> = requests.iter().filter(again).cloned().collect();
    ensure!(lists.is_empty(), "{:#?}", shown(&lists));
    let writes: Vec<_> = requests.iter().filter(|r| r.is_write()).cloned().collect();
    let needless = |r: &AuditedRequest| r.name.starts_with("idle-") || r.name == "first";
    ensure!(!writes.iter().any(needless), "{:#?}", shown(&writes));
    // Three for each of the three new copies, two for the removed one, one for the change and the status.
    let count = |resource: &str| writes.iter().filter(|r| r.resource == resource).count();
    ensure!(count("widgets") <= 13, "{:#?}", shown(&writes));
    ensure!(count("secrets") <= 8, "{:#?}", shown(&writes));
    Ok(())
}
