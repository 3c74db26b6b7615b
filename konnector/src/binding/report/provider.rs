//! What the provider is told about its export and its schemas. IO: patches, only when they differ.

use std::sync::Arc;

use kube::ResourceExt;
use kube_bind_crds::api::{APIServiceBinding, GroupResource};
use kube_bind_crds::schema;

use super::super::Error;
use super::super::crds::Owner;
use super::super::facts::{Facts, KindState};
use super::super::reconcile::Observed;
use super::has_schema;
use crate::provider::{LinkState, exports};
use crate::supervisor::Supervisor;

fn is_installed(state: &KindState) -> bool {
    matches!(
        state,
        KindState::Installed(_)
            | KindState::Held(..)
            | KindState::NotEstablished
            | KindState::UpdateFailed(..)
    )
}

/// Writes what the provider is told about its export and its schemas, if it differs.
pub(in super::super) async fn provider(
    supervisor: &Arc<Supervisor>,
    binding: &APIServiceBinding,
    observed: &Observed,
    facts: &Facts,
) -> Result<(), Error> {
    let (Some(provider), Some(export)) = (observed.provider(), &observed.export) else {
        return Ok(());
    };
    if provider.link.state() != LinkState::Up {
        return Ok(());
    }
    let failed = |step: &'static str| {
        move |source| {
            provider.link.check();
            Error::Provider { step, source }
        }
    };
    let now = supervisor.ctx.clock.now();
    let invalid: Vec<String> = facts
        .kinds
        .iter()
        .filter(|kind| !has_schema(&kind.state))
        .map(|kind| match &kind.state {
            KindState::Unusable(why) => format!("{}: {why}", kind.name),
            _ => format!("{}: there is no bound schema", kind.name),
        })
        .collect();
    exports::report_export(provider, export, exports::bound(binding, &invalid), now)
        .await
        .map_err(failed("report the state of the export"))?;
    let owner = Owner {
        name: binding.name_any(),
        uid: binding.uid().unwrap_or_default(),
    };
    for resource in &export.spec.resources {
        let resource: &GroupResource = &resource.group_resource;
        // Without the rights for a kind its CRD cannot be read either.
        let installed = facts
            .kinds
            .iter()
            .any(|kind| kind.name == schema::name(resource) && is_installed(&kind.state));
        if !installed {
            continue;
        }
        let name = schema::name(resource);
        let crd = supervisor
            .crds
            .get(&name)
            .await
            .map_err(|source| Error::Consumer {
                step: "read a custom resource definition",
                source,
            })?;
        if let (Some(crd), Some(bound)) = (crd, provider.stores.schema(resource))
            && owner.owns(&crd)
        {
            exports::report_schema(provider, &bound, &crd, now)
                .await
                .map_err(failed("report the state of a bound schema"))?;
        }
    }
    Ok(())
}
