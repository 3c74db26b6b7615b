//! Our finalizer on a binding, whose objects it has, and which kinds. IO: one merge patch, only when needed.

use std::collections::BTreeMap;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use kube_bind_crds::api::{APIServiceBinding, APIServiceExport};
use kube_bind_crds::names::{ANNOTATION_PROVIDER_CLUSTER, ANNOTATION_RESOURCES, FINALIZER_BINDING};
use kube_bind_crds::switches::ACCEPT;
use kube_bind_runtime::apply;
use serde_json::{Value, json};

use super::Error;
use crate::context::Context;
use crate::fault;
use crate::names::MANAGER_BINDING;
use crate::recorded;

/// Puts our finalizer on a binding; says whether that was needed.
pub(super) async fn finalizer(ctx: &Context, binding: &APIServiceBinding) -> Result<bool, Error> {
    if binding.finalizers().iter().any(|f| f == FINALIZER_BINDING) {
        return Ok(false);
    }
    let mut finalizers = binding.finalizers().to_vec();
    finalizers.push(FINALIZER_BINDING.to_owned());
    patch(ctx, binding, json!({"finalizers": finalizers})).await?;
    Ok(true)
}

/// Puts the provider's identity on a binding before anything is synced with it, so that it survives a
/// restart, and with it what is bound and claimed; says whether that was needed.
pub(super) async fn provider(
    ctx: &Context,
    binding: &APIServiceBinding,
    uid: &str,
    export: &APIServiceExport,
) -> Result<bool, Error> {
    let annotations = annotations(binding, uid, export);
    if annotations.is_empty() {
        return Ok(false);
    }
    patch(ctx, binding, json!({"annotations": annotations})).await?;
    Ok(true)
}

/// The annotations that a binding lacks.
fn annotations(
    binding: &APIServiceBinding,
    uid: &str,
    export: &APIServiceExport,
) -> BTreeMap<&'static str, String> {
    let mut wanted = BTreeMap::from([
        (ANNOTATION_PROVIDER_CLUSTER, uid.to_owned()),
        (ANNOTATION_RESOURCES, recorded::mark(export)),
    ]);
    wanted.retain(|key, value| binding.annotations().get(*key) != Some(value));
    wanted
}

/// Takes the acceptance off that has taken effect, so that it accepts nothing else later.
pub(super) async fn accepted(ctx: &Context, binding: &APIServiceBinding) -> Result<(), Error> {
    if !binding.annotations().contains_key(ACCEPT) {
        return Ok(());
    }
    patch(ctx, binding, json!({"annotations": {ACCEPT: null}})).await
}

/// Takes our finalizer off.
pub(super) async fn release(ctx: &Context, binding: &APIServiceBinding) -> Result<(), Error> {
    let finalizers: Vec<String> = binding
        .finalizers()
        .iter()
        .filter(|f| *f != FINALIZER_BINDING)
        .cloned()
        .collect();
    patch(ctx, binding, json!({"finalizers": finalizers})).await?;
    tracing::info!(
        binding.name = %binding.name_any(),
        "unbound {}",
        binding.name_any()
    );
    Ok(())
}

async fn patch(
    ctx: &Context,
    binding: &APIServiceBinding,
    mut metadata: Value,
) -> Result<(), Error> {
    let api: Api<APIServiceBinding> = Api::all(ctx.client.clone());
    metadata["uid"] = json!(binding.uid());
    metadata["resourceVersion"] = json!(binding.resource_version());
    let patch = json!({"metadata": metadata});
    let params = PatchParams {
        field_manager: Some(MANAGER_BINDING.to_owned()),
        ..PatchParams::default()
    };
    let name = binding.name_any();
    match apply::timed(api.patch(&name, &params, &Patch::Merge(&patch))).await {
        Ok(_) => Ok(()),
        // The event of what is newer brings the next look.
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => Ok(()),
        Err(source) => Err(Error::Consumer {
            step: "mark the binding",
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::from_value;

    fn export(resources: &[&str]) -> APIServiceExport {
        let resources: Vec<Value> = resources
            .iter()
            .map(|resource| json!({"group": "example.org", "resource": resource, "versions": ["v1"]}))
            .collect();
        from_value(json!({
            "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExport",
            "metadata": {"name": "b"},
            "spec": {"resources": resources, "informerScope": "Namespaced", "isolation": "Prefixed"},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_bound_is_written_once_whatever_its_order() {
        let mut binding = APIServiceBinding::new("b", Default::default());
        let export_one = export(&["widgets", "gadgets"]);
        let lacking = annotations(&binding, "uid-1", &export_one);
        assert_eq!(
            lacking[ANNOTATION_RESOURCES],
            "gadgets.example.org,widgets.example.org"
        );
        assert_eq!(lacking[ANNOTATION_PROVIDER_CLUSTER], "uid-1");
        for (key, value) in lacking {
            binding.annotations_mut().insert(key.to_owned(), value);
        }
        let other_order = export(&["gadgets", "widgets"]);
        assert!(annotations(&binding, "uid-1", &other_order).is_empty());
        let less = annotations(&binding, "uid-1", &export(&["widgets"]));
        assert_eq!(
            less,
            [(ANNOTATION_RESOURCES, "widgets.example.org".to_owned())].into()
        );
    }
}
