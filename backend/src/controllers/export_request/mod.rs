//! Turns what consumers ask for into exports (contract section 4.5): schemas, the export, namespaces
//! made in advance. `decide` and `offer` judge; every outcome is a condition with a reason.
//!
//! A request is an order, not a state: once it is finished nothing depends on it, and it is deleted
//! when it is ten minutes old.

mod decide;
mod offer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Api, ObjectMeta};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::{
    APIServiceExport, APIServiceExportRequest, APIServiceExportRequestStatus, APIServiceNamespace,
    APIServiceNamespaceSpec, BoundSchema, Phase,
};
use kube_bind_crds::conditions::{self, New, Severity, types};
use kube_bind_crds::names::{LABEL_OWNER, OWNER_PROVIDER};
use kube_bind_crds::schema;
use kube_bind_runtime::apply::timed;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Scoped};
use super::error::Error;
use super::sources::{Change, Sources, crd_name};
use super::{Context, seen, status};
use crate::provision::ensure;
pub(crate) use decide::schema_reason;
use decide::{Grant, NOT_OFFERED, Observed, Problem};

const NAME: &str = "export-request";
const CONCURRENCY: u16 = 4;
/// Age at which a finished request is deleted.
const KEEP: Duration = Duration::from_secs(10 * 60);
/// What a request waits for is watched; this is for what was missed.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Serves all requests until `stop`.
pub async fn run(context: Context, sources: Sources, stop: CancellationToken) {
    let client = context.client.clone();
    let api = Api::<APIServiceExportRequest>::all(client.clone());
    let driver = Driver::new(NAME, api, seen::without_status);
    let store = driver.store();
    let changes = sources.changes();
    driver
        .watches::<APIServiceExport>(
            Api::all(client),
            watcher::Config::default(),
            seen::without_status,
            |export| {
                let namespace = export.namespace().unwrap_or_default();
                vec![ObjectRef::new(&export.name_any()).within(&namespace)]
            },
        )
        .on(changes.flat_map(move |change| futures::stream::iter(waiting_for(&store, &change))))
        .run(context, sources, CONCURRENCY, stop, reconcile)
        .await;
}

fn waiting_for(
    store: &Store<APIServiceExportRequest>,
    change: &Change,
) -> Vec<ObjectRef<APIServiceExportRequest>> {
    let concerned = store.state_filter(|request| {
        phase(request) == Phase::Pending
            && match change {
                Change::Unknown => true,
                Change::Of(crd) => request
                    .spec
                    .resources
                    .iter()
                    .any(|r| crd_name(&r.group_resource) == *crd),
            }
    });
    concerned
        .iter()
        .map(|request| ObjectRef::from_obj(&**request))
        .collect()
}

fn phase(request: &APIServiceExportRequest) -> Phase {
    request
        .status
        .as_ref()
        .map(|status| status.phase)
        .unwrap_or_default()
}

async fn reconcile(
    request: Arc<APIServiceExportRequest>,
    scoped: Arc<Scoped<Sources>>,
) -> Result<Action, Error> {
    if request.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    if phase(&request) != Phase::Pending {
        return finish(&request, &scoped).await;
    }
    let settings = &scoped.context.settings;
    let mut observed = observe(&request, &scoped).await?;
    let mut decision = decide::decide(&request, &observed, settings);
    if decision
        .as_ref()
        .is_err_and(|problem| problem.reason == NOT_OFFERED)
    {
        let now = scoped.state.templates_now().await;
        observed.templates = now.map_err(Error::request("list templates"))?;
        decision = decide::decide(&request, &observed, settings);
    }
    if let Ok(grant) = &decision {
        apply(&request, grant, &scoped).await?;
    }
    report(&request, &decision, &scoped).await
}

async fn observe(
    request: &APIServiceExportRequest,
    scoped: &Scoped<Sources>,
) -> Result<Observed, Error> {
    let namespace = request.namespace().unwrap_or_default();
    let client = &scoped.context.client;
    let bound: Api<BoundSchema> = Api::namespaced(client.clone(), &namespace);
    let (mut sources, mut schemas) = (BTreeMap::new(), BTreeMap::new());
    for resource in &request.spec.resources {
        let name = schema::name(&resource.group_resource);
        if let Some(crd) = scoped.state.crd(&resource.group_resource) {
            sources.insert(name.clone(), crd);
        }
        let step = Error::request(format!("read BoundSchema {name}"));
        if let Some(existing) = timed(bound.get_opt(&name)).await.map_err(step)? {
            schemas.insert(name, existing);
        }
    }
    let exports: Api<APIServiceExport> = Api::namespaced(client.clone(), &namespace);
    let export = timed(exports.get_opt(&request.name_any()))
        .await
        .map_err(Error::request("read the export"))?;
    Ok(Observed {
        templates: scoped.state.templates(),
        sources,
        schemas,
        export,
    })
}

/// Makes what was granted, schemas first: a konnector that sees an export reads its schemas at once.
async fn apply(
    request: &APIServiceExportRequest,
    grant: &Grant,
    scoped: &Scoped<Sources>,
) -> Result<(), Error> {
    let namespace = request.namespace().unwrap_or_default();
    let (client, manager) = (&scoped.context.client, scoped.manager());
    let Grant { schemas, export } = grant;
    let api: Api<BoundSchema> = Api::namespaced(client.clone(), &namespace);
    for new in schemas {
        let name = new.name_any();
        let step = Error::request(format!("create BoundSchema {name}"));
        if !ensure::create(&api, new, &manager).await.map_err(step)? {
            return Err(Error::waiting(format!(
                "BoundSchema {name} has just been made by somebody"
            )));
        }
    }
    if let Some(export) = export {
        let api: Api<APIServiceExport> = Api::namespaced(client.clone(), &namespace);
        let step = Error::request("create the export");
        if !ensure::create(&api, export, &manager).await.map_err(step)? {
            return Err(Error::waiting("the export has just been made by somebody"));
        }
    }
    let api: Api<APIServiceNamespace> = Api::namespaced(client.clone(), &namespace);
    for wanted in &request.spec.namespaces {
        // Shared by all exports of the consumer, so it is owned by none of them.
        let object = APIServiceNamespace {
            metadata: ObjectMeta {
                name: Some(wanted.name.clone()),
                namespace: Some(namespace.clone()),
                labels: Some([(LABEL_OWNER.to_owned(), OWNER_PROVIDER.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: APIServiceNamespaceSpec {},
            status: None,
        };
        let step = Error::request(format!("create APIServiceNamespace {}", wanted.name));
        ensure::create(&api, &object, &manager)
            .await
            .map_err(step)?;
    }
    Ok(())
}

async fn report(
    request: &APIServiceExportRequest,
    decision: &Result<Grant, Problem>,
    scoped: &Scoped<Sources>,
) -> Result<Action, Error> {
    let now = scoped.context.clock.now();
    let current = request.status.clone().unwrap_or_default();
    let wanted = wanted_status(&current, decision, now);
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<APIServiceExportRequest> =
        Api::namespaced(scoped.context.client.clone(), &namespace);
    let changed = status::report(&api, request, &current, &wanted, &scoped.manager())
        .await
        .map_err(Error::request("write the status"))?;
    let (events, object) = (&scoped.context.events, request.object_ref(&()));
    match decision {
        Ok(_) => {
            if changed {
                events
                    .normal(&object, "Exported", "the export has been made")
                    .await;
            }
            Ok(Action::requeue(left(request, now).unwrap_or_default()))
        }
        Err(Problem {
            reason,
            message,
            is_final,
            ..
        }) => {
            if changed {
                events.warning(&object, reason, message.clone()).await;
            }
            Ok(Action::requeue(if *is_final { KEEP } else { LOOK_AGAIN }))
        }
    }
}

fn wanted_status(
    current: &APIServiceExportRequestStatus,
    decision: &Result<Grant, Problem>,
    now: Timestamp,
) -> APIServiceExportRequestStatus {
    let mut wanted = current.clone();
    let all = &mut wanted.conditions;
    match decision {
        Ok(_) => {
            conditions::set(all, New::true_(types::PERMISSION_CLAIM), now);
            conditions::set(all, New::true_(types::EXPORTS_READY), now);
            wanted.phase = Phase::Succeeded;
        }
        Err(Problem {
            condition,
            reason,
            message,
            is_final,
        }) => {
            // The claims are checked first, so any other problem means that they are fine.
            if *condition != types::PERMISSION_CLAIM {
                conditions::set(all, New::true_(types::PERMISSION_CLAIM), now);
            }
            let failed = New::false_(*condition, Severity::Error, *reason, message.clone());
            conditions::set(all, failed, now);
            if *is_final {
                wanted.phase = Phase::Failed;
                wanted.terminal_message = Some(message.clone());
            }
        }
    }
    conditions::summarize(&mut wanted.conditions, now);
    wanted
}

async fn finish(
    request: &APIServiceExportRequest,
    scoped: &Scoped<Sources>,
) -> Result<Action, Error> {
    if let Some(left) = left(request, scoped.context.clock.now()) {
        return Ok(Action::requeue(left));
    }
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<APIServiceExportRequest> =
        Api::namespaced(scoped.context.client.clone(), &namespace);
    ensure::delete(&api, request)
        .await
        .map_err(Error::request("delete the finished request"))?;
    Ok(Action::await_change())
}

/// How long a finished request stays, if it still does.
fn left(request: &APIServiceExportRequest, now: Timestamp) -> Option<Duration> {
    let created = request.metadata.creation_timestamp.as_ref()?.0;
    let age = Duration::try_from(now.duration_since(created)).unwrap_or(Duration::ZERO);
    KEEP.checked_sub(age).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests;
