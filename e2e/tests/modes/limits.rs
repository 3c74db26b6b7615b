//! Names and contents at the limits, and kinds that are unusual: what cannot cross says so on the
//! object, and what can arrives as it is.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use kube_bind_crds::names;
use kube_bind_e2e::ControlPlane;
use kube_bind_e2e::bindings::merge;
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    api, as_consumer, create, create_namespace, service_namespace, wait_gone, wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::{run, widgets};
use serde_json::{Value, json};

use crate::kinds::{self, ROWS, Row};

use crate::{bind, provider, versions};

#[test]
fn names_and_contents_at_the_limits_and_several_versions() -> Result<()> {
    run(async {
        let (provider, consumer) = tokio::try_join!(provider(), Consumer::start("consumer"))?;
        kinds::offer(&provider).await?;
        plain_kind(&provider).await?;
        let (alpha, beta) = (&ROWS[0], &ROWS[1]);
        for offering in [&alpha.plural(), &beta.plural(), "plains"] {
            bind(&provider, &consumer, offering).await?;
        }
        let (_, home) = as_consumer(&consumer.plane).await?;
        let mark = consumer.plane.audit().mark()?;
        names_that_do_not_fit(alpha, beta, &consumer).await?;

        create_namespace(&consumer.plane, "shop").await?;
        let mine = alpha.api(&consumer.plane, "shop");
        let first = create(&mine, &unusual("first")).await?;
        let service = service_namespace(&provider.plane, &home, "shop").await?;
        let copies = alpha.api(&provider.plane, &service);
        let copy = wait_until(&copies, "first", "at the provider", |_| true).await?;
        ensure!(
            copy.data["spec"] == first.data["spec"],
            "{} {}",
            copy.data,
            first.data
        );
        ensure!(
            copy.annotations().get("example.org/note")
                == first.annotations().get("example.org/note")
        );
        generated(alpha, &mine, &copies).await?;
        large(alpha, &mine, &copies).await?;
        without_status_subresource(&provider, &consumer, &service).await?;
        nothing_is_tried_again_and_again(&consumer, mark)?;
        versions::arrive(&provider, &consumer).await
    })
}

/// A namespace of 63 characters, and an object of 253.
async fn names_that_do_not_fit(alpha: &Row, beta: &Row, consumer: &Consumer) -> Result<()> {
    let namespace = "n".repeat(63);
    create_namespace(&consumer.plane, &namespace).await?;
    let homeless = alpha.api(&consumer.plane, &namespace);
    create(&homeless, &alpha.object("homeless")).await?;
    let long = "o".repeat(253);
    let nameless = beta.api(&consumer.plane, "");
    create(&nameless, &beta.object(&long)).await?;
    for (api, name, limit) in [(&homeless, "homeless", "63"), (&nameless, &long, "253")] {
        let object = wait_until(api, name, "a problem", |object| problem(object).is_some()).await?;
        let text = problem(&object).unwrap_or_default();
        ensure!(text.contains(limit), "{text}");
        ensure!(
            object.finalizers().is_empty(),
            "nothing is there that it would protect"
        );
        api.delete(name, &DeleteParams::default()).await?;
        wait_gone(api, name).await?;
    }
    Ok(())
}

fn problem(object: &DynamicObject) -> Option<String> {
    object
        .annotations()
        .get(names::ANNOTATION_SYNC_PROBLEM)
        .cloned()
}

/// Text of all planes, nulls and empties below an open schema, numbers that a double cannot hold.
fn unusual(name: &str) -> Value {
    json!({
        "apiVersion": "example.org/v1", "kind": "Alpha",
        "metadata": {"name": name, "annotations": {"example.org/note": "ß → 東京 🏗 \u{2028}\u{85}\u{7f}"}},
        "spec": {
            "size": 9_007_199_254_740_993_i64,
            "free": {
                "text": "naïve 東京 🏗 \u{2028} \t\r\n \\ \" \u{1}",
                "null": null, "empty": {}, "list": [], "nested": [null, {}, [], {"a": null}],
                "large": 9_223_372_036_854_775_807_i64, "float": 0.1, "exponent": 1e21,
                "ключ": "значение", "": "no name",
            },
        },
    })
}

async fn generated(
    row: &Row,
    mine: &Api<DynamicObject>,
    copies: &Api<DynamicObject>,
) -> Result<()> {
    let mut object = row.object("x");
    object["metadata"] = json!({"generateName": "made-"});
    let object: DynamicObject = serde_json::from_value(object)?;
    let made = mine
        .create(&PostParams::default(), &object)
        .await?
        .name_any();
    wait_until(copies, &made, "at the provider", |_| true).await?;
    mine.delete(&made, &DeleteParams::default()).await?;
    wait_gone(mine, &made).await
}

/// Close to what an API server accepts in one request.
async fn large(row: &Row, mine: &Api<DynamicObject>, copies: &Api<DynamicObject>) -> Result<()> {
    let mut object = row.object("large");
    let block = "x".repeat(1000);
    let lines: Vec<&str> = vec![&block; 1400];
    object["spec"]["free"] = json!({"lines": lines});
    create(mine, &object).await?;
    let arrived = |size: i64| move |copy: &DynamicObject| copy.data["spec"]["size"] == size;
    let copy = wait_until(copies, "large", "at the provider", arrived(1)).await?;
    ensure!(copy.data["spec"]["free"] == object["spec"]["free"]);
    merge(mine, "large", json!({"spec": {"size": 2}})).await?;
    wait_until(copies, "large", "changed", arrived(2)).await?;
    too_large(mine, copies).await?;
    mine.delete("large", &DeleteParams::default()).await?;
    wait_gone(mine, "large").await
}

/// The provider has added to the copy, so that what the consumer's API server stores its own does not: the
/// object says so, and may shrink again.
async fn too_large(mine: &Api<DynamicObject>, copies: &Api<DynamicObject>) -> Result<()> {
    let adds = |field: &str, value: Value| json!({"spec": {"free": {field: value}}});
    let much = Value::from("y".repeat(100_000));
    merge(copies, "large", adds("theirs", much.clone())).await?;
    merge(mine, "large", adds("more", much)).await?;
    let says = |words: &'static str| {
        move |object: &DynamicObject| problem(object).is_some_and(|text| text.contains(words))
    };
    wait_until(mine, "large", "too large", says("too large")).await?;
    merge(mine, "large", adds("more", "little".into())).await?;
    wait_until(copies, "large", "small enough", |copy| {
        copy.data["spec"]["free"]["more"] == "little"
    })
    .await?;
    wait_until(mine, "large", "no problem", |object| {
        problem(object).is_none()
    })
    .await?;
    Ok(())
}

/// A kind with status and data, and no subresource for either.
async fn plain_kind(provider: &Provider) -> Result<()> {
    let mut crd = kinds::crd("plains", "Plain", "Namespaced");
    crd["spec"]["versions"][0]["subresources"] = json!({});
    provider
        .apply(&[crd, widgets::template("plains", "plains")])
        .await?;
    let args = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/plains.example.org",
    ];
    provider.plane.kubectl(&args).await?;
    Ok(())
}

async fn without_status_subresource(
    provider: &Provider,
    consumer: &Consumer,
    service: &str,
) -> Result<()> {
    let plain = |plane: &ControlPlane, namespace: &str| {
        api(plane.client(), ("example.org", "v1", "Plain"), namespace)
    };
    let (mine, copy) = (
        plain(&consumer.plane, "shop"),
        plain(&provider.plane, service),
    );
    let mut object = ROWS[0].object("plain");
    object["kind"] = "Plain".into();
    create(&mine, &object).await?;
    wait_until(&copy, "plain", "at the provider", |copy| {
        copy.data["data"] == json!({"motto": "eins"})
    })
    .await?;
    for status in [json!({"phase": "Busy"}), json!({"phase": "Ready"})] {
        merge(&copy, "plain", json!({"status": status})).await?;
        wait_until(&mine, "plain", "status", |object| {
            object.data["status"] == status
        })
        .await?;
    }
    merge(&mine, "plain", json!({"spec": {"size": 4}})).await?;
    wait_until(&copy, "plain", "changed, with its status", |copy| {
        copy.data["spec"]["size"] == 4 && copy.data["status"]["phase"] == "Ready"
    })
    .await?;
    merge(&copy, "plain", json!({"status": null})).await?;
    wait_until(&mine, "plain", "no status", |object| {
        object.data.get("status").is_none()
    })
    .await?;
    mine.delete("plain", &DeleteParams::default()).await?;
    wait_gone(&mine, "plain").await
}

/// Each object cost a handful of writes, the impossible ones included.
fn nothing_is_tried_again_and_again(
    consumer: &Consumer,
    mark: kube_bind_e2e::cluster::Mark,
) -> Result<()> {
    let mut writes = std::collections::BTreeMap::<(String, String), usize>::new();
    for request in consumer.plane.audit().since(mark)? {
        if request.is_write()
            && request.group == "example.org"
            && request.user.ends_with(":konnector")
        {
            *writes.entry((request.resource, request.name)).or_default() += 1;
        }
    }
    ensure!(!writes.is_empty(), "the audit log shows nothing");
    let most = writes.values().max();
    ensure!(most <= Some(&8), "{writes:?}");
    Ok(())
}
