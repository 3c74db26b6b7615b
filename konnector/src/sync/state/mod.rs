//! Everything that one engine knows, and what follows from each event. No IO: the shell in
//! `engine` feeds it and runs the jobs that it gives out.

mod events;
mod jobs;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use super::bodies::Bodies;
use super::breaker::Breaker;
use super::class::{Class, Tally};
use super::cluster::{Key, WatchScope};
use super::config::{EngineConfig, Ports};
use super::engine::Counts;
use super::execute::Side;
use super::form::Form;
use super::mapping::Mapping;
use super::pair::Pair;
use super::ports::{ProblemSink, ReferrerSink};
use super::queue::{Priority, Queue};

#[derive(Default)]
struct Slot {
    pair: Pair,
    class: Class,
    /// In which list each side was seen last.
    seen: [u32; 2],
    refusals: u8,
    drifts: u8,
    retry_at: Option<Instant>,
}

/// Progress of one watch.
#[derive(Default)]
struct Listing {
    epoch: u32,
    complete: bool,
}

pub(super) struct State {
    form: Arc<Form>,
    mapping: Mapping,
    slots: HashMap<Key, Slot>,
    queue: Queue<Key, String>,
    busy: HashSet<Key>,
    bodies: Bodies,
    /// Number of the latest list of any watch, so that no two lists share one.
    epoch: u32,
    consumer_listing: Listing,
    provider_listings: HashMap<WatchScope, Listing>,
    waiting: HashSet<Key>,
    /// Objects whose last request this side did not answer: tried again when it is back.
    stalled: [HashSet<Key>; 2],
    breaker: Breaker,
    tally: Tally,
    /// Why a side cannot be watched, and why requests to it are refused.
    failing: [[Option<String>; 2]; 2],
    problems: Arc<dyn ProblemSink>,
    referrers: Option<Arc<dyn ReferrerSink>>,
    api_version: String,
    kind: String,
    random: SmallRng,
}

impl State {
    pub(super) fn new(config: &EngineConfig, ports: &Ports, form: Arc<Form>) -> Self {
        Self {
            form,
            mapping: Mapping::new(config, Arc::clone(&ports.namespaces)),
            slots: HashMap::new(),
            queue: Queue::new(|key: &Key| key.namespace.clone()),
            busy: HashSet::new(),
            bodies: Bodies::default(),
            epoch: 0,
            consumer_listing: Listing::default(),
            provider_listings: HashMap::new(),
            waiting: HashSet::new(),
            stalled: Default::default(),
            breaker: Breaker::default(),
            tally: Tally::default(),
            failing: Default::default(),
            problems: Arc::clone(&ports.problems),
            referrers: ports.referrers.clone(),
            api_version: config.resource.api_version(),
            kind: config.resource.kind.clone(),
            random: SmallRng::seed_from_u64(config.seed),
        }
    }

    /// The provider watches that should run now: those that are new, and those that should end.
    /// Objects that waited for a namespace are looked at again.
    pub(super) fn rescope(&mut self, now: Instant) -> (Vec<WatchScope>, Vec<WatchScope>) {
        let wanted: HashSet<WatchScope> = self.mapping.provider_scopes().into_iter().collect();
        let ended: Vec<_> = self
            .provider_listings
            .keys()
            .filter(|scope| !wanted.contains(*scope))
            .cloned()
            .collect();
        for scope in &ended {
            self.provider_listings.remove(scope);
        }
        let fresh: Vec<_> = wanted
            .into_iter()
            .filter(|scope| !self.provider_listings.contains_key(scope))
            .collect();
        for scope in &fresh {
            self.provider_listings
                .insert(scope.clone(), Listing::default());
        }
        for key in std::mem::take(&mut self.waiting) {
            self.touch(&key, Priority::Change, now);
        }
        (fresh, ended)
    }

    /// Consumer events should wait, because there is enough to do and to hold.
    pub(super) fn is_full(&self) -> bool {
        self.bodies.is_full() && (self.queue.len() > 0 || !self.busy.is_empty())
    }

    /// When something becomes due by time alone.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        self.queue.next_due()
    }

    pub(super) fn counts(&self) -> Counts {
        let listed = self.consumer_listing.complete
            && self
                .provider_listings
                .values()
                .all(|listing| listing.complete);
        let failing = |side: Side| self.failing[side as usize].iter().flatten().next().cloned();
        Counts {
            listed,
            consumer_failing: failing(Side::Consumer),
            provider_failing: failing(Side::Provider),
            ..self.tally.counts()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_takes_little_memory() {
        // A hundred thousand of them, with their keys, in well under 100 MiB.
        let size = size_of::<Slot>() + size_of::<Key>();
        assert!(size <= 450, "{size}");
    }
}
