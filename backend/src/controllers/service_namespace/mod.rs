//! Gives each consumer namespace a namespace on the provider (contract section 4.7), with the rights
//! that all exports of the consumer need (4.4). It is announced only when these rights are in effect,
//! and deleted, with all that is in it, before its `APIServiceNamespace` goes.

mod decide;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{self, Event, finalizer};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube_bind_crds::api::{APIServiceExport, APIServiceNamespace};
use kube_bind_crds::names::ANNOTATION_API_SERVICE_NAMESPACE;
use kube_bind_runtime::apply::TimedOut;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Scoped};
use super::error::Error;
use super::{Context, seen};
use crate::provision::names::{
    COMPONENT_SERVICE_NAMESPACE, FINALIZER_SERVICE_NAMESPACE, LABEL_COMPONENT,
};
use serve::Served;

const NAME: &str = "service-namespace";
const CONCURRENCY: u16 = 8;
/// How long one reconcile may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Serves all `APIServiceNamespace`s until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let driver = Driver::<APIServiceNamespace>::new(context, NAME, seen::everything);
    let store = driver.store();
    let ours = format!("{LABEL_COMPONENT}={COMPONENT_SERVICE_NAMESPACE}");
    driver
        .watches::<Namespace>(
            watcher::Config::default().labels(&ours),
            seen::without_status,
            |namespace| made_for(namespace).into_iter().collect(),
        )
        // A change of any export of a consumer changes its rights in all its service namespaces.
        .watches::<APIServiceExport>(
            watcher::Config::default(),
            seen::without_status,
            move |export| in_namespace(&store, &export.namespace().unwrap_or_default()),
        )
        .run((), CONCURRENCY, stop, reconcile)
        .await;
}

fn made_for(namespace: &impl ResourceExt) -> Option<ObjectRef<APIServiceNamespace>> {
    let (cluster_namespace, name) = namespace
        .annotations()
        .get(ANNOTATION_API_SERVICE_NAMESPACE)?
        .split_once('/')?;
    Some(ObjectRef::new(name).within(cluster_namespace))
}

fn in_namespace(
    store: &Store<APIServiceNamespace>,
    namespace: &str,
) -> Vec<ObjectRef<APIServiceNamespace>> {
    let all = store.state_filter(|object| object.metadata.namespace.as_deref() == Some(namespace));
    all.iter()
        .map(|object| ObjectRef::from_obj(&**object))
        .collect()
}

async fn reconcile(
    object: Arc<APIServiceNamespace>,
    scoped: Arc<Scoped<()>>,
) -> Result<Action, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<APIServiceNamespace> = Api::namespaced(scoped.context.client.clone(), &namespace);
    let outcome = finalizer(&api, FINALIZER_SERVICE_NAMESPACE, object, |event| async {
        match event {
            Event::Apply(object) => Served::new(&object, &scoped).provide(&api).await,
            Event::Cleanup(object) => Served::new(&object, &scoped).clean_up().await,
        }
    });
    // Every step has a time-out of its own but the finalizer's patches, which kube sends.
    let Ok(outcome) = tokio::time::timeout(LIMIT, outcome).await else {
        return Err(Error::request("serve the namespace")(kube::Error::Service(
            Box::new(TimedOut { after: LIMIT }),
        )));
    };
    outcome.map_err(|error| match error {
        finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error) => error,
        finalizer::Error::AddFinalizer(source) | finalizer::Error::RemoveFinalizer(source) => {
            finalizer_not_changed(source)
        }
        other => Error::Finalizer(Box::new(other)),
    })
}

fn finalizer_not_changed(source: kube::Error) -> Error {
    match source {
        // The patch tests what it changes, so this is what a faster one looks like.
        kube::Error::Api(status) if status.is_invalid() || status.is_not_found() => {
            Error::waiting("the finalizers as somebody else left them")
        }
        source => Error::request("change the finalizer")(source),
    }
}

#[cfg(test)]
mod tests;
