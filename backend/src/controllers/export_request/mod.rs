//! Turns what consumers ask for into exports (contract section 4.5): schemas, the export, namespaces
//! made in advance. `decide` and `offer` judge; every outcome is a condition with a reason.
//!
//! A request is an order, not a state: once it is finished nothing depends on it, and it is deleted
//! when it is ten minutes old.

mod checks;
mod decide;
mod offer;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::{
    APIServiceExport, APIServiceExportRequest, APIServiceNamespace, APIServiceNamespaceSpec,
    BoundSchema, ClusterBinding, Phase,
};
use kube_bind_crds::names::{CLUSTER_BINDING_NAME, LABEL_OWNER, OWNER_PROVIDER};
use kube_bind_crds::schema;
use kube_bind_runtime::apply::timed;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Scoped};
use super::error::Error;
use super::sources::{Change, Sources};
use super::{Context, seen, tolerant};
use crate::provision::ensure;
use crate::provision::offerings::Permitted;
pub(crate) use decide::schema_reason;
use decide::{Grant, Observed, Problem};
use offer::Offer;
use report::{finish, report};

const NAME: &str = "export-request";
const CONCURRENCY: u16 = 4;

/// Serves all requests until `stop`.
pub async fn run(context: Context, sources: Sources, stop: CancellationToken) {
    // Parameters are as large as consumers like, and nobody reads them.
    let slim = |request: &mut APIServiceExportRequest| request.spec.parameters = None;
    let driver = Driver::slim(context, NAME, seen::without_status, slim);
    let store = driver.store();
    let changes = sources.changes();
    driver
        .watches::<APIServiceExport>(watcher::Config::default(), seen::without_status, |export| {
            let namespace = export.namespace().unwrap_or_default();
            vec![ObjectRef::new(&export.name_any()).within(&namespace)]
        })
        .on(changes.flat_map(move |change| futures::stream::iter(waiting_for(&store, &change))))
        .run(sources, CONCURRENCY, stop, reconcile)
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
                    .any(|r| schema::name(&r.group_resource) == *crd),
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
    let decision = match judge(&request, &scoped).await? {
        Ok(grant) => match apply(&request, &grant, &scoped).await {
            Ok(()) => Ok(grant),
            Err(error) => Err(refused_write(error)?),
        },
        Err(problem) => Err(problem),
    };
    report(&request, &decision, &scoped).await
}

/// A write that is refused is no secret of the provider's log: the consumer waits for it.
fn refused_write(error: Error) -> Result<Problem, Error> {
    let Some(message) = error.refusal() else {
        return Err(error);
    };
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "failed to make what a request was granted"
    );
    Ok(decide::pending("WriteRefused", message))
}

/// Observes and decides, the cheapest first: whoever may write requests can write many.
async fn judge(
    request: &APIServiceExportRequest,
    scoped: &Scoped<Sources>,
) -> Result<Result<Grant, Problem>, Error> {
    if let Err(problem) = decide::check(request) {
        return Ok(Err(problem));
    }
    let mut offer = Offer {
        templates: scoped.state.templates(),
        permitted: observe_permitted(request, scoped).await?,
    };
    if decide::check_offer(request, &offer).is_err() {
        let now = scoped.state.templates_now().await;
        offer.templates = now.map_err(Error::request("list templates"))?;
        if let Err(problem) = decide::check_offer(request, &offer) {
            return Ok(Err(problem));
        }
    }
    let observed = observe(request, scoped).await?;
    Ok(decide::decide(request, &observed, &scoped.context.settings))
}

/// Read from the API server, as the request may follow the bind that permits it at once.
async fn observe_permitted(
    request: &APIServiceExportRequest,
    scoped: &Scoped<Sources>,
) -> Result<Permitted, Error> {
    let namespace = request.namespace().unwrap_or_default();
    let client = &scoped.context.client;
    let bindings: Api<ClusterBinding> = Api::namespaced(client.clone(), &namespace);
    let binding = timed(bindings.get_opt(CLUSTER_BINDING_NAME))
        .await
        .map_err(Error::request("read the ClusterBinding"))?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = timed(namespaces.get_metadata_opt(&namespace))
        .await
        .map_err(Error::request(format!("read namespace {namespace}")))?;
    let found = found.map(|found| found.metadata);
    Ok(Permitted::of(binding.as_ref(), found.as_ref()))
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
    let mut of_others = BTreeSet::new();
    if checks::depends_on_others(&sources, &scoped.context.settings) {
        // Not from a store, which may be behind; who is let in too early gets no rights.
        let all = tolerant::list::<APIServiceExport>(&Api::all(client.clone()))
            .await
            .map_err(Error::request("list the exports of all consumers"))?;
        let others = all.iter().filter(|other| {
            other.metadata.namespace.as_deref() != Some(&namespace)
                && other.metadata.deletion_timestamp.is_none()
        });
        let resources = others.flat_map(|other| &other.spec.resources);
        of_others.extend(resources.map(|resource| schema::name(&resource.group_resource)));
    }
    Ok(Observed {
        sources,
        schemas,
        export,
        of_others,
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
    let Grant {
        schemas,
        export,
        left_out: _,
    } = grant;
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

#[cfg(test)]
mod tests;
