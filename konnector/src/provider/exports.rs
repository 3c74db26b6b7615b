//! What the konnector reports on a provider's `APIServiceExport`s and `BoundSchema`s (contract
//! section 5.7). The documents are decided purely; IO: merge patches of `/status`, only when they
//! differ.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceExport, BoundSchema, BoundSchemaStatus, SchemaNames,
};
use kube_bind_crds::conditions::{self, New, Severity, reasons, types};
use kube_bind_runtime::apply;
use serde_json::{Value, json};

use super::Provider;
use crate::consumer::CrdView;
use crate::context::Context;
use crate::fault;
use crate::names::MANAGER_BINDING;

/// The two conditions of an export that no binding uses.
pub fn unbound() -> Vec<New> {
    let message = "the consumer has no binding of this name";
    vec![
        New::false_(
            types::CONNECTED,
            Severity::Info,
            reasons::API_SERVICE_BINDING_NOT_FOUND,
            message,
        ),
        New::false_(
            types::CONSUMER_IN_SYNC,
            Severity::Info,
            reasons::NOT_APPLICABLE,
            message,
        ),
    ]
}

/// The two conditions of an export in use: whether all its schemas can be synced, and whether the
/// binding's CRDs are what it says.
pub fn bound(binding: &APIServiceBinding, invalid_schemas: &[String]) -> Vec<New> {
    let connected = if invalid_schemas.is_empty() {
        New::true_(types::CONNECTED)
    } else {
        New::false_(
            types::CONNECTED,
            Severity::Warning,
            reasons::BOUND_SCHEMAS_NOT_VALID,
            invalid_schemas.join("; "),
        )
    };
    let status = binding.status.as_ref();
    let in_sync = status.and_then(|s| conditions::get(&s.conditions, types::SCHEMA_IN_SYNC));
    let in_sync = match in_sync {
        Some(condition) => New::copied(types::CONSUMER_IN_SYNC, condition),
        None => New::false_(
            types::CONSUMER_IN_SYNC,
            Severity::Info,
            reasons::UNKNOWN,
            "the binding does not say yet",
        ),
    };
    vec![connected, in_sync]
}

/// The patch that sets these conditions beside those of the backend, if any differs.
fn export_patch(export: &APIServiceExport, new: Vec<New>, now: Timestamp) -> Option<Value> {
    let mut conditions = export
        .status
        .as_ref()
        .map(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut changed = false;
    for condition in new {
        changed |= conditions::set(&mut conditions, condition, now);
    }
    // A merge patch replaces the list, so it must be the list that was read.
    changed.then(|| {
        json!({
            "metadata": {"resourceVersion": export.resource_version()},
            "status": {"conditions": conditions},
        })
    })
}

/// Writes the conditions of an export if they differ.
pub async fn report_export(
    provider: &Provider,
    export: &APIServiceExport,
    new: Vec<New>,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let Some(patch) = export_patch(export, new, now) else {
        return Ok(());
    };
    let api: Api<APIServiceExport> =
        Api::namespaced(provider.client.clone(), &provider.cluster_namespace);
    settle(
        apply::timed(api.patch_status(&export.name_any(), &params(), &Patch::Merge(&patch))).await,
    )
}

/// Tells exports without a binding that nobody uses them.
pub async fn report_unbound(ctx: &Context, provider: &Arc<Provider>) -> Result<(), kube::Error> {
    let bindings = ctx.bindings_listed.is_set().then(|| ctx.bindings.state());
    for export in unused(provider.stores.exports(), bindings) {
        report_export(provider, &export, unbound(), ctx.clock.now()).await?;
    }
    Ok(())
}

/// Exports that no binding is named like: one that is may be about to connect, and what it says about
/// the export is its business. None while the bindings are not known.
fn unused(
    exports: Vec<Arc<APIServiceExport>>,
    bindings: Option<Vec<Arc<APIServiceBinding>>>,
) -> Vec<Arc<APIServiceExport>> {
    let Some(bindings) = bindings else {
        return Vec::new();
    };
    let named: BTreeSet<String> = bindings.iter().map(|b| b.name_any()).collect();
    let mut exports = exports;
    exports.retain(|export| !named.contains(&export.name_any()));
    exports
}

/// The status of a bound schema, from the consumer's CRD.
pub fn schema_status(crd: &CrdView, old: &BoundSchemaStatus, now: Timestamp) -> BoundSchemaStatus {
    let mut conditions = Vec::new();
    for condition in crd.conditions.iter().filter(|c| c.type_ != types::READY) {
        let new = match condition.status.as_str() {
            conditions::TRUE => {
                New::true_(&condition.type_).with_reason(&condition.reason, &condition.message)
            }
            conditions::FALSE => New::false_(
                &condition.type_,
                Severity::Error,
                &condition.reason,
                &condition.message,
            ),
            _ => New::unknown(&condition.type_, &condition.reason, &condition.message),
        };
        // The transition time is the CRD's, not ours.
        conditions::set(&mut conditions, new, condition.last_transition_time.0);
    }
    if let Some(ready) = conditions::get(&old.conditions, types::READY) {
        conditions.insert(0, ready.clone());
    }
    conditions::summarize(&mut conditions, now);
    BoundSchemaStatus {
        accepted_names: crd.accepted_names.as_ref().map(|names| SchemaNames {
            plural: names.plural.clone(),
            singular: names.singular.clone().unwrap_or_default(),
            short_names: names.short_names.clone().unwrap_or_default(),
            kind: names.kind.clone(),
            list_kind: names.list_kind.clone().unwrap_or_default(),
            categories: names.categories.clone().unwrap_or_default(),
        }),
        stored_versions: crd.stored_versions.clone(),
        instantiations: old.instantiations.clone(),
        conditions,
    }
}

/// Writes the status of a bound schema if it differs.
pub async fn report_schema(
    provider: &Provider,
    schema: &BoundSchema,
    crd: &CrdView,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let old = schema.status.clone().unwrap_or_default();
    let new = schema_status(crd, &old, now);
    if new == old {
        return Ok(());
    }
    let api: Api<BoundSchema> =
        Api::namespaced(provider.client.clone(), &provider.cluster_namespace);
    let patch = json!({
        "metadata": {"resourceVersion": schema.resource_version()},
        "status": new,
    });
    settle(
        apply::timed(api.patch_status(&schema.name_any(), &params(), &Patch::Merge(&patch))).await,
    )
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER_BINDING.to_owned()),
        ..PatchParams::default()
    }
}

/// A stale read or a vanished object is not a failure: its event is on the way.
fn settle<K>(answer: Result<K, kube::Error>) -> Result<(), kube::Error> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use kube_bind_crds::api::{
        APIServiceBindingSpec, APIServiceBindingStatus, APIServiceExportSpec,
    };

    const LATER: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn the_backends_condition_survives_and_equal_state_is_not_written() {
        let mut export = APIServiceExport::new("widgets", APIServiceExportSpec::default());
        let mut conditions = Vec::new();
        conditions::set(&mut conditions, New::true_(types::PROVIDER_IN_SYNC), LATER);
        export.status = Some(kube_bind_crds::api::APIServiceExportStatus { conditions });
        let patch = export_patch(&export, unbound(), LATER).unwrap();
        let types: Vec<_> = patch["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["type"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(types, ["Connected", "ConsumerInSync", "ProviderInSync"]);
        export.status = serde_json::from_value(patch["status"].clone()).unwrap();
        assert_eq!(export_patch(&export, unbound(), LATER), None);
    }

    #[test]
    fn an_export_without_a_binding_is_said_not_to_be_connected() {
        let export = Arc::new(APIServiceExport::new("widgets", Default::default()));
        let unused = unused(vec![export], Some(Vec::new()));
        let patch = export_patch(&unused[0], unbound(), LATER).unwrap();
        let connected = &patch["status"]["conditions"][0];
        assert_eq!(
            (
                &connected["type"],
                &connected["status"],
                &connected["reason"]
            ),
            (
                &json!("Connected"),
                &json!("False"),
                &json!("APIServiceBindingNotFound")
            )
        );
    }

    #[test]
    fn no_export_is_unused_before_the_bindings_are_known() {
        let export = |name| Arc::new(APIServiceExport::new(name, Default::default()));
        let exports = || vec![export("widgets"), export("gadgets")];
        let binding = APIServiceBinding::new("widgets", APIServiceBindingSpec::default());
        assert_eq!(unused(exports(), None), []);
        let found = unused(exports(), Some(vec![Arc::new(binding)]));
        assert_eq!(found, [export("gadgets")]);
    }

    #[test]
    fn consumer_in_sync_is_the_bindings_schema_in_sync() {
        let mut binding = APIServiceBinding::new("widgets", APIServiceBindingSpec::default());
        let mut conditions = Vec::new();
        conditions::set(&mut conditions, New::true_(types::SCHEMA_IN_SYNC), LATER);
        binding.status = Some(APIServiceBindingStatus {
            conditions,
            ..APIServiceBindingStatus::default()
        });
        assert_eq!(
            bound(&binding, &[]),
            [
                New::true_(types::CONNECTED),
                New::true_(types::CONSUMER_IN_SYNC)
            ]
        );
        let bad = bound(&binding, &["widgets.example.org: no served version".into()]);
        assert_ne!(bad[0], New::true_(types::CONNECTED));
    }

    #[test]
    fn a_bound_schema_shows_the_crd_and_settles() {
        let crd = CrdView {
            conditions: vec![Condition {
                type_: "Established".into(),
                status: "True".into(),
                reason: "InitialNamesAccepted".into(),
                message: "accepted".into(),
                last_transition_time: Time(LATER),
                observed_generation: None,
            }],
            stored_versions: vec!["v1".into()],
            ..CrdView::default()
        };
        let first = schema_status(&crd, &BoundSchemaStatus::default(), LATER);
        assert!(conditions::is_true(&first.conditions, "Established"));
        assert!(conditions::is_true(&first.conditions, types::READY));
        let much_later = LATER + jiff::SignedDuration::from_hours(1);
        assert_eq!(schema_status(&crd, &first, much_later), first);
    }
}
