//! What runs for one binding: an engine per bound kind, and what was last applied and granted.
//! Engines are started and stopped here; the reads and writes are theirs.

mod all;
mod judge;
mod start;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube_bind_crds::api::{APIServiceExport, BoundSchema, GroupResource};

pub use all::Subtrees;
pub use judge::Ensured;
pub use start::{ActiveClaim, references_to};

use super::crds::Applied;
use super::hold::Hold;
use super::kind::Refusal;
use crate::patience::Patience;
use crate::provider::Provider;
use crate::supervisor::Supervisor;
use crate::sync::{Breaker, BreakerConfig, Counts, EngineHandle};
use judge::judge;
use start::{fingerprint, start};

/// A replica that begins to lead knows how a binding is doing after so long at the latest.
const BEGINNING: Duration = Duration::from_secs(120);

/// What runs for one binding.
#[derive(Default)]
pub struct Subtree {
    /// What was last applied, by name of the CRD.
    pub applied: HashMap<String, Applied>,
    /// Changed schemas that are held back.
    pub holds: BTreeMap<GroupResource, Hold>,
    /// Definitions that the consumer does not accept.
    pub refused: BTreeMap<GroupResource, Refusal>,
    /// Since when a kind cannot be looked after.
    pub failing: BTreeMap<GroupResource, Patience>,
    /// Since when looks as a whole fail.
    pub patience: Patience,
    /// Rules that were found granted.
    pub granted: BTreeSet<String>,
    /// What was missing of others when that could be asked last.
    pub lacking: HashMap<String, Vec<String>>,
    /// As of which change of all rights; see `rights::follow`.
    pub rights: u64,
    /// The missing rights for which a role was last shown.
    pub shown: Vec<String>,
    /// When the counts were last written.
    pub tallied: Option<Instant>,
    /// The binding was ready once since this replica leads.
    pub settled: bool,
    /// When it was looked at first.
    begun: Option<Instant>,
    /// The provider that everything here belongs to.
    pub provider: Option<Arc<Provider>>,
    engines: BTreeMap<GroupResource, Running>,
    /// Copies of objects that vanished may go, however many they are.
    release_deletes: bool,
    /// Nothing may be written.
    suspended: bool,
    /// The binding ends, and its objects with it.
    unbinding: bool,
    /// Watches over the deletions of all engines.
    breaker: Breaker,
}

struct Running {
    /// Everything that the engine was started with; another one means another engine.
    fingerprint: String,
    /// The schema among that.
    bound: Arc<BoundSchema>,
    handle: EngineHandle,
    /// With each of the two sides.
    patience: [Patience; 2],
}

impl Subtree {
    /// Nothing runs yet.
    pub fn new(breaker: BreakerConfig) -> Self {
        Self {
            breaker: Breaker::new(breaker),
            ..Self::default()
        }
    }

    /// For how much longer what was true before this replica led is taken for true while nothing else is known.
    pub fn beginning(&mut self, now: Instant) -> Option<Duration> {
        let begun = *self.begun.get_or_insert(now);
        let left = BEGINNING.saturating_sub(now.saturating_duration_since(begun));
        (!self.settled && !left.is_zero()).then_some(left)
    }

    /// Watches over all that is deleted for the binding.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Kinds with an engine.
    pub fn running(&self) -> Vec<GroupResource> {
        self.engines.keys().cloned().collect()
    }

    /// The schema that the engine of a kind runs with.
    pub fn bound(&self, resource: &GroupResource) -> Option<Arc<BoundSchema>> {
        Some(self.engines.get(resource)?.bound.clone())
    }

    /// What an engine knows of its objects; `None` before its first lists.
    pub fn counts(&self, resource: &GroupResource) -> Option<Counts> {
        let counts = self.engines.get(resource)?.handle.counts();
        counts.listed.then_some(counts)
    }

    /// Whether a person said that objects which vanished were meant to.
    pub fn release_deletes(&mut self, released: bool) {
        self.release_deletes = released;
        self.breaker.release_deletes(released);
        for running in self.engines.values() {
            running.handle.release_deletes(released);
        }
    }

    /// Obeys a person who wants nothing to be written, or no more so.
    pub fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
        for running in self.engines.values() {
            running.handle.suspend(suspended);
        }
    }

    /// Rights are there that were not: what failed for want of them is tried again at once.
    pub fn wake(&self) {
        for running in self.engines.values() {
            running.handle.wake();
        }
    }

    /// Whether a person wants nothing to be written.
    pub fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// What all engines know of their objects; `None` until each has listed them. Without any engine
    /// nothing is known, and nothing will be.
    pub fn all_counts(&self) -> Option<Vec<Counts>> {
        let counts = self.engines.values().map(|running| running.handle.counts());
        let counts: Vec<Counts> = counts.collect();
        let listed = counts.iter().all(|counts| counts.listed);
        listed.then_some(counts)
    }

    /// From now on every deletion is meant, because the binding ends.
    pub fn unbind(&mut self) {
        self.unbinding = true;
        for running in self.engines.values() {
            running.handle.unbind();
        }
    }

    /// Makes sure that the engine of a kind runs with what is bound now, and says how it is doing.
    pub async fn ensure(
        &mut self,
        supervisor: &Arc<Supervisor>,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        bound: &Arc<BoundSchema>,
        resource: &GroupResource,
        claims: &[ActiveClaim],
    ) -> Option<Ensured> {
        let fingerprint = fingerprint(provider, export, bound, resource, claims);
        let current = self.engines.get(resource).is_some_and(|running| {
            running.fingerprint == fingerprint
                // An engine that panicked has dropped its counts.
                && running.handle.subscribe().has_changed().is_ok()
        });
        if !current {
            self.stop(resource).await;
            let breaker = self.breaker.clone();
            let handle = start(
                supervisor, provider, export, bound, resource, claims, breaker,
            )?;
            handle.release_deletes(self.release_deletes);
            handle.suspend(self.suspended);
            if self.unbinding {
                handle.unbind();
            }
            self.engines.insert(
                resource.clone(),
                Running {
                    fingerprint,
                    bound: bound.clone(),
                    handle,
                    patience: Default::default(),
                },
            );
        }
        self.state(resource, supervisor.ctx.clock.monotonic())
    }

    fn state(&mut self, resource: &GroupResource, now: Instant) -> Option<Ensured> {
        let running = self.engines.get_mut(resource)?;
        let counts = running.handle.counts();
        if counts.consumer_failing.is_some() {
            // The rights may be what changed.
            self.granted.clear();
        }
        if let (Some(_), Some(provider)) = (&counts.provider_failing, &self.provider) {
            provider.link.check();
        }
        Some(judge(&mut running.patience, counts, now))
    }

    /// Stops the engine of a kind, and waits for its requests.
    pub async fn stop(&mut self, resource: &GroupResource) {
        if let Some(running) = self.engines.remove(resource) {
            running.handle.stop().await;
        }
    }

    /// Stops all engines.
    pub async fn stop_all(&mut self) {
        for resource in self.running() {
            self.stop(&resource).await;
        }
    }
}
