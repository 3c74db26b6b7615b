//! Claimed objects of the three claimable kinds, and an offering that claims them in every way.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use serde_json::{Value, json};

use crate::cluster::ControlPlane;
use crate::objects::{api, wait_until};
use crate::widgets;

/// Plural and kind.
pub const KINDS: [(&str, &str); 3] = [
    ("secrets", "Secret"),
    ("configmaps", "ConfigMap"),
    ("serviceaccounts", "ServiceAccount"),
];

/// The label that the offering selects.
pub const LABELLED: (&str, &str) = ("example.org/claimed", "yes");
/// The names that the offering selects.
pub const NAMED: [&str; 2] = ["named-own", "named-lent"];

const CONTENT: &str = "example.org/content";

/// Objects of one claimable kind.
pub fn objects(plane: &ControlPlane, kind: &str, namespace: &str) -> Api<DynamicObject> {
    api(plane.client(), ("", "v1", kind), namespace)
}

/// An object of one of the kinds; an account has no content but an annotation.
pub fn object(kind: &str, name: &str, content: &str) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {"name": name, "labels": {}, "annotations": {CONTENT: content}},
    });
    match kind {
        "Secret" => object["data"] = json!({"content": STANDARD.encode(content)}),
        "ConfigMap" => object["data"] = json!({"content": content}),
        _ => {}
    }
    object
}

/// The same with the label that the offering selects.
pub fn labelled(mut object: Value) -> Value {
    object["metadata"]["labels"][LABELLED.0] = LABELLED.1.into();
    object
}

/// Whether an object has this content.
pub fn has(found: &DynamicObject, content: &str) -> bool {
    let data = found.data.get("data").map(|data| &data["content"]);
    let whole = data.is_none_or(|data| *data == content || *data == STANDARD.encode(content));
    whole
        && found
            .annotations()
            .get(CONTENT)
            .is_some_and(|found| found == content)
}

/// Waits for the copy of an object, with this content and marked as its owner's.
pub async fn wait_copy(
    copies: &Api<DynamicObject>,
    name: &str,
    content: &str,
    owner: &str,
) -> Result<DynamicObject> {
    let copy = wait_until(copies, name, "a copy", |found| has(found, content)).await?;
    let label = copy.labels().get("kube-bind.io/owner");
    ensure!(label.is_some_and(|l| l == owner), "{:?}", copy.metadata);
    Ok(copy)
}

/// What is claimed of one kind: by label, by name, and by what `spec.related` of `plural` names.
pub fn claim(resource: &str, plural: &str) -> Value {
    json!({
        "group": "", "resource": resource,
        "selector": {
            "labelSelector": {"matchLabels": {LABELLED.0: LABELLED.1}},
            "namedResources": [{"name": NAMED[0], "namespace": "shop"}, {"name": NAMED[1]}],
            "references": [{
                "group": "example.org", "resource": plural, "versions": ["v1"],
                "jsonPath": {"name": "spec.related"},
            }],
        },
    })
}

/// A kind whose objects name related ones.
pub fn crd(plural: &str, kind: &str) -> Value {
    let mut crd = widgets::crd(plural, kind, true);
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["related"] =
        json!({"type": "array", "items": {"type": "string"}});
    crd
}

/// An offering of one kind that makes these claims.
pub fn template(name: &str, plural: &str, claims: &[Value]) -> Value {
    let mut template = widgets::template(name, plural);
    template["spec"]["permissionClaims"] = json!(claims);
    template
}

/// An object of a kind of [`crd`] that names these.
pub fn referrer(kind: &str, name: &str, related: &[&str]) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": name}, "spec": {"related": related}})
}

/// Fails if the object is there.
pub async fn ensure_absent(api: &Api<DynamicObject>, name: &str) -> Result<()> {
    let found = api
        .get_opt(name)
        .await
        .with_context(|| format!("failed to read {name}"))?;
    ensure!(
        found.is_none(),
        "{name} crossed: {:?}",
        found.map(|f| f.metadata)
    );
    Ok(())
}
