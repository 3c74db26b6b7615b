//! What is watched in a cluster namespace. IO: reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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
use crate::context::Context;
use crate::fault;
use crate::patience::Patience;
use crate::watch::{Signal, at_most, reflect};

/// How many kinds are watched here.
const KINDS: usize = 4;
/// More objects of one kind are not read from a provider: it decides how many there are.
const MOST: usize = 5_000;
/// The watch that bundles live on.
const EXPORTS: &str = "exports";

/// The kube-bind objects of one cluster namespace.
#[derive(Clone)]
pub struct Stores {
    namespace: String,
    exports: Store<APIServiceExport>,
    requests: Store<APIServiceExportRequest>,
    schemas: Store<BoundSchema>,
    cluster_bindings: Store<ClusterBinding>,
    listed: Arc<Mutex<BTreeSet<&'static str>>>,
    /// Watches that failed and have brought nothing since.
    failing: Arc<Mutex<BTreeMap<&'static str, Failing>>>,
}

/// A watch that fails.
#[derive(Default)]
struct Failing {
    patience: Patience,
    /// Why, once that lasts.
    said: Option<String>,
}

impl Stores {
    /// The first list of every kind is complete.
    pub fn synced(&self) -> bool {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.len() == KINDS
    }

    /// The watch of exports is broken, so what it brought may be old.
    pub fn exports_fail(&self) -> bool {
        self.failing().contains_key(EXPORTS)
    }

    /// Exports could be listed, so their watch will work again or say that it does not.
    pub fn exports_can_be_listed(&self) {
        self.failing().remove(EXPORTS);
    }

    /// Why something is not known, or may be old, once that lasts.
    pub fn trouble(&self) -> Option<String> {
        let failing = self.failing();
        failing.values().find_map(|failing| failing.said.clone())
    }

    /// A watch failed; says whether there is more trouble than before.
    fn failed(&self, what: &'static str, why: &str, now: Instant) -> bool {
        let mut all = self.failing();
        let failing = all.entry(what).or_default();
        if failing.patience.failed(now, now).is_some() {
            return false;
        }
        let said = format!("the {what} of the provider cannot be followed: {why}");
        failing.said.replace(said).is_none()
    }

    /// A watch works; says whether there is less trouble than before.
    fn works(&self, what: &str) -> bool {
        let failing = self.failing().remove(what);
        failing.is_some_and(|failing| failing.said.is_some())
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<&'static str, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
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
        failing: Arc::default(),
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
        let stores = &provider.stores;
        let is_news = match &signal {
            Signal::Failed(error) => {
                let now = ctx.clock.monotonic();
                stores.failed(what, &fault::describe_watch(error), now)
            }
            _ => stores.works(what),
        };
        match signal {
            Signal::Changed(object) | Signal::Removed(object) => {
                changed(&ctx, &provider, &object.name_any());
            }
            Signal::Listed => {
                let listed = stores.listed.lock();
                listed.unwrap_or_else(PoisonError::into_inner).insert(what);
            }
            Signal::Running => {}
            Signal::Failed(error) => {
                tracing::warn!(
                    error = fault::describe_watch(error),
                    provider.uid = %provider.uid,
                    "failed to watch {what} of provider {}",
                    provider.uid
                );
                provider.link.check();
            }
        }
        if is_news || matches!(signal, Signal::Listed) {
            ctx.wake_users(&provider.secrets());
            provider.beat.notify_one();
        }
    };
    shutdown.spawn(
        format!("watch of {what}"),
        reflect(api, at_most(MOST, config), writer, stop, tell),
    );
}
