//! Claimed objects on real API servers: every kind, selector and direction; claims that end, also while
//! something is wrong; what never crosses; what two claim; rights in some namespaces only.

mod crossing;
mod ending;
mod limits;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject};
use kube_bind_e2e::bindings::{bindings, merge};
use kube_bind_e2e::claims::{claim, crd, has, labelled, object, objects, template, wait_copy};
use kube_bind_e2e::cluster::ControlPlane;
use kube_bind_e2e::objects::{
    as_consumer, create, create_namespace, service_namespace, wait_event, wait_gone, wait_until,
};
use kube_bind_e2e::run;
use kube_bind_e2e::widgets::{TEMPLATE, bind, started_with};
use serde_json::json;

const OWNER: &str = "kube-bind.io/owner";

/// A consumer's namespace with its service namespace.
struct Shop<'a> {
    consumer: &'a ControlPlane,
    provider: &'a ControlPlane,
    service: String,
}

impl Shop<'_> {
    fn mine(&self, kind: &str) -> Api<DynamicObject> {
        objects(self.consumer, kind, "shop")
    }

    fn theirs(&self, kind: &str) -> Api<DynamicObject> {
        objects(self.provider, kind, &self.service)
    }
}

#[test]
fn an_object_that_two_bindings_claim_is_synced_for_one_and_said_of_the_other() -> Result<()> {
    run(async {
        let (provider, consumer) = started_with(&[
            crd("widgets", "Widget"),
            crd("gadgets", "Gadget"),
            template(TEMPLATE, "widgets", &[claim("secrets", "widgets")]),
            template("gadgets", "gadgets", &[claim("secrets", "gadgets")]),
        ])
        .await?;
        bind(&provider, &consumer, TEMPLATE, &[]).await?;
        create_namespace(&consumer.plane, "shop").await?;
        let mine = objects(&consumer.plane, "Secret", "shop");
        create(&mine, &labelled(object("Secret", "tls", "mine"))).await?;
        let (_, home) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &home, "shop").await?;
        let theirs = objects(&provider.plane, "Secret", &service);
        let copy = wait_copy(&theirs, "tls", "mine", "consumer").await?;
        bind(&provider, &consumer, "gadgets", &[]).await?;
        let note = wait_event(&consumer.plane, "default", "gadgets", "ClaimConflict").await?;
        ensure!(
            note.contains("shop/tls") && note.contains(TEMPLATE),
            "{note}"
        );
        let now = theirs.get("tls").await?;
        ensure!(
            now.metadata.resource_version == copy.metadata.resource_version,
            "the bindings fight: {:?}",
            now.metadata
        );
        // The end of the first hands it over.
        let bindings = bindings(&consumer.plane);
        bindings.delete(TEMPLATE, &DeleteParams::default()).await?;
        wait_gone(&bindings, TEMPLATE).await?;
        let handed = wait_until(&theirs, "tls", "the other binding's", |copy| {
            let binding = copy.annotations().get("kube-bind.io/consumer-binding");
            binding.is_some_and(|binding| binding == "gadgets")
        })
        .await?;
        ensure!(handed.metadata.uid == copy.metadata.uid, "it was made anew");
        merge(&mine, "tls", object("Secret", "tls", "changed")).await?;
        wait_copy(&theirs, "tls", "changed", "consumer").await?;

        // One that leaves everything where it is takes nothing away but its marks, on both sides.
        create(&theirs, &labelled(object("Secret", "lent", "theirs"))).await?;
        wait_copy(&mine, "lent", "theirs", "provider").await?;
        let orphan =
            json!({"metadata": {"annotations": {"kube-bind.io/deletion-policy": "Orphan"}}});
        merge(&bindings, "gadgets", orphan).await?;
        bindings.delete("gadgets", &DeleteParams::default()).await?;
        wait_gone(&bindings, "gadgets").await?;
        for (side, name, content) in [
            (&mine, "tls", "changed"),
            (&theirs, "tls", "changed"),
            (&mine, "lent", "theirs"),
            (&theirs, "lent", "theirs"),
        ] {
            let left = side.get(name).await?;
            ensure!(has(&left, content), "{left:?}");
            let ours = |key: &String| key.starts_with("kube-bind.io/");
            let marks = left.annotations().keys().chain(left.labels().keys());
            ensure!(!marks.into_iter().any(ours), "{:?}", left.metadata);
        }
        Ok(())
    })
}
