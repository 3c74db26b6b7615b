//! Everything that one engine knows, and what follows from each event. No IO: the shell in
//! `engine` feeds it and runs the jobs that it gives out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::time::Instant;

use super::bodies::Bodies;
use super::breaker::Breaker;
use super::class::{Class, Tally};
use super::cluster::{Error, Key, WatchEvent, WatchScope};
use super::config::{EngineConfig, Ports};
use super::engine::Counts;
use super::entry::{Owner, Version};
use super::execute::{Finished, Job, Side, Verdict};
use super::form::{self, Form};
use super::mapping::Mapping;
use super::pair::Pair;
use super::plan::{Rules, Step, Target, differs, plan};
use super::ports::{ObjectRef, Problem, ProblemSink, ReferrerSink};
use super::queue::{Priority, Queue};

/// Trying again what the provider refused, although nobody changed it: its rules may have changed.
const REFUSED_RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));
/// Waiting for a namespace that is not ready.
const NAMESPACE_RETRY: Duration = Duration::from_secs(1);
/// Waiting for leadership.
const LEADER_RETRY: Duration = Duration::from_secs(1);
/// Setting a field again that somebody else keeps changing on the copy: first, and longest wait.
const DRIFT_RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(300));

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
    consumer_listing: Listing,
    provider_listings: HashMap<WatchScope, Listing>,
    waiting: HashSet<Key>,
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
            consumer_listing: Listing::default(),
            provider_listings: HashMap::new(),
            waiting: HashSet::new(),
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
        let ended: Vec<_> =
            self.provider_listings.keys().filter(|scope| !wanted.contains(*scope)).cloned().collect();
        for scope in &ended {
            self.provider_listings.remove(scope);
        }
        let fresh: Vec<_> =
            wanted.into_iter().filter(|scope| !self.provider_listings.contains_key(scope)).collect();
        for scope in &fresh {
            self.provider_listings.insert(scope.clone(), Listing::default());
        }
        for key in std::mem::take(&mut self.waiting) {
            self.touch(&key, Priority::Change, now);
        }
        (fresh, ended)
    }

    pub(super) fn on_consumer(&mut self, event: WatchEvent, now: Instant) {
        if !matches!(event, WatchEvent::Failing(_)) {
            self.failing[Side::Consumer as usize][0] = None;
        }
        match event {
            WatchEvent::ListBegin => self.consumer_listing.epoch += 1,
            WatchEvent::Listed(body) => self.file_consumer(body, Priority::Backlog, now),
            WatchEvent::Applied(body) => self.file_consumer(body, Priority::Change, now),
            WatchEvent::Deleted(body) => {
                let key = form::key_of(&body);
                let Some(slot) = self.slots.get_mut(&key) else { return };
                if slot.pair.lose_consumer(form::version_of(&body)) {
                    self.observe_referrer(&key, None);
                    self.touch(&key, Priority::Change, now);
                }
            }
            WatchEvent::ListEnd { resource_version } => {
                self.end_consumer_list(Version::parse(&resource_version), now);
            }
            WatchEvent::Bookmark { .. } => {}
            WatchEvent::Failing(error) => {
                self.failing[Side::Consumer as usize][0] = Some(error.to_string());
            }
        }
    }

    fn file_consumer(&mut self, body: Value, priority: Priority, now: Instant) {
        let key = form::key_of(&body);
        self.observe_referrer(&key, Some(&body));
        let entry = self.form.consumer(&body);
        let slot = self.slots.entry(key.clone()).or_default();
        slot.seen[Side::Consumer as usize] = self.consumer_listing.epoch;
        if slot.pair.see_consumer(entry) {
            self.bodies.hold(&key, Side::Consumer, Arc::new(body));
            self.touch(&key, priority, now);
        }
    }

    fn end_consumer_list(&mut self, version: Version, now: Instant) {
        let epoch = self.consumer_listing.epoch;
        let first = !self.consumer_listing.complete;
        self.consumer_listing.complete = true;
        let mut touched = Vec::new();
        for (key, slot) in &mut self.slots {
            let absent = slot.seen[Side::Consumer as usize] != epoch;
            let lost = absent && slot.pair.lose_consumer(version);
            if lost || (first && slot.pair.consumer.is_none()) {
                touched.push((key.clone(), lost));
            }
        }
        for (key, lost) in &touched {
            if *lost {
                self.observe_referrer(key, None);
            }
            // All of them are counted before the first one is acted upon.
            self.classify(key, now);
        }
        for (key, _) in touched {
            self.touch(&key, Priority::Backlog, now);
        }
        if let Some(referrers) = self.referrers.as_ref().filter(|_| first) {
            referrers.listed();
        }
    }

    pub(super) fn on_provider(&mut self, scope: &WatchScope, event: WatchEvent, now: Instant) {
        if !matches!(event, WatchEvent::Failing(_)) {
            self.failing[Side::Provider as usize][0] = None;
        }
        // What a watch that has been ended still says does not count.
        let Some(listing) = self.provider_listings.get_mut(scope) else { return };
        match event {
            WatchEvent::ListBegin => listing.epoch += 1,
            WatchEvent::Listed(body) => self.file_provider(scope, body, Priority::Backlog, now),
            WatchEvent::Applied(body) => self.file_provider(scope, body, Priority::Change, now),
            WatchEvent::Deleted(body) => {
                let Some(key) = self.mapping.to_consumer(&form::key_of(&body)) else { return };
                let Some(slot) = self.slots.get_mut(&key) else { return };
                if slot.pair.lose_provider(form::version_of(&body)) {
                    self.touch(&key, Priority::Change, now);
                }
            }
            WatchEvent::ListEnd { resource_version } => {
                self.end_provider_list(scope, Version::parse(&resource_version), now);
            }
            WatchEvent::Bookmark { .. } => {}
            WatchEvent::Failing(error) => {
                self.failing[Side::Provider as usize][0] = Some(error.to_string());
            }
        }
    }

    fn file_provider(&mut self, scope: &WatchScope, body: Value, priority: Priority, now: Instant) {
        let Some(key) = self.mapping.to_consumer(&form::key_of(&body)) else { return };
        let entry = self.form.provider(&body);
        let slot = self.slots.entry(key.clone()).or_default();
        if let Some(listing) = self.provider_listings.get(scope) {
            slot.seen[Side::Provider as usize] = listing.epoch;
        }
        if slot.pair.see_provider(entry) {
            self.bodies.hold(&key, Side::Provider, Arc::new(body));
            self.touch(&key, priority, now);
        }
    }

    fn end_provider_list(&mut self, scope: &WatchScope, version: Version, now: Instant) {
        let Some(listing) = self.provider_listings.get_mut(scope) else { return };
        let (epoch, first) = (listing.epoch, !listing.complete);
        listing.complete = true;
        let only = self.mapping.consumer_namespace_of(scope);
        let mut touched = Vec::new();
        for (key, slot) in &mut self.slots {
            if only.as_ref().is_some_and(|namespace| *namespace != key.namespace) {
                continue;
            }
            let lost = slot.seen[Side::Provider as usize] != epoch && slot.pair.lose_provider(version);
            if lost || first {
                touched.push(key.clone());
            }
        }
        for key in touched {
            self.touch(&key, Priority::Backlog, now);
        }
    }

    /// The next object to work on.
    pub(super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        loop {
            let key = self.queue.pop(now, &self.busy)?;
            let Some(slot) = self.slots.get(&key) else { continue };
            let rules = self.rules(&key, slot, now);
            let steps = plan(&slot.pair, &rules);
            if steps.is_empty() || !self.is_ready(&slot.pair, &rules) {
                self.touch(&key, Priority::Backlog, now);
                continue;
            }
            let [consumer_body, provider_body] = self.bodies.take(&key);
            let slot = self.slots.get_mut(&key).expect("it was found above");
            let pair = slot.pair.clone();
            if steps == [Step::Delete] && is_orphan(&pair) {
                self.breaker.deleting(now);
            }
            if is_drift(&pair) {
                slot.drifts = slot.drifts.saturating_add(1);
            } else {
                slot.drifts = 0;
            }
            let consumer_version = pair.consumer.as_ref().map(|entry| entry.version);
            let provider_version = pair.provider.as_ref().map(|entry| entry.version);
            let fits = |body: Option<Arc<Value>>, version: Option<Version>| {
                body.filter(|body| Some(form::version_of(body)) == version)
            };
            self.busy.insert(key.clone());
            return Some(Job {
                consumer_body: fits(consumer_body, consumer_version),
                provider_body: fits(provider_body, provider_version),
                key,
                pair,
                rules,
            });
        }
    }

    /// Takes back what a job learned and decides when to look at its object again.
    pub(super) fn finish(&mut self, finished: Finished, now: Instant) {
        let Finished { key, pair, lost, verdict } = finished;
        self.busy.remove(&key);
        let slot = self.slots.entry(key.clone()).or_default();
        let tried = slot.retry_at.is_none_or(|at| at <= now);
        slot.pair.learn(pair, lost);
        if slot.pair.refused.is_none() {
            slot.refusals = 0;
            slot.retry_at = None;
        } else if tried {
            let wait = REFUSED_RETRY.0.saturating_mul(1 << slot.refusals.min(8)).min(REFUSED_RETRY.1);
            slot.refusals = slot.refusals.saturating_add(1);
            slot.retry_at = Some(now + wait);
            self.queue.push_at(key.clone(), now + wait);
        }
        let jitter = self.random.random::<f64>();
        match verdict {
            Verdict::Settled => {
                self.queue.succeeded(&key);
                self.failing[0][1] = None;
                self.failing[1][1] = None;
                self.touch(&key, Priority::Change, now);
                return;
            }
            Verdict::NotLeading => self.queue.push_at(key.clone(), now + LEADER_RETRY),
            Verdict::Unfinished => self.queue.retry(key.clone(), Duration::ZERO, jitter, now),
            Verdict::Failed(_, Error::NamespaceGone { .. }) => {
                self.queue.retry(key.clone(), NAMESPACE_RETRY, jitter, now);
            }
            Verdict::Failed(side, error) => {
                let patient = !error.is_overload() && error != Error::Changed;
                let least = if patient { Duration::from_secs(1) } else { Duration::ZERO };
                let least = error.retry_after().unwrap_or(least);
                self.queue.retry(key.clone(), least, jitter, now);
                self.failing[side as usize][1] = Some(error.to_string());
            }
        }
        self.classify(&key, now);
    }

    /// Looks at an object after something changed: counts it, queues it, or forgets it.
    fn touch(&mut self, key: &Key, priority: Priority, now: Instant) {
        self.classify(key, now);
        let Some(slot) = self.slots.get(key) else { return };
        if self.busy.contains(key) {
            return;
        }
        if slot.pair.is_empty() {
            self.slots.remove(key);
            self.queue.forget(key);
            self.bodies.take(key);
            return;
        }
        let rules = self.rules(key, slot, now);
        if rules.target == Target::Waiting {
            self.waiting.insert(key.clone());
            if slot.pair.consumer.is_some() {
                self.mapping.request(key);
            }
        }
        if plan(&slot.pair, &rules).is_empty() {
            // A body is kept for an object that waits for its namespace: it will be needed.
            if rules.target != Target::Waiting {
                self.bodies.take(key);
            }
        } else if self.is_ready(&slot.pair, &rules) {
            let drifts = u32::from(slot.drifts);
            if drifts > 0 && is_drift(&slot.pair) {
                let wait = DRIFT_RETRY.0.saturating_mul(1 << drifts.min(16)).min(DRIFT_RETRY.1);
                self.queue.push_at(key.clone(), now + wait);
            } else {
                self.queue.push(key.clone(), priority);
            }
        }
    }

    fn classify(&mut self, key: &Key, now: Instant) {
        let Some(slot) = self.slots.get(key) else { return };
        let rules = self.rules(key, slot, now);
        let class = Class::of(&slot.pair, &rules);
        let before = slot.class.clone();
        if class == before {
            return;
        }
        self.tally.change(&before, &class);
        self.tell(key, before.problem(), class.problem());
        if let Some(slot) = self.slots.get_mut(key) {
            slot.class = class;
        }
    }

    /// Problems are told when they appear, change or disappear.
    fn tell(&self, key: &Key, before: Option<&Problem>, after: Option<&Problem>) {
        let Some(consumer) = self.slots.get(key).and_then(|slot| slot.pair.consumer.as_ref()) else {
            return;
        };
        let object = || ObjectRef {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            key: key.clone(),
            uid: consumer.uid.to_string(),
        };
        match (before, after) {
            (before, Some(problem)) if before != Some(problem) => self.problems.raised(&object(), problem),
            (Some(_), None) => self.problems.solved(&object()),
            _ => {}
        }
    }

    fn rules(&self, key: &Key, slot: &Slot, now: Instant) -> Rules {
        Rules {
            target: self.mapping.to_provider(key),
            hold: self.breaker.is_tripped(&self.tally, now),
            retry: slot.retry_at.is_some_and(|at| at <= now),
        }
    }

    /// Absence means something only when the lists are complete that would have shown presence.
    fn is_ready(&self, pair: &Pair, rules: &Rules) -> bool {
        let Target::At(provider) = &rules.target else { return true };
        let scope = self.mapping.scope_of(provider);
        let provider_listed = self.provider_listings.get(&scope).is_some_and(|listing| listing.complete);
        provider_listed && (pair.consumer.is_some() || self.consumer_listing.complete)
    }

    fn observe_referrer(&self, key: &Key, body: Option<&Value>) {
        if let Some(referrers) = &self.referrers {
            referrers.observe(key, body);
        }
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
            && self.provider_listings.values().all(|listing| listing.complete);
        let failing = |side: Side| self.failing[side as usize].iter().flatten().next().cloned();
        Counts {
            listed,
            consumer_failing: failing(Side::Consumer),
            provider_failing: failing(Side::Provider),
            ..self.tally.counts()
        }
    }
}

/// A copy without its consumer object, as far as is known.
fn is_orphan(pair: &Pair) -> bool {
    match (&pair.consumer, &pair.provider) {
        (None, Some(provider)) => matches!(provider.owner, Owner::Ours(_)),
        (Some(consumer), Some(provider)) => {
            matches!(&provider.owner, Owner::Ours(uid) if *uid != consumer.uid)
        }
        _ => false,
    }
}

/// The copy differs although nothing changed since we applied it: somebody else changed our fields.
fn is_drift(pair: &Pair) -> bool {
    differs(pair) && pair.consumer.as_ref().is_some_and(|consumer| consumer.configuration == pair.sent)
}
