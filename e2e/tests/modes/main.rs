//! Every row of the table of modes (scope of the kind, isolation, scope of the informers) with real
//! objects, on one provider whose backend changes its mode between the bindings: what was bound in one
//! mode goes on in it.

mod kinds;
mod life;
mod limits;
mod sharing;
mod versions;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::merge;
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{as_consumer, create, create_namespace, wait_until};
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::run;
use serde_json::json;

use kinds::{Isolation, ROWS, Row};
use life::{Sides, live};

/// A provider without a real service.
pub async fn provider() -> Result<Provider> {
    Provider::start(ProviderOptions {
        without_operator: true,
        ..ProviderOptions::default()
    })
    .await
}

/// Binds the offering of a row.
pub async fn bind(provider: &Provider, consumer: &Consumer, offering: &str) -> Result<()> {
    let args = ["--template-name", offering];
    consumer
        .bind_reporting(&provider.url(), &provider.alice, &args, |_| {})
        .await?
        .success()?;
    Ok(())
}

#[test]
fn every_row_of_the_table_of_modes_syncs_both_ways_and_leaves_native_objects_alone() -> Result<()> {
    run(async {
        let (provider, consumer) = tokio::try_join!(provider(), Consumer::start("consumer"))?;
        kinds::offer(&provider).await?;
        let mut mode = None;
        for row in &ROWS {
            if mode != Some(row.flags()) {
                provider.restart_backend(&row.flags()).await?;
                mode = Some(row.flags());
            }
            bind(&provider, &consumer, &row.plural())
                .await
                .with_context(|| format!("failed to bind in {row:?}"))?;
            first_look(row, &provider, &consumer)
                .await
                .with_context(|| format!("failed in {row:?}"))?;
        }
        // All of them side by side, under a backend that is in the last mode.
        let (_, home) = as_consumer(&consumer.plane).await?;
        for row in &ROWS {
            let sides = Sides::of(row, &consumer.plane, &provider.plane, &home, "later");
            live(row, &sides, &home)
                .await
                .with_context(|| format!("failed later in {row:?}"))?;
        }
        cluster_scoped_kinds_have_no_place_in_namespaces(&provider, &consumer).await
    })
}

/// While the backend is in the row's mode.
async fn first_look(row: &Row, provider: &Provider, consumer: &Consumer) -> Result<()> {
    let (_, home) = as_consumer(&consumer.plane).await?;
    if row.is_namespaced() {
        create_namespace(&consumer.plane, &row.consumer_namespace()).await?;
    }
    let sides = Sides::of(row, &consumer.plane, &provider.plane, &home, "first");
    create(&sides.mine, &row.object("first")).await?;
    wait_until(&sides.copy, &sides.copy_name, "at the provider", |_| true).await?;
    if row.cluster && row.isolation == Isolation::None {
        a_native_object_is_a_conflict_and_untouched(row, provider, &sides).await?;
    }
    if row.is_namespaced() && row.isolation == Isolation::None {
        a_foreign_namespace_is_not_taken_over(row, provider, consumer).await?;
    }
    // Others of the same kind that map to nobody.
    if row.cluster {
        let native = row.object("native");
        create(&sides.copy, &native).await?;
    }
    sides.mine.delete("first", &DeleteParams::default()).await?;
    kube_bind_e2e::objects::wait_gone(&sides.copy, &sides.copy_name).await?;
    if row.cluster {
        let native = sides.copy.get("native").await?;
        ensure!(native.metadata.generation == Some(1) && native.finalizers().is_empty());
        ensure!(
            !native
                .annotations()
                .contains_key(names::ANNOTATION_CLUSTER_NAMESPACE)
        );
        ensure!(
            sides.mine.get_opt("native").await?.is_none(),
            "it is no business of the consumer"
        );
    }
    Ok(())
}

/// The provider has a namespace of that name: no role is made in it, nothing is written there, and the
/// consumer's object says so.
async fn a_foreign_namespace_is_not_taken_over(
    row: &Row,
    provider: &Provider,
    consumer: &Consumer,
) -> Result<()> {
    let name = format!("billing-{}", row.kind.to_lowercase());
    for plane in [&provider.plane, &consumer.plane] {
        create_namespace(plane, &name).await?;
    }
    let mine = row.api(&consumer.plane, &name);
    create(&mine, &row.object("intruder")).await?;
    let problem = |object: &DynamicObject| {
        let annotations = object.annotations();
        annotations.get(names::ANNOTATION_SYNC_PROBLEM).cloned()
    };
    let object = wait_until(&mine, "intruder", "a problem", |object| {
        problem(object).is_some()
    })
    .await?;
    let text = problem(&object).unwrap_or_default();
    ensure!(text.contains("was not made for"), "{text}");
    let roles = kube_bind_e2e::objects::api(
        provider.plane.client(),
        ("rbac.authorization.k8s.io", "v1", "Role"),
        &name,
    );
    ensure!(roles.list(&ListParams::default()).await?.items.is_empty());
    mine.delete("intruder", &DeleteParams::default()).await?;
    kube_bind_e2e::objects::wait_gone(&mine, "intruder").await
}

/// Two of one name: the provider's stays as it is, and the consumer learns why theirs goes nowhere.
async fn a_native_object_is_a_conflict_and_untouched(
    row: &Row,
    provider: &Provider,
    sides: &Sides,
) -> Result<()> {
    let theirs = row.api(&provider.plane, "");
    let mut native = row.object("taken");
    native["spec"]["size"] = json!(99);
    let before = create(&theirs, &native).await?;
    create(&sides.mine, &row.object("taken")).await?;
    let problem = |object: &DynamicObject| {
        object
            .annotations()
            .get(names::ANNOTATION_SYNC_PROBLEM)
            .cloned()
    };
    wait_until(&sides.mine, "taken", "a conflict", |object| {
        problem(object).is_some()
    })
    .await?;
    merge(&sides.mine, "taken", json!({"spec": {"size": 2}})).await?;
    sides.mine.delete("taken", &DeleteParams::default()).await?;
    kube_bind_e2e::objects::wait_gone(&sides.mine, "taken").await?;
    let after = theirs.get("taken").await?;
    ensure!(
        after.resource_version() == before.resource_version(),
        "{after:?}"
    );
    Ok(())
}

async fn cluster_scoped_kinds_have_no_place_in_namespaces(
    provider: &Provider,
    consumer: &Consumer,
) -> Result<()> {
    provider
        .apply(&[
            kinds::crd("lambdas", "Lambda", "Cluster"),
            kube_bind_e2e::widgets::template("lambdas", "lambdas"),
        ])
        .await?;
    let args = ["--template-name", "lambdas"];
    let refused = consumer
        .bind_reporting(&provider.url(), &provider.alice, &args, |_| {})
        .await?;
    ensure!(!refused.status.success());
    ensure!(
        refused
            .stderr
            .contains("lambdas.example.org is cluster-scoped"),
        "the person is not told why: {}",
        refused.stderr
    );
    Ok(())
}
