//! Our finalizer on a binding, and whose objects it has. IO: one merge patch, only when needed.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use kube_bind_crds::api::APIServiceBinding;
use kube_bind_crds::names::FINALIZER_BINDING;
use kube_bind_runtime::apply;
use serde_json::{Value, json};

use super::Error;
use crate::context::Context;
use crate::fault;
use crate::names::{ANNOTATION_PROVIDER_CLUSTER, MANAGER_BINDING};

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
/// restart; says whether that was needed.
pub(super) async fn provider(
    ctx: &Context,
    binding: &APIServiceBinding,
    uid: &str,
) -> Result<bool, Error> {
    let known = binding.annotations().get(ANNOTATION_PROVIDER_CLUSTER);
    if known.is_some_and(|known| known == uid) {
        return Ok(false);
    }
    let annotations = json!({ANNOTATION_PROVIDER_CLUSTER: uid});
    patch(ctx, binding, json!({"annotations": annotations})).await?;
    Ok(true)
}

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
