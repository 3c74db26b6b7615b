//! A reseller binds an API and offers it on: its cluster runs konnector and backend at once. What the
//! end consumers write reaches the provider over both hops and comes back, the marks of one hop stay on
//! that hop, and the consumers of the reseller stay apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::{definitions, merge, merge_status};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::idp::Person;
use kube_bind_e2e::objects::{
    api, as_consumer, create, create_namespace, secrets, service_namespace, wait_gone, wait_until,
};
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::widgets::{self, TEMPLATE, widgets};
use kube_bind_e2e::{ControlPlane, Options, run};
use serde_json::{Value, json};

const CRD: &str = "widgets.example.org";

/// The provider, the reseller in both roles, and the reseller's consumers.
struct Chain {
    provider: Provider,
    reseller: Consumer,
    shop: Provider,
    north: Consumer,
    south: Consumer,
}

/// Where the objects of one end consumer's namespace are.
struct Places {
    /// The reseller's namespace for it.
    middle: String,
    /// The provider's namespace for that.
    top: String,
}

impl Chain {
    async fn start() -> Result<Chain> {
        let options = || ProviderOptions {
            without_operator: true,
            ..ProviderOptions::default()
        };
        let users = Options {
            users: vec![Consumer::user()],
            ..Options::default()
        };
        let (provider, plane, north, south) = tokio::try_join!(
            Provider::start(options()),
            ControlPlane::start("reseller", users),
            Consumer::start("consumer-north"),
            Consumer::start("consumer-south")
        )?;
        let plane = Arc::new(plane);
        let shop = Provider::start_on(plane.clone(), options()).await?;
        Ok(Chain {
            provider,
            reseller: Consumer::on(plane)?,
            shop,
            north,
            south,
        })
    }

    /// Everybody binds; in between the reseller decides to offer the kind on.
    async fn bind(&self) -> Result<()> {
        self.provider.apply(&[crd(), template()]).await?;
        bind(&self.reseller, &self.provider, &self.provider.alice).await?;
        let label = [
            "label",
            "crd",
            CRD,
            "kube-bind.io/exported=true",
            "example.org/mine=yes",
        ];
        self.shop.plane.kubectl(&label).await?;
        self.shop.apply(&[template()]).await?;
        bind(&self.north, &self.shop, &self.shop.alice).await?;
        bind(&self.south, &self.shop, &self.shop.bob).await
    }

    async fn places(&self, consumer: &Consumer, namespace: &str) -> Result<Places> {
        let (_, home) = as_consumer(&consumer.plane).await?;
        let middle = service_namespace(&self.shop.plane, &home, namespace).await?;
        let (_, home) = as_consumer(&self.reseller.plane).await?;
        let top = service_namespace(&self.provider.plane, &home, &middle).await?;
        Ok(Places { middle, top })
    }

    fn widgets(&self, consumer: &Consumer, places: &Places) -> [Api<DynamicObject>; 3] {
        [
            widgets(&consumer.plane, "team"),
            widgets(&self.shop.plane, &places.middle),
            widgets(&self.provider.plane, &places.top),
        ]
    }
}

async fn bind(consumer: &Consumer, at: &Provider, person: &Person) -> Result<()> {
    let args = ["--template-name", TEMPLATE];
    let run = consumer
        .bind_reporting(&at.url(), person, &args, |_| {})
        .await?;
    run.success()?;
    Ok(())
}

/// The kind, whose objects name a Secret.
fn crd() -> Value {
    let mut crd = widgets::crd("widgets", "Widget", true);
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["secretName"] =
        json!({"type": "string"});
    crd
}

/// The same offering on both hops; schemas follow their source.
fn template() -> Value {
    let mut template = widgets::template(TEMPLATE, "widgets");
    template["spec"]["schemaUpdatePolicy"] = "Always".into();
    template["spec"]["permissionClaims"] = json!([{
        "group": "", "resource": "secrets",
        "selector": {"references": [{
            "group": "example.org", "resource": "widgets", "versions": ["v1"],
            "jsonPath": {"name": "spec.secretName"},
        }]},
    }]);
    template
}

fn widget(size: i64) -> Value {
    json!({
        "apiVersion": "example.org/v1", "kind": "Widget",
        "metadata": {"name": "web", "labels": {"team": "shop"}, "annotations": {"example.org/note": "text"}},
        "spec": {"size": size, "secretName": "web-key"},
    })
}

#[test]
fn what_a_reseller_offers_on_travels_both_hops_and_its_consumers_stay_apart() -> Result<()> {
    run(async {
        let chain = Chain::start().await?;
        chain.bind().await?;
        for (consumer, size) in [(&chain.north, 1), (&chain.south, 2)] {
            create_namespace(&consumer.plane, "team").await?;
            create(&widgets(&consumer.plane, "team"), &widget(size)).await?;
        }
        let north = chain.places(&chain.north, "team").await?;
        let south = chain.places(&chain.south, "team").await?;
        ensure!(north.middle != south.middle && north.top != south.top);
        there_and_back(&chain, &chain.north, &north, "north").await?;
        there_and_back(&chain, &chain.south, &south, "south").await?;
        nobody_sees_the_other(&chain, &north, &south).await?;
        a_new_schema_reaches_the_end_and_labels_of_others_stay(&chain).await?;
        the_end_of_an_object_is_awaited_over_both_hops(&chain, &north).await?;
        // The other consumer's are all still there.
        for api in chain.widgets(&chain.south, &south) {
            ensure!(api.get("web").await?.metadata.deletion_timestamp.is_none());
        }
        secrets(&chain.south.plane, "team").get("web-key").await?;
        Ok(())
    })
}

/// Spec, labels and annotations up, status and Secret down.
async fn there_and_back(
    chain: &Chain,
    consumer: &Consumer,
    places: &Places,
    content: &str,
) -> Result<()> {
    let [mine, middle, top] = chain.widgets(consumer, places);
    wait_until(&top, "web", "at the provider", |_| true).await?;
    let linked = |object: &DynamicObject| {
        object
            .annotations()
            .contains_key(names::ANNOTATION_PROVIDER_UID)
    };
    wait_until(&mine, "web", "linked", linked).await?;
    wait_until(&middle, "web", "linked", linked).await?;
    marks_stay_on_their_hop(chain, consumer, [&mine, &middle, &top]).await?;

    let change = json!({
        "metadata": {"labels": {"team": null, "tier": "gold"}},
        "spec": {"size": 7},
    });
    merge(&mine, "web", change).await?;
    wait_until(&top, "web", "changed", |object| {
        object.data["spec"]["size"] == 7
            && object.labels().get("tier").map(String::as_str) == Some("gold")
            && !object.labels().contains_key("team")
            && object.annotations().contains_key("example.org/note")
    })
    .await?;

    let status = json!({"status": {"phase": content}});
    merge_status(&top, "web", status.clone()).await?;
    wait_until(&mine, "web", "status", |object| {
        object.data["status"] == status["status"]
    })
    .await?;

    // As the provider's operator would.
    let keys = secrets(&chain.provider.plane, &places.top);
    let key = |data: &str| json!({"metadata": {"name": "web-key"}, "stringData": {"key": data}});
    let made = serde_json::from_value(key(content))?;
    keys.create(&PostParams::default(), &made).await?;
    let arrived = secrets(&consumer.plane, "team");
    let holds = |data: String| {
        move |secret: &k8s_openapi::api::core::v1::Secret| {
            let found = secret.data.as_ref().and_then(|all| all.get("key"));
            found.is_some_and(|found| found.0 == data.as_bytes())
        }
    };
    let secret = wait_until(&arrived, "web-key", "the key", holds(content.to_owned())).await?;
    ensure!(
        secret.labels().get(names::LABEL_OWNER).map(String::as_str) == Some(names::OWNER_PROVIDER)
    );
    let between = secrets(&chain.shop.plane, &places.middle)
        .get("web-key")
        .await?;
    ensure!(secret.annotations().get(names::ANNOTATION_PROVIDER_UID) == between.uid().as_ref());
    let changed = format!("{content}, renewed");
    let patch = Patch::Merge(key(&changed));
    keys.patch("web-key", &PatchParams::default(), &patch)
        .await?;
    wait_until(&arrived, "web-key", "the new key", holds(changed)).await?;
    Ok(())
}

/// The object in the middle is a copy for one konnector and the source of a copy for the other.
async fn marks_stay_on_their_hop(
    chain: &Chain,
    consumer: &Consumer,
    [mine, middle, top]: [&Api<DynamicObject>; 3],
) -> Result<()> {
    let (_, at_shop) = as_consumer(&consumer.plane).await?;
    let (_, at_provider) = as_consumer(&chain.reseller.plane).await?;
    let [mine, middle, top] = [
        mine.get("web").await?,
        middle.get("web").await?,
        top.get("web").await?,
    ];
    let ours = |object: &DynamicObject| -> BTreeMap<String, String> {
        let all = object.annotations().iter();
        all.filter(|(key, _)| key.starts_with(names::KEY_PREFIX))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let up = |home: &str, object: &DynamicObject| {
        [
            (names::ANNOTATION_CLUSTER_NAMESPACE, home.to_owned()),
            (
                names::ANNOTATION_CONSUMER_NAMESPACE,
                object.namespace().unwrap_or_default(),
            ),
            (
                names::ANNOTATION_CONSUMER_UID,
                object.uid().unwrap_or_default(),
            ),
        ]
    };
    let down = |copy: &DynamicObject| {
        [
            (
                names::ANNOTATION_PROVIDER_NAMESPACE,
                copy.namespace().unwrap_or_default(),
            ),
            (
                names::ANNOTATION_PROVIDER_UID,
                copy.uid().unwrap_or_default(),
            ),
        ]
    };
    let map = |marks: Vec<(&str, String)>| -> BTreeMap<String, String> {
        marks
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    };
    let expected = map(down(&middle).into());
    ensure!(
        ours(&mine) == expected,
        "{:?} is not {expected:?}",
        ours(&mine)
    );
    let both = up(&at_shop, &mine).into_iter().chain(down(&top));
    let expected = map(both.collect());
    ensure!(
        ours(&middle) == expected,
        "{:?} is not {expected:?}",
        ours(&middle)
    );
    let expected = map(up(&at_provider, &middle).into());
    ensure!(
        ours(&top) == expected,
        "{:?} is not {expected:?}",
        ours(&top)
    );
    ensure!(top.finalizers().is_empty() && middle.finalizers() == [names::FINALIZER_SYNCER]);
    Ok(())
}

async fn nobody_sees_the_other(chain: &Chain, north: &Places, south: &Places) -> Result<()> {
    for (consumer, others) in [(&chain.north, south), (&chain.south, north)] {
        let found = widgets(&consumer.plane, "")
            .list(&ListParams::default())
            .await?;
        ensure!(found.items.len() == 1, "an object of another arrived");
        let (client, _) = as_consumer(&consumer.plane).await?;
        for kind in [("example.org", "v1", "Widget"), ("", "v1", "Secret")] {
            let theirs = api(client.clone(), kind, &others.middle);
            let answer = theirs.list(&ListParams::default()).await;
            ensure!(
                matches!(&answer, Err(kube::Error::Api(status)) if status.code == 403),
                "a consumer reads the other's {}: {answer:?}",
                kind.2
            );
        }
    }
    Ok(())
}

async fn a_new_schema_reaches_the_end_and_labels_of_others_stay(chain: &Chain) -> Result<()> {
    let mut changed = crd();
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        ["added"] = json!({"type": "string"});
    chain.provider.apply(&[changed]).await?;
    let has_it = |crd: &DynamicObject| {
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/added";
        crd.data.pointer(path).is_some()
    };
    for consumer in [&chain.north, &chain.south] {
        wait_until(&definitions(&consumer.plane), CRD, "the new field", has_it).await?;
    }
    let between = definitions(&chain.shop.plane).get(CRD).await?;
    let label = |key: &str| between.labels().get(key).map(String::as_str);
    ensure!(
        label(names::LABEL_EXPORTED) == Some("true") && label("example.org/mine") == Some("yes")
    );
    ensure!(
        !definitions(&chain.north.plane)
            .get(CRD)
            .await?
            .labels()
            .contains_key(names::LABEL_EXPORTED),
        "the reseller's decision is not its consumers'"
    );
    Ok(())
}

async fn the_end_of_an_object_is_awaited_over_both_hops(
    chain: &Chain,
    north: &Places,
) -> Result<()> {
    let [mine, middle, top] = chain.widgets(&chain.north, north);
    merge(
        &top,
        "web",
        json!({"metadata": {"finalizers": ["example.org/wait"]}}),
    )
    .await?;
    mine.delete("web", &DeleteParams::default()).await?;
    let going = |object: &DynamicObject| object.metadata.deletion_timestamp.is_some();
    wait_until(&top, "web", "terminating", going).await?;
    for api in [&middle, &mine] {
        let waiting = api
            .get_opt("web")
            .await?
            .context("it went before its copy")?;
        ensure!(going(&waiting));
    }
    merge(&top, "web", json!({"metadata": {"finalizers": null}})).await?;
    for api in [&top, &middle, &mine] {
        wait_gone(api, "web").await?;
    }
    // Nothing of the consumer's refers to it any more.
    wait_gone(&secrets(&chain.north.plane, "team"), "web-key").await?;
    // In the middle the other consumer's object names a Secret like it, and names are not bound to a
    // namespace there: it goes with its source.
    let keys = secrets(&chain.provider.plane, &north.top);
    keys.delete("web-key", &DeleteParams::default()).await?;
    wait_gone(&secrets(&chain.shop.plane, &north.middle), "web-key").await
}
