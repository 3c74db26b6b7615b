//! Kinds of several versions: all that the provider serves arrive, but for those that only its webhook
//! could convert, of which a condition tells.

use anyhow::{Result, ensure};
use kube::api::DynamicObject;
use kube_bind_e2e::bindings::{bindings, definitions};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    api, as_consumer, condition, create, create_namespace, service_namespace, wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::widgets;
use serde_json::{Value, json};

use crate::bind;
use crate::kinds;

/// A kind that is served as v1, which is stored, and as v1beta1.
fn crd(plural: &str, kind: &str) -> Value {
    let mut crd = kinds::crd(plural, kind, "Namespaced");
    let mut older = crd["spec"]["versions"][0].clone();
    older["name"] = "v1beta1".into();
    older["storage"] = false.into();
    let newer = crd["spec"]["versions"][0].take();
    crd["spec"]["versions"] = json!([newer, older]);
    crd
}

/// An offering of all versions.
fn template(plural: &str) -> Value {
    let mut template = widgets::template(plural, plural);
    template["spec"]["resources"][0]["versions"] = json!([]);
    template
}

/// Both kinds, on a provider in the usual mode.
pub async fn arrive(provider: &Provider, consumer: &Consumer) -> Result<()> {
    let mut hooked = crd("hookeds", "Hooked");
    hooked["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:9/convert"},
    }});
    let objects = [
        crd("multis", "Multi"),
        hooked,
        template("multis"),
        template("hookeds"),
    ];
    provider.apply(&objects).await?;
    for plural in ["multis", "hookeds"] {
        let crd = format!("crd/{plural}.example.org");
        let args = ["wait", "--for=condition=Established", "--timeout=60s", &crd];
        provider.plane.kubectl(&args).await?;
        bind(provider, consumer, plural).await?;
    }
    let versions = |crd: &DynamicObject| -> Vec<Value> {
        let all = crd.data["spec"]["versions"]
            .as_array()
            .into_iter()
            .flatten();
        all.map(|version| version["name"].clone()).collect()
    };
    let kinds = definitions(&consumer.plane);
    ensure!(versions(&kinds.get("multis.example.org").await?) == ["v1", "v1beta1"]);
    let hooked = kinds.get("hookeds.example.org").await?;
    ensure!(versions(&hooked) == ["v1"]);
    ensure!(hooked.data["spec"]["conversion"]["strategy"] == "None");

    let bindings = bindings(&consumer.plane);
    let says = |binding: &DynamicObject| condition(binding, "SchemaInSync");
    let told = wait_until(
        &bindings,
        "hookeds",
        "why a version is missing",
        |binding| says(binding).is_some_and(|(_, _, message)| message.contains("v1beta1")),
    )
    .await?;
    let (status, reason, message) = says(&told).unwrap_or_default();
    ensure!(
        status == "True" && !reason.is_empty() && message.contains("webhook"),
        "{message}"
    );

    // Written in one version, read in the other, and the one that crosses alone works as well.
    create_namespace(&consumer.plane, "versions").await?;
    for (kind, version) in [("Multi", "v1beta1"), ("Hooked", "v1")] {
        let mine = api(
            consumer.plane.client(),
            ("example.org", version, kind),
            "versions",
        );
        let object = json!({
            "apiVersion": format!("example.org/{version}"), "kind": kind,
            "metadata": {"name": "one"}, "spec": {"size": 3},
        });
        create(&mine, &object).await?;
        let (_, home) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &home, "versions").await?;
        let copy = api(
            provider.plane.client(),
            ("example.org", "v1", kind),
            &service,
        );
        wait_until(&copy, "one", "at the provider", |copy| {
            copy.data["spec"]["size"] == 3
        })
        .await?;
    }
    Ok(())
}
