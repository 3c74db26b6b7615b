//! Runs the claims on one kind of one provider: hears the references and performs what `plan`
//! decides, one key at a time. What both sides have comes from `watches`. IO.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::ApiResource;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use kube_bind_crds::api::GroupResource;
use kube_bind_crds::claims::{Claimable, Referenced, claimable, may_cross};
use kube_bind_crds::names::{LABEL_OWNER, OWNER_PROVIDER};
use kube_bind_crds::switches::{DeletionPolicy, deletion_policy};
use kube_bind_runtime::apply;
use kube_bind_runtime::backoff::Backoff;

use super::copy::Placement;
use super::index::{Index, Origin};
use super::plan::{Pair, Step, plan};
use super::state::{Side, State};
use super::write::{Writer, Written, reference_to};
use crate::context::Context;
use crate::fault;
use crate::names::EVENT_CLAIM_CONFLICT;
use crate::provider::Provider;
use crate::queue::WaitQueue;
use crate::sync::{Key, Namespaces, ObjectRef};

/// A write is not begun with less than this left of the lease.
const LEAST_TIME: Duration = Duration::from_millis(500);
/// An unlabelled object in the way is not watched, so it is looked at again and again.
const CONFLICT: Duration = Duration::from_secs(30);

/// The claims on one kind of one provider.
pub struct ClaimsEngine {
    pub(super) ctx: Arc<Context>,
    pub(super) provider: Arc<Provider>,
    pub(super) kind: &'static Claimable,
    index: Mutex<Index>,
    state: Mutex<State>,
    queue: WaitQueue<Key>,
    backoff: Backoff<Key>,
    runs: AtomicU64,
    /// Bindings that wait for their copies to be gone.
    waiting: Mutex<BTreeSet<String>>,
}

impl ClaimsEngine {
    /// Starts watching and working, until the provider stops; `None` for a kind that cannot be
    /// claimed.
    pub fn start(
        ctx: &Arc<Context>,
        provider: &Arc<Provider>,
        resource: &GroupResource,
    ) -> Option<Arc<Self>> {
        let engine = Arc::new(Self {
            ctx: ctx.clone(),
            provider: provider.clone(),
            kind: claimable(resource)?,
            index: Mutex::default(),
            state: Mutex::default(),
            queue: WaitQueue::default(),
            backoff: Backoff::between(Duration::from_millis(50), Duration::from_secs(60)),
            runs: AtomicU64::new(0),
            waiting: Mutex::default(),
        });
        let shutdown = &provider.shutdown;
        let name = engine.kind.plural;
        let (this, stop) = (engine.clone(), shutdown.token.clone());
        shutdown.spawn(
            format!("watch of claimed {name} on the consumer"),
            async move {
                let api = Api::all_with(this.ctx.client.clone(), &this.api_resource());
                let labelled =
                    watcher::Config::default().labels(&format!("{LABEL_OWNER}={OWNER_PROVIDER}"));
                this.watch(Side::Consumer, None, api, labelled, stop).await;
            },
        );
        let (this, stop) = (engine.clone(), shutdown.token.clone());
        shutdown.spawn(
            format!("watches of claimed {name} on the provider"),
            async move {
                stop.clone()
                    .run_until_cancelled(this.watch_service_namespaces(stop))
                    .await;
            },
        );
        let (this, stop) = (engine.clone(), shutdown.token.clone());
        shutdown.spawn(format!("claims on {name}"), async move {
            stop.run_until_cancelled(this.work()).await;
        });
        Some(engine)
    }

    /// References from this bound kind are to be expected. Returns the number of the run that its
    /// sink must name.
    pub fn expect(&self, origin: &Origin) -> u64 {
        self.index().expect(origin.clone());
        self.runs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether references from this bound kind are expected already.
    pub fn expects(&self, origin: &Origin) -> bool {
        self.index().expects(origin)
    }

    /// Whether a binding makes claims here.
    pub fn knows(&self, binding: &str) -> bool {
        self.index().knows(binding)
    }

    /// A bound object refers to these names now.
    pub fn refers(
        &self,
        origin: &Origin,
        object: ObjectRef,
        references: Vec<Referenced>,
        run: u64,
    ) {
        let names = self.index().set(origin, object, references, run);
        self.touch(&names);
    }

    /// A bound object is gone.
    pub fn refers_no_more(&self, origin: &Origin, key: &Key) {
        let names = self.index().remove(origin, key);
        self.touch(&names);
    }

    /// All objects of a bound kind have been seen in this run.
    pub fn heard(&self, origin: &Origin, run: u64) {
        self.index().heard(origin, run);
        self.touch_all();
    }

    /// A binding makes no claims any more; its copies go.
    pub fn forget(&self, binding: &str) {
        self.index().forget(binding);
        self.touch_all();
    }

    /// Whether the first lists of the consumer and of all known service namespaces are complete.
    pub fn listed(&self) -> bool {
        let state = self.state();
        let namespaces = self.provider.namespaces.provider_namespaces();
        state.consumer_listed && namespaces.iter().all(|n| state.provider_listed.contains(n))
    }

    /// How many copies made for a binding are still there; while there are any, the binding is woken
    /// when one goes.
    pub fn copies_of(&self, binding: &str) -> Option<usize> {
        let state = self.state();
        if !state.consumer_listed {
            return None;
        }
        let index = self.index();
        let left = state.consumer.iter().filter(|(key, copy)| {
            copy.marker.provider_cluster.as_deref() == Some(&*self.provider.uid)
                && copy.marker.binding.as_deref() == Some(binding)
                && index.referrers(&key.namespace, &key.name).is_empty()
        });
        let left = left.count();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if left > 0 {
            waiting.insert(binding.to_owned());
        } else {
            waiting.remove(binding);
        }
        Some(left)
    }

    pub(super) fn api_resource(&self) -> ApiResource {
        let kind = self.kind;
        let gvk = kube::core::GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        ApiResource::from_gvk_with_plural(&gvk, kind.plural)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues all objects of these names.
    fn touch(&self, names: &BTreeSet<String>) {
        let state = self.state();
        for name in names {
            for key in state.consumer.named(name) {
                self.queue.push(key);
            }
            for key in state.provider.named(name) {
                self.push_provider(&key);
            }
        }
    }

    pub(super) fn touch_all(&self) {
        let state = self.state();
        for (key, _) in state.consumer.iter() {
            self.queue.push(key);
        }
        for (key, _) in state.provider.iter() {
            self.push_provider(&key);
        }
    }

    pub(super) fn push_provider(&self, key: &Key) {
        if let Some(namespace) = self.provider.namespaces.to_consumer(&key.namespace) {
            self.queue.push(Key::new(namespace, &key.name));
        }
    }

    pub(super) fn push(&self, side: Side, key: &Key) {
        match side {
            Side::Consumer => self.queue.push(key.clone()),
            Side::Provider => self.push_provider(key),
        }
    }

    pub(super) fn tell_waiting(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for binding in waiting.iter() {
            self.ctx.wake.binding(binding);
        }
    }

    async fn work(&self) {
        loop {
            let key = self.queue.next().await;
            match self.settle(&key).await {
                Ok(None) => self.backoff.reset(&key),
                Ok(Some(pause)) => self.queue.push_after(key, pause),
                Err(error) => {
                    let pause = self.backoff.next(&key);
                    tracing::warn!(
                        error = fault::describe(&error),
                        object.namespace = %key.namespace,
                        object.name = %key.name,
                        "failed to sync claimed {} {key}, trying again in {pause:?}",
                        self.kind.singular
                    );
                    if fault::code(&error).is_none() {
                        self.provider.link.check();
                    }
                    self.queue.push_after(key, pause);
                }
            }
        }
    }

    /// What is missing for one key, and where its source is.
    fn look(&self, key: &Key) -> Option<Work> {
        let service_namespace = self.provider.namespaces.to_provider(&key.namespace);
        let state = self.state();
        if !state.consumer_listed {
            return None;
        }
        let index = self.index();
        let consumer = state.consumer.get(key);
        let referrers = index.referrers(&key.namespace, &key.name);
        // The binding that made the copy may not have been heard at all yet.
        let maker_is_known = consumer
            .and_then(|copy| copy.marker.binding.as_deref())
            .is_none_or(|maker| index.knows(maker) || self.is_leaving(maker));
        let unclaimed = referrers.is_empty() && index.complete() && maker_is_known;
        let listed = service_namespace
            .as_ref()
            .is_some_and(|namespace| state.provider_listed.contains(namespace));
        // What nobody refers to is taken back whatever the provider has.
        if !listed && !unclaimed {
            return None;
        }
        let service_namespace = service_namespace.unwrap_or_default();
        let provider = state.provider.get(&Key::new(&service_namespace, &key.name));
        let secret_type = provider.and_then(|copy| copy.type_.as_deref());
        let steps = plan(&Pair {
            claimed: !referrers.is_empty(),
            unclaimed,
            may_cross: may_cross(secret_type, &key.namespace, &key.name),
            provider,
            consumer,
            provider_cluster: &self.provider.uid,
        });
        let source_uid = provider.map(|copy| copy.uid.clone()).unwrap_or_default();
        let binding = referrers.first().map(|(binding, _)| (*binding).to_owned());
        Some(Work {
            steps,
            service_namespace,
            source_uid,
            binding: binding.unwrap_or_default(),
            referrers: referrers
                .into_iter()
                .map(|(_, object)| object.clone())
                .collect(),
        })
    }

    /// A binding that is gone or going claims nothing; but one that leaves everything where it is
    /// takes its marks off by itself, and until then its copies are not ours to delete.
    fn is_leaving(&self, binding: &str) -> bool {
        let bindings = self.ctx.bindings.state();
        let found = bindings.iter().find(|b| b.name_any() == binding);
        found.is_none_or(|b| {
            b.metadata.deletion_timestamp.is_some()
                && deletion_policy(b.annotations()) == Ok(DeletionPolicy::Delete)
        })
    }

    /// Brings one key in order; says when to look again if nothing tells us to.
    async fn settle(&self, key: &Key) -> Result<Option<Duration>, kube::Error> {
        let Some(work) = self.look(key) else {
            return Ok(None);
        };
        if !work.steps.contains(&Step::Conflict)
            && !matches!(work.steps.first(), Some(Step::Create))
        {
            self.state().conflicts.remove(key);
        }
        if work.steps.is_empty() {
            return Ok(None);
        }
        let resource = self.api_resource();
        let writer = Writer {
            consumer: Api::namespaced_with(self.ctx.client.clone(), &key.namespace, &resource),
            provider: Api::namespaced_with(
                self.provider.client.clone(),
                &work.service_namespace,
                &resource,
            ),
            key,
            placement: Placement {
                namespace: &key.namespace,
                provider_cluster: &self.provider.uid,
                binding: &work.binding,
            },
            source_uid: &work.source_uid,
        };
        for step in &work.steps {
            // No write may still be under way when another one leads.
            let left = self.provider.write_time(&self.ctx.leader);
            if left < LEAST_TIME {
                return Ok(Some(LEAST_TIME));
            }
            let limit = left.min(apply::TIMEOUT);
            match apply::timed_for(limit, writer.perform(step)).await? {
                Written::Copy(copy) => {
                    let mut state = self.state();
                    state.conflicts.remove(key);
                    state.consumer.file(key, copy);
                }
                Written::Done => {}
                Written::Stale => return Ok(Some(self.backoff.next(key))),
                Written::Conflict => {
                    self.report_conflict(key, &work.referrers).await;
                    return Ok(Some(CONFLICT));
                }
            }
        }
        Ok(None)
    }

    /// Once per conflict, on each object that refers to the name.
    async fn report_conflict(&self, key: &Key, referrers: &[ObjectRef]) {
        if !self.state().conflicts.insert(key.clone()) {
            return;
        }
        let note = format!(
            "{} {key} exists and was not made by the provider of this API, so the provider's is \
             not copied; delete or rename it, or refer to another name",
            self.kind.kind
        );
        tracing::warn!(
            object.namespace = %key.namespace,
            object.name = %key.name,
            "{note}"
        );
        for object in referrers {
            self.ctx
                .events
                .warning(&reference_to(object), EVENT_CLAIM_CONFLICT, note.clone())
                .await;
        }
    }
}

struct Work {
    steps: Vec<Step>,
    service_namespace: String,
    source_uid: String,
    binding: String,
    referrers: Vec<ObjectRef>,
}
