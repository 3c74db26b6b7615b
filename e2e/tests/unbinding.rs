//! The end of a binding, by each policy and on bad days: what is left on both sides, and that it never
//! hangs.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube_bind_crds::{names, switches};
use kube_bind_e2e::bindings::{bindings, definitions, merge, switch};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    api, as_consumer, condition, create, create_namespace, service_namespace, wait_gone, wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::widgets::{self, TEMPLATE, bind_kind};
use kube_bind_e2e::{run, wait_for};
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";

/// Both sides of a bound kind.
struct Kind {
    plural: &'static str,
    mine: Api<DynamicObject>,
    copies: Api<DynamicObject>,
}

/// Makes objects of a kind and waits for their copies.
async fn filled(
    (provider, consumer): (&Provider, &Consumer),
    (plural, kind): (&'static str, &str),
    count: usize,
) -> Result<Kind> {
    let gvk = ("example.org", "v1", kind);
    let mine = api(consumer.plane.client(), gvk, NAMESPACE);
    for number in 0..count {
        create(&mine, &object(kind, &format!("o{number}"))).await?;
    }
    let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
    let service = service_namespace(&provider.plane, &cluster_namespace, NAMESPACE).await?;
    let copies = api(provider.plane.client(), gvk, &service);
    wait_for(&format!("{count} copies of {plural}"), || async {
        let there = copies.list(&ListParams::default()).await?.items.len();
        ensure!(there == count, "there are {there}");
        anyhow::Ok(())
    })
    .await?;
    Ok(Kind {
        plural,
        mine,
        copies,
    })
}

fn object(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "example.org/v1", "kind": kind,
        "metadata": {"name": name, "annotations": {"team": "shop"}}, "spec": {"size": 1},
    })
}

async fn policy(consumer: &Consumer, binding: &str, value: &str) -> Result<()> {
    switch(
        &consumer.plane,
        binding,
        (switches::DELETION_POLICY, Some(value)),
    )
    .await
}

/// Waits until the summary says this.
async fn says(consumer: &Consumer, binding: &str, reason: &str, words: &str) -> Result<()> {
    let what = format!("{reason}: {words}");
    wait_until(&bindings(&consumer.plane), binding, &what, |binding| {
        condition(binding, "Ready").is_some_and(|(status, said, message)| {
            status == "False" && said == reason && message.contains(words)
        })
    })
    .await?;
    Ok(())
}

async fn unbound(consumer: &Consumer, binding: &str) -> Result<()> {
    wait_gone(&bindings(&consumer.plane), binding).await?;
    consumer.konnector()?.check_running()
}

/// Nothing of ours is left on what stays.
async fn is_let_go(consumer: &Consumer, kind: &Kind, count: usize) -> Result<()> {
    let name = format!("{}.example.org", kind.plural);
    let crd = definitions(&consumer.plane).get(&name).await?;
    ensure!(crd.owner_references().is_empty(), "{:?}", crd.metadata);
    let objects = kind.mine.list(&ListParams::default()).await?.items;
    ensure!(objects.len() == count, "{} objects are left", objects.len());
    for object in objects {
        is_clean(&object)?;
    }
    Ok(())
}

fn is_clean(object: &DynamicObject) -> Result<()> {
    ensure!(object.finalizers().is_empty(), "{:?}", object.finalizers());
    let of_ours = |key: &&String| key.starts_with(names::KEY_PREFIX);
    let ours: Vec<_> = object.annotations().keys().filter(of_ours).collect();
    ensure!(ours.is_empty(), "{ours:?}");
    let team = object.annotations().get("team").map(String::as_str);
    ensure!(team == Some("shop"), "a foreign annotation was taken");
    Ok(())
}

#[test]
fn a_binding_ends_as_its_policy_says_whatever_happens_meanwhile() -> Result<()> {
    run(async {
        let (provider, consumer) = widgets::bound().await?;
        create_namespace(&consumer.plane, NAMESPACE).await?;
        for (plural, kind) in [("gears", "Gear"), ("levers", "Lever"), ("cranks", "Crank")] {
            bind_kind(&provider, &consumer, &widgets::crd(plural, kind, true)).await?;
        }
        let world = (&provider, &consumer);
        deleted_by_default_across_a_crash(world).await?;
        left_where_it_is(world).await?;
        nothing_happens_by_a_mistyped_policy(world).await?;
        let kept = filled(world, ("cranks", "Crank"), 3).await?;
        let half = filled(world, ("widgets", "Widget"), 3).await?;
        without_the_provider(world, &kept, &half).await
    })
}

/// The konnector is killed while the provider's own finalizers hold the copies.
async fn deleted_by_default_across_a_crash(world: (&Provider, &Consumer)) -> Result<()> {
    let (_, consumer) = world;
    let kind = filled(world, ("gears", "Gear"), 20).await?;
    let hold = json!({"metadata": {"finalizers": ["operator.example.org/hold"]}});
    for name in ["o3", "o7"] {
        merge(&kind.copies, name, hold.clone()).await?;
    }
    let delete = DeleteParams::default();
    bindings(&consumer.plane)
        .delete(kind.plural, &delete)
        .await?;
    says(consumer, kind.plural, "Unbinding", "being deleted").await?;
    consumer.kill_konnector()?;
    let left = kind.copies.list(&ListParams::default()).await?.items.len();
    ensure!(left >= 2, "the provider's finalizers were not waited for");
    consumer.start_konnector()?;
    consumer.wait_konnector_ready().await?;
    says(consumer, kind.plural, "Unbinding", "2 objects").await?;
    for name in ["o3", "o7"] {
        merge(
            &kind.copies,
            name,
            json!({"metadata": {"finalizers": null}}),
        )
        .await?;
    }
    unbound(consumer, kind.plural).await?;
    let left = kind.copies.list(&ListParams::default()).await?.items.len();
    ensure!(left == 0, "{left} copies are left");
    let crd = definitions(&consumer.plane)
        .get_opt("gears.example.org")
        .await?;
    ensure!(crd.is_none(), "the CRD is left");
    Ok(())
}

async fn left_where_it_is(world: (&Provider, &Consumer)) -> Result<()> {
    let (_, consumer) = world;
    let kind = filled(world, ("levers", "Lever"), 5).await?;
    policy(consumer, kind.plural, "Orphan").await?;
    let delete = DeleteParams::default();
    bindings(&consumer.plane)
        .delete(kind.plural, &delete)
        .await?;
    unbound(consumer, kind.plural).await?;
    is_let_go(consumer, &kind, 5).await?;
    let copies = kind.copies.list(&ListParams::default()).await?.items;
    ensure!(copies.len() == 5, "{} copies are left", copies.len());
    for copy in &copies {
        is_clean(copy)?;
    }
    // The two are strangers now.
    kind.mine.delete("o1", &delete).await?;
    wait_gone(&kind.mine, "o1").await?;
    ensure!(kind.copies.get_opt("o1").await?.is_some());
    Ok(())
}

async fn nothing_happens_by_a_mistyped_policy(world: (&Provider, &Consumer)) -> Result<()> {
    let (_, consumer) = world;
    let kind = filled(world, ("cranks", "Crank"), 0).await?;
    policy(consumer, kind.plural, "orphan").await?;
    let crd = definitions(&consumer.plane)
        .get("cranks.example.org")
        .await?;
    let words = "allowed are Delete and Orphan";
    says(consumer, kind.plural, "InvalidSwitch", words).await?;
    ensure!(crd.metadata.deletion_timestamp.is_none());
    let mended = json!({"metadata": {"annotations": {switches::DELETION_POLICY: null}}});
    merge(&bindings(&consumer.plane), kind.plural, mended).await?;
    wait_until(
        &bindings(&consumer.plane),
        kind.plural,
        "ready",
        |binding| condition(binding, "Ready").is_some_and(|(status, ..)| status == "True"),
    )
    .await?;
    Ok(())
}

/// One binding is let go at once, the other one after its deletion had begun.
async fn without_the_provider(
    (provider, consumer): (&Provider, &Consumer),
    kept: &Kind,
    half: &Kind,
) -> Result<()> {
    provider.plane.kill_api_server()?;
    for kind in [kept, half] {
        says(consumer, kind.plural, "ProviderUnreachable", "no access").await?;
    }
    let delete = DeleteParams::default();
    for kind in [kept, half] {
        bindings(&consumer.plane)
            .delete(kind.plural, &delete)
            .await?;
        let remedy = "deletion-policy=Orphan";
        says(consumer, kind.plural, "UnbindingBlocked", remedy).await?;
    }
    // Somebody loses patience and deletes the definition, so that its objects wait for us.
    let name = format!("{}.example.org", half.plural);
    definitions(&consumer.plane).delete(&name, &delete).await?;
    wait_until(&half.mine, "o0", "waiting for us", |object| {
        object.metadata.deletion_timestamp.is_some()
    })
    .await?;
    ensure!(half.plural == TEMPLATE);
    for kind in [kept, half] {
        policy(consumer, kind.plural, "Orphan").await?;
        unbound(consumer, kind.plural).await?;
    }
    is_let_go(consumer, kept, 3).await?;
    wait_gone(&definitions(&consumer.plane), &name).await?;
    provider.plane.start_api_server().await?;
    for kind in [kept, half] {
        let copies = kind.copies.list(&ListParams::default()).await?.items;
        ensure!(copies.len() == 3, "{} copies are left", copies.len());
    }
    Ok(())
}
