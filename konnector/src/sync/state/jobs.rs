//! Which object is worked on next, and what follows from how that went.

use std::sync::Arc;
use std::time::Duration;

use kube_bind_crds::digest::Digest;
use rand::Rng;
use serde_json::Value;
use tokio::time::Instant;

use super::super::class::Class;
use super::super::cluster::{Error, Key};
use super::super::entry::{Owner, Version};
use super::super::execute::{Finished, Job, Side, Verdict};
use super::super::form;
use super::super::pair::Pair;
use super::super::plan::{Rules, Step, Target, differs, plan};
use super::super::ports::{ObjectRef, Problem};
use super::super::queue::Priority;
use super::{Slot, State};

/// Trying again what the provider refused, although nobody changed it: its rules may have changed.
const REFUSED_RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));
/// Waiting for a namespace that is not ready.
const NAMESPACE_RETRY: Duration = Duration::from_secs(1);
/// Waiting for leadership.
const LEADER_RETRY: Duration = Duration::from_secs(1);
/// So many failures of one object in a row (more than a second of them) are no hiccup of the server.
const LASTING: u32 = 8;
/// Setting a field again that somebody else keeps changing on the copy: first, and longest wait.
const DRIFT_RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(300));

impl State {
    /// The next object to work on.
    pub(in super::super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        loop {
            let key = self.queue.pop(now, &self.busy)?;
            let Some(slot) = self.slots.get(&key) else {
                continue;
            };
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
                self.breaker.update(&self.tally, now);
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
    pub(in super::super) fn finish(&mut self, finished: Finished, now: Instant) {
        let Finished {
            key,
            pair,
            lost,
            bodies: [consumer, provider],
            verdict,
        } = finished;
        self.busy.remove(&key);
        if verdict != Verdict::Settled {
            // They are needed for the next attempt, unless events have brought newer ones.
            self.bodies.keep(&key, Side::Consumer, consumer);
            self.bodies.keep(&key, Side::Provider, provider);
        }
        let slot = self.slots.entry(key.clone()).or_default();
        let tried = slot.retry_at.is_none_or(|at| at <= now);
        slot.pair.learn(pair, lost);
        let gone = lost.consumer && slot.pair.consumer.is_none();
        if slot.pair.refused.is_none() {
            slot.refusals = 0;
            slot.retry_at = None;
        } else if tried {
            let wait = REFUSED_RETRY
                .0
                .saturating_mul(1 << slot.refusals.min(8))
                .min(REFUSED_RETRY.1);
            slot.refusals = slot.refusals.saturating_add(1);
            slot.retry_at = Some(now + wait);
            self.queue.push_at(key.clone(), now + wait);
        }
        if gone {
            self.observe_referrer(&key, None);
        }
        let jitter = self.random.random::<f64>();
        let side_failed = matches!(&verdict, Verdict::Failed(_, error) if error.is_of_server());
        if !side_failed && verdict != Verdict::NotLeading {
            self.stalled.iter_mut().for_each(|side| side.remove(&key));
        }
        match verdict {
            Verdict::Settled => {
                self.queue.succeeded(&key);
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
                if side_failed {
                    let lasting = self.queue.failures(&key) >= LASTING;
                    self.stalled[side as usize].add(&key, &error, lasting);
                }
                let least = if patient {
                    Duration::from_secs(1)
                } else {
                    Duration::ZERO
                };
                let least = error.retry_after().unwrap_or(least);
                self.queue.retry(key.clone(), least, jitter, now);
            }
        }
        self.classify(&key, now);
    }

    /// A person says whether what vanished was meant to; then its copies go.
    pub(in super::super) fn release_deletes(&mut self, released: bool, now: Instant) {
        self.breaker.release(released);
        let orphans: Vec<Key> = self
            .slots
            .iter()
            .filter(|(_, slot)| is_orphan(&slot.pair))
            .map(|(key, _)| key.clone())
            .collect();
        for key in orphans {
            self.touch(&key, Priority::Backlog, now);
        }
    }

    /// Looks at an object after something changed: counts it, queues it, or forgets it.
    pub(super) fn touch(&mut self, key: &Key, priority: Priority, now: Instant) {
        self.classify(key, now);
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        if self.busy.contains(key) {
            return;
        }
        if slot.pair.is_empty() {
            self.bodies.take(key);
            self.queue.forget(key);
            self.stalled.iter_mut().for_each(|side| side.remove(key));
            // A list that began before the end still knows the object: that it is gone is forgotten
            // only afterwards.
            if !self.is_listing() {
                self.slots.remove(key);
            }
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
                let wait = DRIFT_RETRY
                    .0
                    .saturating_mul(1 << drifts.min(16))
                    .min(DRIFT_RETRY.1);
                self.queue.push_at(key.clone(), now + wait);
            } else {
                self.queue.push(key.clone(), priority);
            }
        }
    }

    pub(super) fn classify(&mut self, key: &Key, now: Instant) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let rules = self.rules(key, slot, now);
        let class = Class::of(&slot.pair, &rules);
        let before = slot.class.clone();
        if class == before {
            return;
        }
        self.tally.change(&before, &class);
        self.breaker.update(&self.tally, now);
        self.tell(key, before.problem(), class.problem());
        if let Some(slot) = self.slots.get_mut(key) {
            slot.class = class;
        }
    }

    /// Problems are told when they appear, change or disappear.
    fn tell(&self, key: &Key, before: Option<&Problem>, after: Option<&Problem>) {
        let Some(consumer) = self
            .slots
            .get(key)
            .and_then(|slot| slot.pair.consumer.as_ref())
        else {
            return;
        };
        let object = || ObjectRef {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            key: key.clone(),
            uid: consumer.uid.to_string(),
        };
        match (before, after) {
            (before, Some(problem)) if before != Some(problem) => {
                self.problems.raised(&object(), problem);
            }
            (Some(_), None) => self.problems.solved(&object()),
            _ => {}
        }
    }

    fn rules(&self, key: &Key, slot: &Slot, now: Instant) -> Rules {
        Rules {
            target: self.mapping.to_provider(key),
            hold: self.breaker.holds(),
            retry: slot.retry_at.is_some_and(|at| at <= now),
        }
    }

    /// Absence means something only when the lists are complete that would have shown presence.
    fn is_ready(&self, pair: &Pair, rules: &Rules) -> bool {
        let Target::At(provider) = &rules.target else {
            return true;
        };
        let scope = self.mapping.scope_of(provider);
        let provider_listed = self
            .provider_listings
            .get(&scope)
            .is_some_and(|listing| listing.complete);
        provider_listed && (pair.consumer.is_some() || self.consumer_listing.complete)
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

/// A side differs from what we wrote there, although the other side has not changed since: somebody
/// else changes what we write.
fn is_drift(pair: &Pair) -> bool {
    let (Some(consumer), Some(provider)) = (&pair.consumer, &pair.provider) else {
        return false;
    };
    let status = consumer.status != provider.status && provider.status != Digest::default();
    (differs(pair) && consumer.configuration == pair.sent)
        || (status && provider.status == pair.mirrored)
}
