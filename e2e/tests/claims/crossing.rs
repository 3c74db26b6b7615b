//! What a claim brings across, in both directions, and what takes it back.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use kube_bind_e2e::bindings::{bindings, merge, ours};
use kube_bind_e2e::claims::{
    KINDS, LABELLED, claim, crd, ensure_absent, has, labelled, object, objects, referrer, template,
    wait_copy,
};
use kube_bind_e2e::cluster::ControlPlane;
use kube_bind_e2e::objects::{
    api, as_consumer, create, create_namespace, service_namespace, wait_event, wait_gone,
    wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::run;
use kube_bind_e2e::widgets::{TEMPLATE, bind, started_with, widgets};
use serde_json::{Value, json};

use crate::{OWNER, Shop};

#[test]
fn what_is_claimed_crosses_in_both_directions_and_nothing_else() -> Result<()> {
    run(async {
        let claims = KINDS.map(|(plural, _)| claim(plural, "widgets"));
        let mut offer = template(TEMPLATE, "widgets", &claims);
        offer["spec"]["namespaces"] = json!([{"name": "seeded"}]);
        let (provider, consumer) = started_with(&[crd("widgets", "Widget"), offer]).await?;
        bind(&provider, &consumer, TEMPLATE, &[]).await?;
        let (_, home) = as_consumer(&consumer.plane).await?;

        // Before anything else of that namespace is bound: the claimed object asks for the mapping.
        for namespace in ["shop", "early"] {
            create_namespace(&consumer.plane, namespace).await?;
        }
        create(
            &objects(&consumer.plane, "Secret", "early"),
            &labelled(object("Secret", "first", "early")),
        )
        .await?;
        let early = service_namespace(&provider.plane, &home, "early").await?;
        let copies = objects(&provider.plane, "Secret", &early);
        wait_copy(&copies, "first", "early", "consumer").await?;

        never_claimed(&consumer.plane).await?;
        let widget = referrer("Widget", "w", &["ref-own", "ref-lent"]);
        create(&widgets(&consumer.plane, "shop"), &widget).await?;
        let shop = Shop {
            consumer: &consumer.plane,
            provider: &provider.plane,
            service: service_namespace(&provider.plane, &home, "shop").await?,
        };
        for (_, kind) in KINDS {
            both_directions(&shop, kind).await?;
        }
        for (_, kind) in KINDS {
            changes_and_deletions(&shop, kind).await?;
        }
        referrers_claim_and_unclaim(&shop).await?;
        labels_claim_and_unclaim(&shop).await?;
        neither_is_the_copy(&shop).await?;
        nothing_else_crossed(&shop, &home).await?;
        pre_seeded(&consumer.plane, &provider, &home).await?;
        the_end(&shop).await
    })
}

/// Objects that a selector names and that must not cross all the same, and some that none names.
async fn never_claimed(consumer: &ControlPlane) -> Result<()> {
    let shop = |kind| objects(consumer, kind, "shop");
    let mut token = labelled(object("Secret", "token", "credential"));
    token["type"] = "kubernetes.io/service-account-token".into();
    token["metadata"]["annotations"]["kubernetes.io/service-account.name"] = "default".into();
    create(&shop("Secret"), &token).await?;
    let mut kubeconfig = labelled(object("Secret", "kubeconfig", "credential"));
    kubeconfig["metadata"]["labels"]["kube-bind.io/provider-kubeconfig"] = "true".into();
    create(&shop("Secret"), &kubeconfig).await?;
    let system = objects(consumer, "ConfigMap", "kube-public");
    create(&system, &labelled(object("ConfigMap", "system", "system"))).await?;
    for (_, kind) in KINDS {
        create(&shop(kind), &object(kind, "plain", "plain")).await?;
    }
    let elsewhere = objects(consumer, "Secret", "early");
    create(&elsewhere, &object("Secret", "named-own", "elsewhere")).await?;
    Ok(())
}

async fn both_directions(shop: &Shop<'_>, kind: &str) -> Result<()> {
    let (mine, theirs) = (shop.mine(kind), shop.theirs(kind));
    for name in ["label-own", "named-own", "ref-own"] {
        let mut own = object(kind, name, name);
        if name == "label-own" {
            own = labelled(own);
        }
        let own = create(&mine, &own).await?;
        let copy = wait_copy(&theirs, name, name, "consumer").await?;
        let uid = copy.annotations().get("kube-bind.io/consumer-uid");
        ensure!(uid == own.metadata.uid.as_ref(), "{:?}", copy.metadata);
        wait_until(&mine, name, "marked as the source", |own| {
            own.labels()
                .get(OWNER)
                .is_some_and(|owner| owner == "consumer")
        })
        .await?;
    }
    for name in ["label-lent", "named-lent", "ref-lent"] {
        let mut lent = object(kind, name, name);
        if name == "label-lent" {
            lent = labelled(lent);
        }
        create(&theirs, &lent).await?;
        wait_copy(&mine, name, name, "provider").await?;
    }
    Ok(())
}

async fn changes_and_deletions(shop: &Shop<'_>, kind: &str) -> Result<()> {
    let (mine, theirs) = (shop.mine(kind), shop.theirs(kind));
    for (sources, copies, name, owner) in [
        (&mine, &theirs, "label-own", "consumer"),
        (&theirs, &mine, "label-lent", "provider"),
    ] {
        let mut changed = object(kind, name, "changed");
        changed["metadata"]["labels"] = json!({"more": "labels"});
        merge(sources, name, changed).await?;
        let copy = wait_copy(copies, name, "changed", owner).await?;
        ensure!(copy.labels().contains_key("more"), "{:?}", copy.metadata);
        // Somebody meddles with the copy.
        merge(copies, name, object(kind, name, "meddled")).await?;
        wait_copy(copies, name, "changed", owner).await?;
        sources.delete(name, &DeleteParams::default()).await?;
        wait_gone(copies, name).await?;
        create(sources, &labelled(object(kind, name, "again"))).await?;
        wait_copy(copies, name, "again", owner).await?;
    }
    Ok(())
}

async fn referrers_claim_and_unclaim(shop: &Shop<'_>) -> Result<()> {
    let widgets = widgets(shop.consumer, "shop");
    merge(&widgets, "w", json!({"spec": {"related": []}})).await?;
    for (_, kind) in KINDS {
        let (mine, theirs) = (shop.mine(kind), shop.theirs(kind));
        wait_gone(&theirs, "ref-own").await?;
        wait_gone(&mine, "ref-lent").await?;
        let own = wait_until(&mine, "ref-own", "without our marks", |own| {
            !own.labels().contains_key(OWNER)
        })
        .await?;
        ensure!(has(&own, "ref-own"), "{own:?}");
        ensure!(has(&theirs.get("ref-lent").await?, "ref-lent"));
        wait_copy(&theirs, "named-own", "named-own", "consumer").await?;
    }
    let again = json!({"spec": {"related": ["ref-own", "ref-lent"]}});
    merge(&widgets, "w", again).await?;
    for (_, kind) in KINDS {
        wait_copy(&shop.theirs(kind), "ref-own", "ref-own", "consumer").await?;
        wait_copy(&shop.mine(kind), "ref-lent", "ref-lent", "provider").await?;
    }
    Ok(())
}

async fn labels_claim_and_unclaim(shop: &Shop<'_>) -> Result<()> {
    for (_, kind) in KINDS {
        for (sources, copies, name) in [
            (shop.mine(kind), shop.theirs(kind), "label-own"),
            (shop.theirs(kind), shop.mine(kind), "label-lent"),
        ] {
            let label = |value: Value| json!({"metadata": {"labels": {LABELLED.0: value}}});
            merge(&sources, name, label(Value::Null)).await?;
            wait_gone(&copies, name).await?;
            ensure!(
                sources.get_opt(name).await?.is_some(),
                "a source was deleted"
            );
            merge(&sources, name, label(LABELLED.1.into())).await?;
            wait_until(&copies, name, "a copy again", |_| true).await?;
        }
    }
    Ok(())
}

/// Both sides had one before anybody claimed it: said, and nothing is written.
async fn neither_is_the_copy(shop: &Shop<'_>) -> Result<()> {
    let (mine, theirs) = (shop.mine("Secret"), shop.theirs("Secret"));
    create(&mine, &object("Secret", "both", "mine")).await?;
    create(&theirs, &object("Secret", "both", "theirs")).await?;
    let widget = referrer("Widget", "torn", &["both"]);
    create(&widgets(shop.consumer, "shop"), &widget).await?;
    wait_event(shop.consumer, "shop", "torn", "ClaimConflict").await?;
    wait_event(shop.consumer, "default", TEMPLATE, "ClaimConflict").await?;
    for (side, content) in [(&mine, "mine"), (&theirs, "theirs")] {
        let found = side.get("both").await?;
        ensure!(has(&found, content), "{found:?}");
        ensure!(!found.labels().contains_key(OWNER), "{:?}", found.metadata);
    }
    // A person decides.
    mine.delete("both", &DeleteParams::default()).await?;
    wait_copy(&mine, "both", "theirs", "provider").await?;
    Ok(())
}

async fn nothing_else_crossed(shop: &Shop<'_>, home: &str) -> Result<()> {
    for (_, kind) in KINDS {
        ensure_absent(&shop.theirs(kind), "plain").await?;
    }
    for name in ["token", "kubeconfig"] {
        ensure_absent(&shop.theirs("Secret"), name).await?;
    }
    let mappings = ours(shop.provider, "APIServiceNamespace", home);
    let mapped = mappings.list(&ListParams::default()).await?;
    let mut mapped: Vec<_> = mapped.items.iter().map(ResourceExt::name_any).collect();
    mapped.sort();
    ensure!(mapped == ["early", "seeded", "shop"], "{mapped:?}");
    let early = shop.service.replace("-shop", "-early");
    ensure_absent(&objects(shop.provider, "Secret", &early), "named-own").await
}

/// A namespace that the offering brings along is made on the consumer, and what is in it crosses.
async fn pre_seeded(consumer: &ControlPlane, provider: &Provider, home: &str) -> Result<()> {
    let namespaces = api(consumer.client(), ("", "v1", "Namespace"), "");
    let seeded = wait_until(&namespaces, "seeded", "made for the provider", |_| true).await?;
    ensure!(seeded.labels().get(OWNER).is_some_and(|o| o == "provider"));
    let service = service_namespace(&provider.plane, home, "seeded").await?;
    let theirs = objects(&provider.plane, "ConfigMap", &service);
    create(
        &theirs,
        &labelled(object("ConfigMap", "settings", "theirs")),
    )
    .await?;
    let mine = objects(consumer, "ConfigMap", "seeded");
    wait_copy(&mine, "settings", "theirs", "provider").await?;
    Ok(())
}

/// With the binding all copies go, and no source.
async fn the_end(shop: &Shop<'_>) -> Result<()> {
    let bindings = bindings(shop.consumer);
    bindings.delete(TEMPLATE, &DeleteParams::default()).await?;
    wait_gone(&bindings, TEMPLATE).await?;
    for (_, kind) in KINDS {
        let (mine, theirs) = (shop.mine(kind), shop.theirs(kind));
        for way in ["label", "named", "ref"] {
            let (own, lent) = (format!("{way}-own"), format!("{way}-lent"));
            ensure_absent(&theirs, &own).await?;
            ensure_absent(&mine, &lent).await?;
            theirs.get(&lent).await?;
            let own = mine.get(&own).await?;
            ensure!(!own.labels().contains_key(OWNER), "{:?}", own.metadata);
        }
    }
    Ok(())
}
