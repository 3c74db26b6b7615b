//! What ends a claim while something is not as it should be: another binding that is not synced, objects
//! that vanish while nobody looks.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube_bind_e2e::bindings::{bindings, definitions, merge, says, switch};
use kube_bind_e2e::claims::{
    LABELLED, claim, crd, labelled, object, objects, referrer, template, wait_copy,
};
use kube_bind_e2e::objects::{
    api, as_consumer, create, create_namespace, service_namespace, wait_gone, wait_until,
};
use kube_bind_e2e::run;
use kube_bind_e2e::widgets::{TEMPLATE, bind, started_with};
use serde_json::json;

#[test]
fn a_binding_whose_kind_never_starts_keeps_no_other_from_ending() -> Result<()> {
    run(async {
        let (provider, consumer) = started_with(&[
            crd("widgets", "Widget"),
            crd("gadgets", "Gadget"),
            template(TEMPLATE, "widgets", &[claim("secrets", "widgets")]),
            template("gadgets", "gadgets", &[claim("secrets", "gadgets")]),
        ])
        .await?;
        bind(&provider, &consumer, TEMPLATE, &[]).await?;
        bind(&provider, &consumer, "gadgets", &[]).await?;
        create_namespace(&consumer.plane, "shop").await?;
        let mine = objects(&consumer.plane, "Secret", "shop");
        create(&mine, &object("Secret", "related", "mine")).await?;
        let kind = ("example.org", "v1", "Widget");
        let widgets = api(consumer.plane.client(), kind, "shop");
        create(&widgets, &referrer("Widget", "one", &["related"])).await?;
        let (_, home) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &home, "shop").await?;
        let theirs = objects(&provider.plane, "Secret", &service);
        wait_copy(&theirs, "related", "mine", "consumer").await?;

        // Nobody tells the konnector any more what gadgets refer to.
        consumer.kill_konnector()?;
        let disowned = json!({"metadata": {"ownerReferences": null}});
        merge(
            &definitions(&consumer.plane),
            "gadgets.example.org",
            disowned,
        )
        .await?;
        consumer.start_konnector()?;
        let foreign = ("False", "ForeignCustomResourceDefinition");
        says(&consumer.plane, "gadgets", "Connected", foreign).await?;
        let bindings = bindings(&consumer.plane);
        bindings.delete(TEMPLATE, &DeleteParams::default()).await?;
        wait_gone(&bindings, TEMPLATE).await?;
        ensure!(
            theirs.get_opt("related").await?.is_none(),
            "the copy is left"
        );
        mine.get("related").await.context("the source is gone")?;
        Ok(())
    })
}

#[test]
fn claimed_objects_that_vanish_while_nobody_looks_keep_their_copies() -> Result<()> {
    const MANY: usize = 25;
    run(async {
        let (provider, consumer) = started_with(&[
            crd("widgets", "Widget"),
            template(TEMPLATE, "widgets", &[claim("secrets", "widgets")]),
        ])
        .await?;
        bind(&provider, &consumer, TEMPLATE, &[]).await?;
        create_namespace(&consumer.plane, "shop").await?;
        let mine = objects(&consumer.plane, "Secret", "shop");
        let names: Vec<String> = (0..MANY).map(|n| format!("tls-{n}")).collect();
        for name in &names {
            create(&mine, &labelled(object("Secret", name, name))).await?;
        }
        let (_, home) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &home, "shop").await?;
        let theirs = objects(&provider.plane, "Secret", &service);
        for name in &names {
            wait_copy(&theirs, name, name, "consumer").await?;
        }
        consumer.kill_konnector()?;
        let claimed = ListParams::default().labels(&format!("{}={}", LABELLED.0, LABELLED.1));
        mine.delete_collection(&DeleteParams::default(), &claimed)
            .await?;
        consumer.start_konnector()?;
        // One more goes all the way: whatever should not happen would have.
        create(&mine, &labelled(object("Secret", "later", "later"))).await?;
        wait_copy(&theirs, "later", "later", "consumer").await?;
        let held = theirs.list_metadata(&claimed).await?.items.len();
        ensure!(held == MANY + 1, "{held} copies are left");

        let release = ("kube-bind.io/release-deletes", Some("true"));
        switch(&consumer.plane, TEMPLATE, release).await?;
        for name in &names {
            wait_gone(&theirs, name).await?;
        }
        theirs.get("later").await.context("it did not vanish")?;
        Ok(())
    })
}

#[test]
fn what_was_let_go_without_the_provider_is_not_taken_away_for_another_binding() -> Result<()> {
    run(async {
        let (provider, consumer) = started_with(&[
            crd("widgets", "Widget"),
            crd("gadgets", "Gadget"),
            template(TEMPLATE, "widgets", &[claim("secrets", "widgets")]),
            template("gadgets", "gadgets", &[claim("secrets", "gadgets")]),
        ])
        .await?;
        bind(&provider, &consumer, TEMPLATE, &[]).await?;
        bind(&provider, &consumer, "gadgets", &[]).await?;
        create_namespace(&consumer.plane, "shop").await?;
        let mine = objects(&consumer.plane, "Secret", "shop");
        create(&mine, &object("Secret", "related", "mine")).await?;
        let kind = ("example.org", "v1", "Widget");
        let widgets = api(consumer.plane.client(), kind, "shop");
        create(&widgets, &referrer("Widget", "one", &["related"])).await?;
        let (_, home) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &home, "shop").await?;
        let theirs = objects(&provider.plane, "Secret", &service);
        let copy = wait_copy(&theirs, "related", "mine", "consumer").await?;

        provider.plane.kill_api_server()?;
        let away = ("False", "ProviderUnreachable");
        says(&consumer.plane, TEMPLATE, "Connected", away).await?;
        let orphan = ("kube-bind.io/deletion-policy", Some("Orphan"));
        switch(&consumer.plane, TEMPLATE, orphan).await?;
        let bindings = bindings(&consumer.plane);
        bindings.delete(TEMPLATE, &DeleteParams::default()).await?;
        wait_gone(&bindings, TEMPLATE).await?;
        let left = mine.get("related").await?;
        ensure!(!is_marked(&left), "{:?}", left.metadata);

        // The claims of the other binding find the copy, and nobody who wants it.
        provider.plane.start_api_server().await?;
        let clean = wait_until(&theirs, "related", "let go", |copy| !is_marked(copy)).await?;
        ensure!(clean.metadata.uid == copy.metadata.uid, "it was made anew");
        create(&mine, &labelled(object("Secret", "later", "later"))).await?;
        wait_copy(&theirs, "later", "later", "consumer").await?;
        Ok(())
    })
}

fn is_marked(object: &DynamicObject) -> bool {
    let mut keys = object.annotations().keys().chain(object.labels().keys());
    keys.any(|key| key.starts_with("kube-bind.io/"))
}
