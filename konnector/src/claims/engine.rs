//! The claims on one kind of one provider: what bindings and bound objects say about them. What both
//! sides have comes from `watches`, what is done about it is in `work`. IO only in the tasks it starts.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::ApiResource;
use kube_bind_crds::api::GroupResource;
use kube_bind_crds::claims::{Claimable, Referenced, claimable};
use kube_bind_runtime::backoff::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;

use super::index::{Index, Origin};
use super::rules::{Rule, Rules, Scope};
use super::state::{Side, State};
use crate::context::Context;
use crate::provider::Provider;
use crate::sync::{Key, Member, Namespaces, ObjectRef};
use crate::wait_queue::WaitQueue;

/// Keys that are worked on at the same time.
const WORKERS: usize = 4;

/// The claims on one kind of one provider.
pub struct ClaimsEngine {
    pub(super) ctx: Arc<Context>,
    pub(super) provider: Arc<Provider>,
    pub(super) kind: &'static Claimable,
    /// Locked before the index, and that before the state.
    rules: Mutex<Rules>,
    index: Mutex<Index>,
    state: Mutex<State>,
    pub(super) rules_changed: watch::Sender<u64>,
    pub(super) queues: [WaitQueue<Key>; WORKERS],
    pub(super) backoff: Backoff<Key>,
    runs: AtomicU64,
    /// When it started.
    pub(super) began: Instant,
    /// Bindings that wait for their copies to be gone.
    waiting: Mutex<BTreeSet<String>>,
    /// Parts in the breakers of the bindings.
    members: Mutex<HashMap<String, Member>>,
    /// The labels of claims that cannot be set up for now, as objects are matched with them.
    pub(super) pending_labels: Mutex<BTreeSet<(String, String)>>,
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
            rules: Mutex::default(),
            index: Mutex::default(),
            state: Mutex::default(),
            rules_changed: watch::Sender::new(0),
            queues: std::array::from_fn(|_| WaitQueue::default()),
            backoff: Backoff::between(Duration::from_millis(50), Duration::from_secs(300)),
            runs: AtomicU64::new(0),
            began: Instant::now(),
            waiting: Mutex::default(),
            members: Mutex::default(),
            pending_labels: Mutex::default(),
        });
        engine.match_pending();
        let shutdown = &provider.shutdown;
        let name = engine.kind.plural;
        let (this, stop) = (engine.clone(), shutdown.token.clone());
        let task = format!("watches of claimed {name} on the consumer");
        shutdown.keep(task, move || {
            this.clone().watch_consumer(stop.child_token())
        });
        let (this, stop) = (engine.clone(), shutdown.token.clone());
        let task = format!("watches of claimed {name} on the provider");
        shutdown.keep(task, move || {
            this.clone().watch_provider(stop.child_token())
        });
        let (this, stop) = (engine.clone(), shutdown.token.clone());
        let task = format!("hearing about claims on {name}");
        shutdown.spawn(task, async move {
            stop.run_until_cancelled(this.hear()).await;
        });
        for worker in 0..WORKERS {
            let this = engine.clone();
            let task = format!("claims on {name}, worker {worker}");
            shutdown.keep(task, move || this.clone().work(worker));
        }
        Some(engine)
    }

    /// A binding claims this. Its references, if it has some, must be expected before.
    pub fn claim(&self, binding: &str, rule: Rule) {
        if rule.is_ending() {
            self.drop_parts(binding);
        }
        self.change(|rules| rules.set(binding, rule));
    }

    /// Stops or resumes the writes for a binding. Watches go on.
    pub fn suspend(&self, binding: &str, suspended: bool) {
        self.change(|rules| rules.suspend(binding, suspended));
    }

    /// The claimed kind.
    pub fn resource(&self) -> GroupResource {
        GroupResource {
            group: self.kind.group.to_owned(),
            resource: self.kind.plural.to_owned(),
        }
    }

    /// A binding makes no claim any more; its copies go.
    pub fn end(&self, binding: &str) {
        self.drop_parts(binding);
        self.change(|rules| rules.end(binding));
    }

    /// A binding is gone, and nothing is left to be taken back for it.
    pub fn forget(&self, binding: &str) {
        self.drop_parts(binding);
        self.state().suspects.retain(|_, of| of != binding);
        self.change(|rules| rules.remove(binding));
        // One that was never heard may have been waited for.
        self.reconsider();
    }

    /// What ends with a claim: its references, and its part in the breaker, because whoever ends a claim
    /// means all of its copies.
    fn drop_parts(&self, binding: &str) {
        self.index().forget(binding);
        let member = self.members().remove(binding);
        if let Some(member) = member {
            member.leave(Instant::now());
        }
    }

    fn change(&self, change: impl FnOnce(&mut Rules) -> bool) {
        {
            let mut rules = self.rules();
            let selectors = self.selectors(&rules);
            if !change(&mut rules) {
                return;
            }
            if self.selectors(&rules) != selectors {
                self.unlist_all();
            }
        }
        self.rules_changed.send_modify(|changes| *changes += 1);
        self.forget_kept();
        self.state().recalled.clear();
        self.touch_anew();
    }

    /// Which labels match is found out by listing again; until then nothing is known.
    pub(super) fn unlist_all(&self) {
        let mut state = self.state();
        state.consumer_listed.clear();
        state.provider_listed.clear();
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

    /// Whether a binding makes claims here, or made some that are being taken back.
    pub fn knows(&self, binding: &str) -> bool {
        self.rules().knows(binding)
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
        self.touch_anew();
    }

    /// No object of ours can refer by this bound kind.
    pub fn refers_nowhere(&self, origin: &Origin) {
        let news = self.index().silence(origin).is_some();
        if news {
            self.touch_anew();
        }
    }

    /// Other bindings of which it is not known yet what they claim, or what their objects refer to. Until
    /// it is, what they may claim is not taken back.
    pub fn unheard(&self, binding: &str) -> BTreeSet<String> {
        let (rules, index) = (self.rules(), self.index());
        let last = match self.is_hearing() {
            true => self.unheard_claims(&rules),
            false => Rules::default(),
        };
        let others = index.unheard().into_iter().chain(last.bindings());
        let others = others.filter(|other| *other != binding);
        others.map(str::to_owned).collect()
    }

    /// Whether the lists are complete of what a binding claims on the consumer, and of all known service
    /// namespaces.
    pub fn listed(&self, binding: &str) -> bool {
        let scopes = self.rules().scopes_of(binding);
        let mappings = &self.provider.namespaces;
        let mapped = mappings.is_listed().then(|| mappings.provider_namespaces());
        self.state().is_listed(&scopes, mapped.as_deref())
    }

    /// Why the consumer does not let us watch what a binding claims, if it does not.
    pub fn denied(&self, binding: &str) -> Option<String> {
        let scopes = self.rules().scopes_of(binding);
        let state = self.state();
        let denied = scopes.iter().find_map(|scope| state.denied.get(scope));
        denied.cloned()
    }

    /// The watches on the consumer that are needed.
    pub(super) fn scopes(&self) -> BTreeSet<Scope> {
        let rules = self.rules();
        let state = self.state();
        rules.scopes(|scope| state.denied.contains_key(scope))
    }

    /// Whether all has been listed that may be, for others too: what a binding made and does not claim any
    /// more may be among it.
    fn all_listed(&self, binding: &str) -> bool {
        let scopes = self.scopes();
        let state = self.state();
        let pending = |scope: &Scope| {
            !state.denied.contains_key(scope) && !state.consumer_listed.contains(scope)
        };
        let all = !scopes.iter().any(pending);
        drop(state);
        all && self.listed(binding)
    }

    /// How many objects a binding claims that are not synced, or are synced for another binding.
    pub fn conflicts_of(&self, binding: &str) -> usize {
        let state = self.state();
        let conflicts = state.conflicts.values();
        let shared = state.shared.values();
        conflicts
            .map(|(_, bindings)| bindings)
            .chain(shared)
            .filter(|bindings| bindings.contains(binding))
            .count()
    }

    /// How many objects with marks for a binding are left that nobody else claims; while there are any,
    /// the binding is woken when one goes. `None` while that is not known.
    pub fn copies_of(&self, binding: &str) -> Option<usize> {
        if !self.all_listed(binding) {
            return None;
        }
        let left = self.marked_for(binding).len();
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

    pub(super) fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn members(&self) -> MutexGuard<'_, HashMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues all objects of these names.
    fn touch(&self, names: &BTreeSet<String>) {
        let state = self.state();
        for name in names {
            for key in state.consumer.named(name) {
                self.queue(&key).push(key);
            }
            for key in state.provider.named(name) {
                self.push(Side::Provider, &key);
            }
        }
    }

    /// What was looked up for other claims, or before all were heard, has to be again.
    pub(super) fn touch_anew(&self) {
        self.state().cleared.clear();
        self.touch_all();
    }

    pub(super) fn touch_all(&self) {
        let state = self.state();
        for (key, _) in state.consumer.iter() {
            self.queue(&key).push(key);
        }
        for (key, _) in state.provider.iter() {
            self.push(Side::Provider, &key);
        }
        // What is gone on both sides is in neither list.
        for key in state.suspects.keys().chain(state.conflicts.keys()) {
            self.queue(key).push(key.clone());
        }
    }

    pub(super) fn push(&self, side: Side, key: &Key) {
        if let Some(key) = self.consumer_key(side, key) {
            self.queue(&key).push(key);
        }
    }

    /// The key on the consumer of a key on that side.
    pub(super) fn consumer_key(&self, side: Side, key: &Key) -> Option<Key> {
        match side {
            Side::Consumer => Some(key.clone()),
            Side::Provider => {
                let namespace = self.provider.namespaces.to_consumer(&key.namespace)?;
                Some(Key::new(namespace, &key.name))
            }
        }
    }

    /// The queue of a key: always the same, so that no two workers have it.
    pub(super) fn queue(&self, key: &Key) -> &WaitQueue<Key> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let worker = hasher.finish() % (WORKERS as u64);
        &self.queues[usize::try_from(worker).unwrap_or_default()]
    }

    pub(super) fn tell_waiting(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for binding in waiting.iter() {
            self.ctx.wake.binding(binding);
        }
    }

    pub(super) fn wake_bindings(&self) {
        self.ctx.wake_users(&self.provider.secrets());
    }
}

#[cfg(test)]
mod tests;
