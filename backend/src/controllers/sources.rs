//! The provider's offer as all controllers see it (IO): exported CRDs and templates, each listed and
//! watched once per process. CRDs stay opaque JSON.

use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use kube_bind_crds::api::{APIServiceExportTemplate, GroupResource};
use kube_bind_crds::names::LABEL_EXPORTED;
use kube_bind_crds::schema;
use kube_bind_runtime::apply::timed;
use kube_bind_runtime::health::Health;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::watching::{WatchCheck, checked};

/// Name in the readiness checks.
const NAME: &str = "offer";
/// A slow listener that misses more changes than this is told that everything changed.
const BACKLOG: usize = 256;

/// What the provider offers.
#[derive(Clone)]
pub struct Sources {
    client: Client,
    resource: ApiResource,
    crds: Store<DynamicObject>,
    templates: Store<APIServiceExportTemplate>,
    changes: broadcast::Sender<Change>,
}

/// A change of the exported CRDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of the CRD of this name, `<plural>.<group>`.
    Of(String),
    /// Perhaps of all.
    Unknown,
}

/// Feeds [`Sources`].
pub struct Feed {
    client: Client,
    resource: ApiResource,
    crds: Writer<DynamicObject>,
    templates: Writer<APIServiceExportTemplate>,
    changes: broadcast::Sender<Change>,
}

impl Sources {
    /// Empty sources, and what has to run to fill them.
    pub fn new(client: Client) -> (Self, Feed) {
        let resource = ApiResource::erase::<CustomResourceDefinition>(&());
        let crd_writer = Writer::new(resource.clone());
        let (templates, template_writer) = reflector::store();
        let (changes, _) = broadcast::channel(BACKLOG);
        let sources = Self {
            client: client.clone(),
            resource: resource.clone(),
            crds: crd_writer.as_reader(),
            templates,
            changes: changes.clone(),
        };
        let feed = Feed {
            client,
            resource,
            crds: crd_writer,
            templates: template_writer,
            changes,
        };
        (sources, feed)
    }

    /// Returns once both lists are complete.
    pub async fn ready(&self) {
        // An error means that the feed was dropped, which happens at the end only.
        let _ = self.crds.wait_until_ready().await;
        let _ = self.templates.wait_until_ready().await;
    }

    /// The exported CRD of a resource, as JSON.
    pub fn crd(&self, resource: &GroupResource) -> Option<Value> {
        let name = schema::name(resource);
        let crd = self
            .crds
            .get(&ObjectRef::new_with(&name, self.resource.clone()))?;
        serde_json::to_value(&*crd).ok()
    }

    /// The known templates.
    pub fn templates(&self) -> Vec<Arc<APIServiceExportTemplate>> {
        self.templates.state()
    }

    /// The templates as they are at this moment: a refusal is final, so it must not rest on an old list.
    pub async fn templates_now(&self) -> Result<Vec<Arc<APIServiceExportTemplate>>, kube::Error> {
        let api: Api<APIServiceExportTemplate> = Api::all(self.client.clone());
        Ok(timed(api.list(&ListParams::default()))
            .await?
            .items
            .into_iter()
            .map(Arc::new)
            .collect())
    }

    /// Changes of the exported CRDs from now on; the new state is in place when one arrives.
    pub fn changes(&self) -> impl Stream<Item = Change> + Send + 'static + use<> {
        stream::unfold(self.changes.subscribe(), |mut receiver| async move {
            let change = match receiver.recv().await {
                Ok(change) => change,
                Err(broadcast::error::RecvError::Lagged(_)) => Change::Unknown,
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((change, receiver))
        })
    }
}

impl Feed {
    /// Runs until `stop`.
    pub async fn run(self, health: Health, stop: CancellationToken) {
        let Self {
            client,
            resource,
            crds,
            templates,
            changes,
        } = self;
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let exported = watcher::Config::default().labels(&format!("{LABEL_EXPORTED}=true"));
        let crds = watcher(api, exported)
            .modify(|crd| crd.metadata.managed_fields = None)
            .default_backoff()
            .reflect(crds);
        let check = WatchCheck::new(health.clone(), NAME, "CustomResourceDefinition");
        let crds = checked(crds, check).for_each(move |event| {
            let changed = match event {
                Ok(Event::Apply(crd) | Event::Delete(crd)) => Some(Change::Of(crd.name_any())),
                // Only now the store has what the new list brought.
                Ok(Event::InitDone) => Some(Change::Unknown),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(error) => {
                    warn(&error, "CustomResourceDefinition");
                    None
                }
            };
            if let Some(change) = changed {
                // Nobody listens before the controllers have started.
                let _ = changes.send(change);
            }
            std::future::ready(())
        });
        let api: Api<APIServiceExportTemplate> = Api::all(client);
        let templates = watcher(api, watcher::Config::default())
            .modify(|template| template.metadata.managed_fields = None)
            .default_backoff()
            .reflect(templates);
        let check = WatchCheck::new(health, NAME, "APIServiceExportTemplate");
        let templates = checked(templates, check).for_each(|event| {
            if let Err(error) = event {
                warn(&error, "APIServiceExportTemplate");
            }
            std::future::ready(())
        });
        stop.run_until_cancelled(async { tokio::join!(crds, templates) })
            .await;
    }
}

fn warn(error: &watcher::Error, kind: &str) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "failed to watch {kind}, trying again"
    );
}
