//! Our finalizer on a binding. IO: one merge patch, only when needed.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use kube_bind_crds::api::APIServiceBinding;
use kube_bind_crds::names::FINALIZER_BINDING;
use kube_bind_runtime::apply;
use serde_json::json;

use super::Error;
use crate::context::Context;
use crate::fault;
use crate::names::MANAGER_BINDING;

/// Puts our finalizer on a binding; says whether that was needed.
pub(super) async fn add(ctx: &Context, binding: &APIServiceBinding) -> Result<bool, Error> {
    if binding.finalizers().iter().any(|f| f == FINALIZER_BINDING) {
        return Ok(false);
    }
    let mut finalizers = binding.finalizers().to_vec();
    finalizers.push(FINALIZER_BINDING.to_owned());
    set_finalizers(ctx, binding, &finalizers).await?;
    Ok(true)
}

pub(super) async fn release(ctx: &Context, binding: &APIServiceBinding) -> Result<(), Error> {
    let finalizers: Vec<String> = binding
        .finalizers()
        .iter()
        .filter(|f| *f != FINALIZER_BINDING)
        .cloned()
        .collect();
    set_finalizers(ctx, binding, &finalizers).await?;
    tracing::info!(
        binding.name = %binding.name_any(),
        "unbound {}",
        binding.name_any()
    );
    Ok(())
}

async fn set_finalizers(
    ctx: &Context,
    binding: &APIServiceBinding,
    finalizers: &[String],
) -> Result<(), Error> {
    let api: Api<APIServiceBinding> = Api::all(ctx.client.clone());
    let patch = json!({"metadata": {
        "uid": binding.uid(),
        "resourceVersion": binding.resource_version(),
        "finalizers": finalizers,
    }});
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
            step: "set the finalizers of the binding",
            source,
        }),
    }
}
