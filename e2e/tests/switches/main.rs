//! What a person does to a binding that works: suspends it, deletes under it what it needs, accepts
//! another address, lets it go. One provider and one consumer live through all of it, one after the other.

mod ends;
mod suspension;
mod vanishing;

use anyhow::{Result, ensure};
use kube::api::{Api, DynamicObject, ListParams};
use kube_bind_e2e::bindings::says;
use kube_bind_e2e::claims;
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{api, as_consumer, create, create_namespace, service_namespace};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::widgets::{self, TEMPLATE, bind, bind_kind};
use kube_bind_e2e::{run, wait_for};
use serde_json::{Value, json};

const SHOP: &str = "shop";

/// The second binding of the scene.
const GEARS: &str = "gears";

/// Both clusters, with the consumer's namespaces there.
struct Scene {
    provider: Provider,
    consumer: Consumer,
    /// The consumer's namespace at the provider.
    home: String,
    /// The counterpart of [`SHOP`].
    service: String,
}

/// Both sides of one kind in one namespace.
struct Both {
    mine: Api<DynamicObject>,
    copies: Api<DynamicObject>,
}

impl Scene {
    async fn start() -> Result<Scene> {
        let claims = [claims::claim("secrets", "widgets")];
        let offers = [
            claims::crd("widgets", "Widget"),
            claims::template(TEMPLATE, "widgets", &claims),
        ];
        let (provider, consumer) = widgets::started_with(&offers).await?;
        bind(&provider, &consumer, TEMPLATE, &[]).await?;
        bind_kind(&provider, &consumer, &widgets::crd("gears", "Gear", true)).await?;
        create_namespace(&consumer.plane, SHOP).await?;
        let (_, home) = as_consumer(&consumer.plane).await?;
        let mine = api(
            consumer.plane.client(),
            ("example.org", "v1", "Widget"),
            SHOP,
        );
        create(&mine, &object("Widget", "first", 1)).await?;
        let service = service_namespace(&provider.plane, &home, SHOP).await?;
        Ok(Scene {
            provider,
            consumer,
            home,
            service,
        })
    }

    fn both(&self, kind: &str) -> Both {
        self.both_in(kind, SHOP, &self.service)
    }

    fn both_in(&self, kind: &str, namespace: &str, service: &str) -> Both {
        let group = if kind == "Secret" { "" } else { "example.org" };
        let gvk = (group, "v1", kind);
        Both {
            mine: api(self.consumer.plane.client(), gvk, namespace),
            copies: api(self.provider.plane.client(), gvk, service),
        }
    }

    async fn ready(&self, binding: &str) -> Result<()> {
        says(&self.consumer.plane, binding, "Ready", ("True", "*")).await?;
        Ok(())
    }
}

impl Both {
    /// Makes objects and waits for their copies.
    async fn fill(&self, kind: &str, names: &[String]) -> Result<()> {
        for name in names {
            create(&self.mine, &object(kind, name, 1)).await?;
        }
        self.wait_copies(names).await
    }

    async fn wait_copies(&self, names: &[String]) -> Result<()> {
        wait_for("copies of all, linked to their objects", || async {
            let (mine, copies) = (uids(&self.mine).await?, uids(&self.copies).await?);
            let objects = self.mine.list(&ListParams::default()).await?;
            for name in names {
                ensure!(mine.contains_key(name), "{name} is not there");
                let object = objects
                    .iter()
                    .find(|o| o.metadata.name.as_ref() == Some(name));
                let link = object.and_then(|o| {
                    let annotations = o.metadata.annotations.as_ref()?;
                    annotations.get("kube-bind.io/provider-uid")
                });
                ensure!(
                    link.is_some() && link == copies.get(name),
                    "{name} has no copy"
                );
            }
            Ok(())
        })
        .await
    }

    async fn wait_no_copies(&self, names: &[String]) -> Result<()> {
        wait_for("the copies to be gone", || async {
            let copies = uids(&self.copies).await?;
            let left: Vec<_> = names.iter().filter(|n| copies.contains_key(*n)).collect();
            ensure!(left.is_empty(), "{left:?} are left");
            Ok(())
        })
        .await
    }
}

/// Uids by name.
async fn uids(api: &Api<DynamicObject>) -> Result<std::collections::BTreeMap<String, String>> {
    let all = api.list(&ListParams::default()).await?;
    let of = |o: DynamicObject| Some((o.metadata.name?, o.metadata.uid?));
    Ok(all.items.into_iter().filter_map(of).collect())
}

fn object(kind: &str, name: &str, size: i64) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": name}, "spec": {"size": size}})
}

fn size(size: i64) -> Value {
    json!({"spec": {"size": size}})
}

fn named(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}-{number}"))
        .collect()
}

#[test]
fn a_binding_obeys_who_administers_the_consumer_and_loses_nothing() -> Result<()> {
    run(async {
        let scene = Scene::start().await?;
        suspension::stops_all_writes_and_ends_without_a_storm(&scene).await?;
        suspension::leaves_a_changed_definition_alone_and_repairs_it_afterwards(&scene).await?;
        vanishing::namespaces_that_are_deleted(&scene).await?;
        vanishing::a_namespace_that_was_never_restored(&scene).await?;
        vanishing::a_definition_that_is_deleted(&scene).await?;
        ends::a_kind_that_the_export_drops(&scene).await?;
        ends::a_credential_that_is_gone_for_a_while(&scene).await?;
        ends::an_address_that_is_not_accepted_yet(&scene).await?;
        ends::orphans_with_a_claimed_secret(&scene).await?;
        scene.consumer.konnector()?.check_running()
    })
}
