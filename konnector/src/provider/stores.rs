//! What is watched in a cluster namespace. IO: reads.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use kube_bind_crds::api::{
    APIServiceExport, APIServiceExportRequest, BoundSchema, ClusterBinding, GroupResource,
};
use kube_bind_crds::names::CLUSTER_BINDING_NAME;
use kube_bind_crds::schema;
use serde::de::DeserializeOwned;

use super::Provider;
use super::trouble::News;
use crate::context::Context;
use crate::watch::{Signal, at_most, reflect};

/// How many kinds are watched here.
const KINDS: usize = 4;
/// More objects of one kind are not read from a provider: it decides how many there are.
const MOST: usize = 5_000;
/// The watch that bundles live on.
pub(super) const EXPORTS: &str = "exports";

/// The kube-bind objects of one cluster namespace.
#[derive(Clone)]
pub struct Stores {
    namespace: String,
    exports: Store<APIServiceExport>,
    requests: Store<APIServiceExportRequest>,
    schemas: Store<BoundSchema>,
    cluster_bindings: Store<ClusterBinding>,
    listed: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Stores {
    /// The first list of every kind is complete.
    pub fn synced(&self) -> bool {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.len() == KINDS
    }

    /// The export that a binding of that name uses.
    pub fn export(&self, name: &str) -> Option<Arc<APIServiceExport>> {
        self.exports
            .get(&ObjectRef::new(name).within(&self.namespace))
    }

    /// All exports.
    pub fn exports(&self) -> Vec<Arc<APIServiceExport>> {
        self.exports.state()
    }

    /// The request for an export of that name.
    pub fn request(&self, name: &str) -> Option<Arc<APIServiceExportRequest>> {
        self.requests
            .get(&ObjectRef::new(name).within(&self.namespace))
    }

    /// All requests for exports.
    pub fn requests(&self) -> Vec<Arc<APIServiceExportRequest>> {
        self.requests.state()
    }

    /// The schema of a bound kind.
    pub fn schema(&self, resource: &GroupResource) -> Option<Arc<BoundSchema>> {
        self.schemas
            .get(&ObjectRef::new(&schema::name(resource)).within(&self.namespace))
    }

    /// The connection's own object.
    pub fn cluster_binding(&self) -> Option<Arc<ClusterBinding>> {
        self.cluster_bindings
            .get(&ObjectRef::new(CLUSTER_BINDING_NAME).within(&self.namespace))
    }
}

/// The writing ends of [`Stores`].
pub(super) struct Writers {
    exports: Writer<APIServiceExport>,
    requests: Writer<APIServiceExportRequest>,
    schemas: Writer<BoundSchema>,
    cluster_bindings: Writer<ClusterBinding>,
}

/// Empty stores.
pub(super) fn new(namespace: &str) -> (Stores, Writers) {
    let (exports, exports_writer) = kube::runtime::reflector::store();
    let (requests, requests_writer) = kube::runtime::reflector::store();
    let (schemas, schemas_writer) = kube::runtime::reflector::store();
    let (cluster_bindings, cluster_bindings_writer) = kube::runtime::reflector::store();
    let stores = Stores {
        namespace: namespace.to_owned(),
        exports,
        requests,
        schemas,
        cluster_bindings,
        listed: Arc::default(),
    };
    let writers = Writers {
        exports: exports_writer,
        requests: requests_writer,
        schemas: schemas_writer,
        cluster_bindings: cluster_bindings_writer,
    };
    (stores, writers)
}

/// Starts the watches; they tell the bindings that are concerned, and no others.
pub(super) fn start(ctx: &Arc<Context>, provider: &Arc<Provider>, writers: Writers) {
    let wanted = watcher::Config::default();
    watch(
        ctx,
        provider,
        EXPORTS,
        wanted.clone(),
        writers.exports,
        |ctx, provider, name| {
            ctx.wake.binding(name);
            ctx.wake_bundles(&provider.secrets());
            provider.beat.notify_one();
        },
    );
    watch(
        ctx,
        provider,
        "export requests",
        wanted.clone(),
        writers.requests,
        |ctx, _, name| {
            ctx.wake.binding(name);
        },
    );
    // Schemas are large: few at a time.
    let few = wanted.clone().page_size(20);
    watch(
        ctx,
        provider,
        "bound schemas",
        few,
        writers.schemas,
        |ctx, provider, name| {
            for export in provider.stores.exports() {
                let resources = &export.spec.resources;
                if resources
                    .iter()
                    .any(|r| schema::name(&r.group_resource) == name)
                {
                    ctx.wake.binding(export.name_any());
                }
            }
        },
    );
    let one = wanted.fields(&format!("metadata.name={CLUSTER_BINDING_NAME}"));
    watch(
        ctx,
        provider,
        "cluster bindings",
        one,
        writers.cluster_bindings,
        |_, provider, _| {
            provider.beat.notify_one();
        },
    );
}

fn watch<K>(
    ctx: &Arc<Context>,
    provider: &Arc<Provider>,
    what: &'static str,
    config: watcher::Config,
    writer: Writer<K>,
    changed: impl Fn(&Context, &Provider, &str) + Send + 'static,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let shutdown = &provider.shutdown;
    let api = Api::namespaced(provider.client.clone(), &provider.cluster_namespace);
    let (ctx, provider) = (ctx.clone(), provider.clone());
    let stop = shutdown.token.clone();
    let shutdown = shutdown.clone();
    let tell = move |signal: Signal<'_, K>| {
        match &signal {
            Signal::Changed(object) | Signal::Removed(object) => {
                changed(&ctx, &provider, &object.name_any());
            }
            Signal::Listed => {
                let listed = provider.stores.listed.lock();
                listed.unwrap_or_else(PoisonError::into_inner).insert(what);
            }
            Signal::Running | Signal::Failed(_) => {}
        }
        let news = provider.watched(&ctx, what, &signal);
        if what == EXPORTS && news == News::Passed {
            // Who lists exports meanwhile did not wait for trouble to last.
            ctx.wake_bundles(&provider.secrets());
        }
    };
    shutdown.spawn(
        format!("watch of {what}"),
        reflect(api, at_most(MOST, config), writer, stop, tell),
    );
}
