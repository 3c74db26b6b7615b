//! Keeps the schemas of every export (contract section 4.3): they exist, follow their source where that
//! was asked for, belong to the exports that use them, and every change is announced by the hash on
//! the export, which is the event that konnectors wait for.

mod decide;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::{APIServiceExport, BoundSchema};
use kube_bind_crds::conditions;
use kube_bind_crds::names::ANNOTATION_SOURCE_SPEC_HASH;
use kube_bind_crds::schema;
use kube_bind_runtime::apply::timed;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Scoped};
use super::error::{Error, RESYNC};
use super::sources::{Change, Sources};
use super::{Context, seen, status, tolerant};
use crate::provision::ensure;
use decide::{Decision, Observed};

const NAME: &str = "export";
const CONCURRENCY: u16 = 4;
/// When a write that was refused is tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Serves all exports until `stop`.
pub async fn run(context: Context, sources: Sources, stop: CancellationToken) {
    let driver = Driver::<APIServiceExport>::new(context, NAME, seen::without_status);
    let (by_schema, by_source) = (driver.store(), driver.store());
    let changes = sources.changes();
    driver
        // Metadata only: the schemas of a thousand consumers are large. What konnectors write into
        // their status changes no fingerprint.
        .watches::<BoundSchema>(
            watcher::Config::default(),
            seen::without_status,
            move |schema| {
                let (namespace, name) = (schema.namespace(), schema.name_any());
                using(&by_schema, |export| {
                    export.metadata.namespace == namespace
                        && export
                            .spec
                            .resources
                            .iter()
                            .any(|r| schema::name(&r.group_resource) == name)
                })
            },
        )
        .on(changes.flat_map(move |change| {
            let concerned = using(&by_source, |export| match &change {
                Change::Unknown => true,
                Change::Of(crd) => export
                    .spec
                    .resources
                    .iter()
                    .any(|r| schema::name(&r.group_resource) == *crd),
            });
            futures::stream::iter(concerned)
        }))
        .run(sources, CONCURRENCY, stop, reconcile)
        .await;
}

fn using(
    store: &Store<APIServiceExport>,
    concerned: impl Fn(&APIServiceExport) -> bool,
) -> Vec<ObjectRef<APIServiceExport>> {
    store
        .state_filter(concerned)
        .iter()
        .map(|export| ObjectRef::from_obj(&**export))
        .collect()
}

async fn reconcile(
    export: Arc<APIServiceExport>,
    scoped: Arc<Scoped<Sources>>,
) -> Result<Action, Error> {
    if export.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let settings = &scoped.context.settings;
    let observed = observe(&export, &scoped).await?;
    let mut decision = decide::decide(&export, &observed);
    let mut next = RESYNC;
    if let Err(error) = apply(&export, &decision, &scoped).await {
        let Some(message) = error.refusal() else {
            return Err(error);
        };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            export.name = %export.name_any(),
            "failed to write the schemas of an export"
        );
        decision.condition = decide::write_refused(message);
        next = LOOK_AGAIN;
    }
    report(&export, &decision, &scoped).await?;
    // Every change of a source is seen by a watch; this is for what was missed.
    let follows = observed.exports.iter().any(decide::follows_source);
    Ok(Action::requeue(if follows {
        settings.schema_sync_interval.min(next)
    } else {
        next
    }))
}

async fn observe(export: &APIServiceExport, scoped: &Scoped<Sources>) -> Result<Observed, Error> {
    let namespace = export.namespace().unwrap_or_default();
    let client = &scoped.context.client;
    let exports = tolerant::list(&Api::namespaced(client.clone(), &namespace))
        .await
        .map_err(Error::request("list exports"))?;
    let api: Api<BoundSchema> = Api::namespaced(client.clone(), &namespace);
    let (mut schemas, mut sources) = (BTreeMap::new(), BTreeMap::new());
    for resource in &export.spec.resources {
        let name = schema::name(&resource.group_resource);
        if let Some(crd) = scoped.state.crd(&resource.group_resource) {
            sources.insert(name.clone(), Arc::new(crd));
        }
        let step = Error::request(format!("read BoundSchema {name}"));
        if let Some(existing) = timed(api.get_opt(&name)).await.map_err(step)? {
            schemas.insert(name, existing);
        }
    }
    Ok(Observed {
        exports,
        schemas,
        sources,
    })
}

async fn apply(
    export: &APIServiceExport,
    decision: &Decision,
    scoped: &Scoped<Sources>,
) -> Result<(), Error> {
    let namespace = export.namespace().unwrap_or_default();
    let (client, manager) = (&scoped.context.client, scoped.manager());
    let Decision {
        create,
        patch,
        hash,
        condition: _,
    } = decision;
    let api: Api<BoundSchema> = Api::namespaced(client.clone(), &namespace);
    for new in create {
        let step = Error::request(format!("create BoundSchema {}", new.name_any()));
        if !ensure::create(&api, new, &manager).await.map_err(step)? {
            return Err(Error::waiting(
                "a BoundSchema has just been made by somebody",
            ));
        }
    }
    let params = PatchParams {
        field_manager: Some(manager),
        ..PatchParams::default()
    };
    for (name, operations) in patch {
        change(&api, name, operations, &params).await?;
    }
    // Last: whoever sees the new hash finds the new schemas.
    if let Some(hash) = hash
        && export.annotations().get(ANNOTATION_SOURCE_SPEC_HASH) != Some(hash)
    {
        let api: Api<APIServiceExport> = Api::namespaced(client.clone(), &namespace);
        let patch = json!({ "metadata": {
            "uid": export.uid(),
            "annotations": { ANNOTATION_SOURCE_SPEC_HASH: hash },
        }});
        timed(api.patch_metadata(&export.name_any(), &params, &Patch::Merge(patch)))
            .await
            .map_err(Error::request("announce the schemas"))?;
    }
    Ok(())
}

async fn change(
    api: &Api<BoundSchema>,
    name: &str,
    operations: &Value,
    params: &PatchParams,
) -> Result<(), Error> {
    let patch =
        serde_json::from_value(operations.clone()).expect("operations are built as a JSON patch");
    match timed(api.patch(name, params, &Patch::<()>::Json(patch))).await {
        Ok(_) => Ok(()),
        // The test on the resourceVersion failed.
        Err(kube::Error::Api(status))
            if status.is_conflict() || status.is_invalid() && is_failed_test(&status) =>
        {
            Err(Error::waiting(format!(
                "BoundSchema {name} was changed by somebody: {}",
                status.message
            )))
        }
        Err(source) => Err(Error::request(format!("change BoundSchema {name}"))(source)),
    }
}

/// A JSON patch whose test fails and one whose result is invalid get the same code.
fn is_failed_test(status: &kube::core::Status) -> bool {
    status
        .details
        .as_ref()
        .is_none_or(|details| details.causes.is_empty())
}

async fn report(
    export: &APIServiceExport,
    decision: &Decision,
    scoped: &Scoped<Sources>,
) -> Result<(), Error> {
    let namespace = export.namespace().unwrap_or_default();
    let client = scoped.context.client.clone();
    let api: Api<APIServiceExport> = Api::namespaced(client, &namespace);
    // The status is read again: the announcement has changed the object, and the known one may be old,
    // because changes of the status alone start no reconcile.
    let Some(fresh) = timed(api.get_opt(&export.name_any()))
        .await
        .map_err(Error::request("read the export"))?
    else {
        return Ok(());
    };
    let current = fresh.status.clone().unwrap_or_default();
    let mut wanted = current.clone();
    conditions::set(
        &mut wanted.conditions,
        decision.condition.clone(),
        scoped.context.clock.now(),
    );
    let changed = status::report(&api, &fresh, &current, &wanted, &scoped.manager())
        .await
        .map_err(Error::request("write the status"))?;
    let in_sync = conditions::get(&wanted.conditions, conditions::types::PROVIDER_IN_SYNC);
    if changed && let Some(condition) = in_sync {
        let (events, object) = (&scoped.context.events, export.object_ref(&()));
        match &condition.reason {
            None => {
                events
                    .normal(&object, "ProviderInSync", "all schemas are in place")
                    .await;
            }
            Some(reason) => {
                events
                    .warning(
                        &object,
                        reason,
                        condition.message.clone().unwrap_or_default(),
                    )
                    .await;
            }
        }
    }
    Ok(())
}
