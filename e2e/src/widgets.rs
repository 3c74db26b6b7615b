//! A small service without an operator: a kind of our own, for tests that must know every request.
//! The test is its operator: it writes the status of the copies.

use anyhow::Result;
use kube::api::{Api, DynamicObject};
use serde_json::{Value, json};

use crate::cluster::ControlPlane;
use crate::consumer::Consumer;
use crate::objects;
use crate::provider::{Provider, ProviderOptions};

/// Name of the offering.
pub const TEMPLATE: &str = "widgets";

/// Widgets of one namespace.
pub fn widgets(plane: &ControlPlane, namespace: &str) -> Api<DynamicObject> {
    objects::api(plane.client(), ("example.org", "v1", "Widget"), namespace)
}

/// A widget as a user would write it.
pub fn widget(name: &str, size: i64) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size, "colours": ["red"]}})
}

/// The kind, labelled as exported.
pub fn crd(plural: &str, kind: &str, served: bool) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.org"), "labels": {"kube-bind.io/exported": "true"}},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{
                "name": "v1",
                "served": served,
                "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object",
                            "properties": {
                                "size": {"type": "integer", "minimum": 0},
                                "colours": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                                "finish": {"type": "string", "default": "matt"},
                            },
                        },
                        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                    },
                }},
            }],
        },
    })
}

/// An offering of one kind without claims.
pub fn template(name: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "kube-bind.io/v1alpha2",
        "kind": "APIServiceExportTemplate",
        "metadata": {"name": name},
        "spec": {"scope": "Namespaced", "resources": [{"group": "example.org", "resource": plural, "versions": ["v1"]}]},
    })
}

/// Puts kinds and their offerings in place.
pub async fn offer_all(provider: &Provider, offers: &[Value]) -> Result<()> {
    provider.apply(offers).await?;
    for crd in offers {
        if crd["kind"] != "CustomResourceDefinition" {
            continue;
        }
        let name = crd["metadata"]["name"].as_str().unwrap_or_default();
        let name = format!("crd/{name}");
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            &name,
        ];
        provider.plane.kubectl(&wait).await?;
    }
    Ok(())
}

/// Puts widgets and their offering in place.
pub async fn offer(provider: &Provider) -> Result<()> {
    offer_all(provider, &offers()).await
}

fn offers() -> [Value; 2] {
    [
        crd("widgets", "Widget", true),
        template(TEMPLATE, "widgets"),
    ]
}

/// A provider that offers this and a consumer that has bound nothing yet.
pub async fn started_with(offers: &[Value]) -> Result<(Provider, Consumer)> {
    let options = ProviderOptions {
        without_operator: true,
        ..ProviderOptions::default()
    };
    let (provider, consumer) =
        tokio::try_join!(Provider::start(options), Consumer::start("consumer"))?;
    offer_all(&provider, offers).await?;
    Ok((provider, consumer))
}

/// Binds an offering through sign-in and consent, with further arguments.
pub async fn bind(
    provider: &Provider,
    consumer: &Consumer,
    template: &str,
    more: &[&str],
) -> Result<()> {
    let args = [&["--template-name", template], more].concat();
    consumer
        .bind_reporting(&provider.url(), &provider.alice, &args, |_| {})
        .await?
        .success()?;
    Ok(())
}

/// A provider that offers widgets and a consumer that has bound them.
pub async fn bound() -> Result<(Provider, Consumer)> {
    let (provider, consumer) = started_with(&offers()).await?;
    bind(&provider, &consumer, TEMPLATE, &[]).await?;
    Ok((provider, consumer))
}

/// Offers one more kind, to follow the provider's schema, and binds it under its plural.
pub async fn bind_kind(provider: &Provider, consumer: &Consumer, crd: &Value) -> Result<()> {
    let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
    let mut template = template(plural, plural);
    template["spec"]["schemaUpdatePolicy"] = "Always".into();
    template["spec"]["resources"] = json!([{"group": "example.org", "resource": plural}]);
    offer_all(provider, &[crd.clone(), template]).await?;
    let url = provider.url();
    let args = [
        "bind",
        &url,
        "--template-name",
        plural,
        "--name",
        plural,
        "--yes",
    ];
    consumer.run_plugin(&args).await?.success()?;
    Ok(())
}
