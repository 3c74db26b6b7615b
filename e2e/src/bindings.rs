//! What an administrator of a consumer looks at and sets: bindings, their conditions and switches.

use anyhow::{Context, Result};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::ControlPlane;
use crate::objects::{api, condition, wait_until};

/// A kind of ours on either side.
pub fn ours(plane: &ControlPlane, kind: &str, namespace: &str) -> Api<DynamicObject> {
    api(
        plane.client(),
        ("kube-bind.io", "v1alpha2", kind),
        namespace,
    )
}

/// All bindings.
pub fn bindings(consumer: &ControlPlane) -> Api<DynamicObject> {
    ours(consumer, "APIServiceBinding", "")
}

/// All CRDs.
pub fn definitions(plane: &ControlPlane) -> Api<DynamicObject> {
    let kind = ("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    api(plane.client(), kind, "")
}

/// Changes an object as a user would.
pub async fn merge(api: &Api<DynamicObject>, name: &str, patch: Value) -> Result<DynamicObject> {
    let params = PatchParams::default();
    api.patch(name, &params, &Patch::Merge(&patch))
        .await
        .with_context(|| format!("failed to patch {name}"))
}

/// Changes the status as an operator would.
pub async fn merge_status(
    api: &Api<DynamicObject>,
    name: &str,
    patch: Value,
) -> Result<DynamicObject> {
    let params = PatchParams::default();
    api.patch_status(name, &params, &Patch::Merge(&patch))
        .await
        .with_context(|| format!("failed to patch the status of {name}"))
}

/// Sets an annotation of a binding, or takes it off.
pub async fn switch(
    consumer: &ControlPlane,
    binding: &str,
    (key, value): (&str, Option<&str>),
) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {key: value}}});
    merge(&bindings(consumer), binding, patch).await?;
    Ok(())
}

/// Waits until a condition of a binding says this, and gives its message. Reason `*` is any.
pub async fn says(
    consumer: &ControlPlane,
    binding: &str,
    kind: &str,
    (status, reason): (&str, &str),
) -> Result<String> {
    let what = format!("{kind}={status} {reason}");
    let is = |b: &DynamicObject| {
        condition(b, kind).filter(|(s, r, _)| s == status && (r == reason || reason == "*"))
    };
    let found = wait_until(&bindings(consumer), binding, &what, |b| is(b).is_some()).await?;
    let (.., message) = is(&found).context("it has just been there")?;
    Ok(message)
}

/// The provider makes an export anew, changed; its spec cannot be changed in place.
pub async fn renew_export(
    exports: &Api<DynamicObject>,
    name: &str,
    change: impl FnOnce(&mut Value),
) -> Result<()> {
    let export = exports.get(name).await?;
    let mut spec = export.data["spec"].clone();
    change(&mut spec);
    let fresh = json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExport", "spec": spec,
        "metadata": {"name": name, "annotations": export.annotations(), "labels": export.labels()},
    });
    exports.delete(name, &Default::default()).await?;
    crate::wait_for("a new export", || crate::objects::create(exports, &fresh)).await?;
    Ok(())
}
