//! Which object is worked on next, and what follows from how that went.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use serde_json::Value;
use tokio::time::Instant;

use super::super::cluster::{Error, Key};
use super::super::drift::{self, Fight};
use super::super::entry::Version;
use super::super::execute::{Finished, Job, Verdict};
use super::super::form;
use super::super::metrics::Side;
use super::super::pair::{Asked, Pair};
use super::super::plan::{Rules, Step, Target, plan};
use super::super::ports::{Problem, ProblemKind};
use super::super::purpose::Fate;
use super::super::queue::Priority;
use super::stalled::PROBE;
use super::{Listing, Slot, State};

/// Trying again what the provider refused, although nobody changed it: its rules may have changed.
const REFUSED_RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));
/// Waiting for a namespace that is not ready.
const NAMESPACE_RETRY: Duration = Duration::from_secs(1);
/// How often an engine that may not write asks whether it may.
const BARRED: Duration = Duration::from_secs(1);
/// So many failures of one object in a row (more than a second of them) are no hiccup of the server.
const LASTING: u32 = 8;
/// And so many (more than a quarter of a minute) need a person, if only this object is concerned.
const STUBBORN: u32 = 12;

impl Slot {
    /// When to try again what was refused although nobody changed it, if that is not arranged already.
    fn next_try(&mut self, now: Instant) -> Option<Instant> {
        if self.pair.refused.is_none() && self.pair.status_refused.is_none() {
            self.refusals = 0;
            self.retry_at = None;
            return None;
        }
        if self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        let (first, longest) = REFUSED_RETRY;
        let wait = first.saturating_mul(1 << self.refusals.min(8)).min(longest);
        self.refusals = self.refusals.saturating_add(1);
        self.retry_at = Some(now + wait);
        self.retry_at
    }
}

impl State {
    /// The next object to work on.
    pub(in super::super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        if self.control.suspended || self.barred.is_some() {
            return None;
        }
        loop {
            let id = self.queue.pop(now, &self.busy)?;
            let key = Key::clone(&id);
            if self.waiting.contains_key(&key) {
                // Time alone makes that a problem, and it is to be told before the object says it.
                self.classify(&key, now);
            }
            let Some(slot) = self.slots.get(&id) else {
                continue;
            };
            let rules = self.rules(&key, slot, now);
            let steps = drift::due(&slot.pair, &rules, plan(&slot.pair, &rules));
            if steps.is_empty() || !self.is_ready(&slot.pair, &rules) {
                self.touch(&key, Priority::Backlog, now);
                continue;
            }
            let [consumer_body, provider_body] = self.bodies.take(&key);
            let slot = self.slots.get_mut(&key).expect("it was found above");
            let (pair, unsure) = (slot.pair.clone(), slot.unsure);
            let vanished = rules.fate == Fate::Vanished;
            let doubtful = vanished || slot.dying > self.causes.meant_until();
            // Counted once, however often it is tried.
            if steps == [Step::Delete] && doubtful && self.doomed.insert(Arc::clone(&id)) {
                self.breaker.deleting(vanished, now);
            }
            self.count_round(&id, &pair, &rules, &steps, now);
            let consumer_version = pair.consumer.as_ref().map(|entry| entry.version);
            let provider_version = pair.provider.as_ref().map(|entry| entry.version);
            let fits = |body: Option<Arc<Value>>, version: Option<Version>| {
                body.filter(|body| Some(form::version_of(body)) == version)
            };
            self.busy.insert(id);
            return Some(Job {
                consumer_body: fits(consumer_body, consumer_version),
                provider_body: fits(provider_body, provider_version),
                epochs: self.epochs(&rules.target),
                known: pair.known(),
                unsure,
                key,
                pair,
                rules,
            });
        }
    }

    /// A job with these steps begins: counts those that only undo what somebody else did.
    fn count_round(
        &mut self,
        id: &Arc<Key>,
        pair: &Pair,
        rules: &Rules,
        steps: &[Step],
        now: Instant,
    ) {
        if drift::is_authors(pair, rules, steps) {
            self.fights.remove(id);
        } else if steps.iter().any(|step| drift::undoes(pair, rules, *step)) {
            let before = self.fights.get(id).copied();
            self.fights
                .insert(Arc::clone(id), Fight::round(before, now));
        }
    }

    /// A copy that is going or gone does not count again; the next one of that name does.
    pub(super) fn forget_doom(&mut self, key: &Key) {
        if self.doomed.is_empty() {
            return;
        }
        let slot = self.slots.get(key);
        let copy = slot.and_then(|slot| slot.pair.provider.as_ref());
        if copy.is_none_or(|copy| copy.terminating) {
            self.doomed.remove(key);
        }
    }

    /// A job ended otherwise than settled: if there is still something to undo, its round did not succeed.
    fn judge_round(&mut self, key: &Key, now: Instant) {
        let (Some(slot), true) = (self.slots.get(key), self.fights.contains_key(key)) else {
            return;
        };
        let rules = self.rules(key, slot, now);
        let steps = plan(&slot.pair, &rules);
        let undoes = |step: &Step| drift::undoes(&slot.pair, &rules, *step);
        if steps.iter().any(undoes)
            && let Some(fight) = self.fights.get_mut(key)
        {
            fight.reopen();
        }
    }

    /// Takes back what a job learned and decides when to look at its object again.
    /// While no write may begin no work is given out. Asks again from time to time, once for all objects.
    pub(in super::super) fn ask_leave(&mut self, may_write: impl FnOnce() -> bool, now: Instant) {
        if self.barred.is_some_and(|at| at <= now) {
            self.barred = (!may_write()).then(|| now + BARRED);
        }
    }

    pub(in super::super) fn finish(&mut self, finished: Finished, now: Instant) {
        let Finished {
            key,
            pair,
            lost,
            bodies: [consumer, provider],
            verdict,
            done,
            epochs,
            known,
            unsure,
        } = finished;
        self.measured.finished(&key, &done);
        if verdict != Verdict::Settled {
            // They are needed for the next attempt, unless events have brought newer ones.
            self.bodies.keep(&key, Side::Consumer, consumer);
            self.bodies.keep(&key, Side::Provider, provider);
        }
        let listed = self.listed_since(&key, epochs);
        let id = self.shared(&key);
        let slot = self.slots.entry(Arc::clone(&id)).or_default();
        let uid = slot.pair.consumer.as_ref().map(|known| known.uid.clone());
        let marked = slot.pair.marked != pair.marked;
        slot.pair.learn(pair, lost, done.answered, known, listed);
        slot.number_end(uid.as_ref(), &mut self.causes);
        slot.untold |= uid.is_some() && lost.consumer && slot.pair.consumer.is_none();
        if verdict != Verdict::Settled {
            self.judge_round(&key, now);
        }
        // As if it had been told meanwhile: what follows from all of it is decided below.
        self.file_postponed(&key, now);
        self.busy.remove(&key);
        let slot = self.slots.entry(Arc::clone(&id)).or_default();
        let same = slot.pair.known() == known;
        slot.unsure = unsure && slot.pair.owned_copy().is_none();
        let gone = lost.consumer && slot.pair.consumer.is_none();
        if let Some(at) = slot.next_try(now) {
            self.queue.push_at(Arc::clone(&id), at);
        }
        self.forget_doom(&key);
        if gone {
            self.observe_referrer(&key, None);
        }
        self.hear_of_sides(&key, &verdict, done.answered, now);
        if marked {
            // What it found and wrote on the object at once nobody has been told yet.
            self.classify_as(&key, false, now);
        }
        let jitter = self.random.random::<f64>();
        match verdict {
            Verdict::Settled => {
                if let Some(slot) = self.slots.get_mut(&key) {
                    slot.pair.failing = None;
                }
                // What the job found settled and is still not so needs time, or another list.
                if same && self.is_wanting(&key, now) {
                    self.queue.retry(id, Duration::ZERO, jitter, now);
                } else {
                    self.queue.succeeded(&key);
                    self.touch(&key, Priority::Change, now);
                    return;
                }
            }
            // It is not its fault, and so it loses no time by it.
            Verdict::Barred => {
                self.barred = Some(now + BARRED);
                self.queue.push(id, Priority::Change, now);
            }
            Verdict::Unfinished => self.queue.retry(id, Duration::ZERO, jitter, now),
            Verdict::Failed(side, error) => {
                let least = self.failed(&id, side, &error, now);
                self.queue.retry(id, least, jitter, now);
            }
        }
        self.classify(&key, now);
    }

    /// What a job says of the two sides: whether this object still waits for them, and which of them did
    /// all that was asked.
    fn hear_of_sides(&mut self, key: &Key, verdict: &Verdict, answered: [bool; 2], now: Instant) {
        let (failed, waits) = match verdict {
            Verdict::Failed(side, error) => (Some(*side), error.is_of_server()),
            Verdict::Barred => (None, true),
            Verdict::Settled | Verdict::Unfinished => (None, false),
        };
        for side in [Side::Consumer, Side::Provider] {
            let answered = answered[side as usize];
            let waited = !waits && self.stalled[side as usize].remove(key);
            if waited && answered {
                self.side_is_back(side, now);
            }
            if answered && failed != Some(side) {
                self.stalled[side as usize].works(now);
            }
        }
    }

    /// After a failure: how long to wait at least. Notes whose it is, the side's or the object's.
    fn failed(&mut self, id: &Arc<Key>, side: Side, error: &Error, now: Instant) -> Duration {
        if let Error::NamespaceGone { .. } = error {
            return NAMESPACE_RETRY;
        }
        let failures = self.queue.failures(id);
        let of_object = if error.is_of_server() {
            let stalled = &mut self.stalled[side as usize];
            if error.is_of_rights() && stalled.probes(now) {
                self.queue.push_at(Arc::clone(id), now + PROBE);
            }
            stalled.add(id, error, failures >= LASTING, now)
        } else {
            matches!(error, Error::Internal { .. } | Error::Rejected { .. })
        };
        if of_object && failures >= STUBBORN {
            self.remember_failing(id, side, error);
        }
        let patient = !error.is_overload() && *error != Error::Changed;
        let least = if patient {
            Duration::from_secs(1)
        } else {
            Duration::ZERO
        };
        error.retry_after().unwrap_or(least)
    }

    /// Whether something would be done for this object now.
    fn is_wanting(&self, key: &Key, now: Instant) -> bool {
        let Some(slot) = self.slots.get(key) else {
            return false;
        };
        let rules = self.rules(key, slot, now);
        let steps = drift::due(&slot.pair, &rules, plan(&slot.pair, &rules));
        !steps.is_empty() && self.is_ready(&slot.pair, &rules)
    }

    /// What a side left undone is due at once, rather than after backoffs that have grown to minutes.
    pub(in super::super) fn side_is_back(&mut self, side: Side, now: Instant) {
        for key in self.stalled[side as usize].keys() {
            self.queue.push(self.shared(key), Priority::Backlog, now);
        }
    }

    /// Numbers of the latest lists of both sides that concern an object with this target.
    fn epochs(&self, target: &Target) -> [u32; 2] {
        let provider = self.listing_of(target).map_or(0, |listing| listing.epoch);
        [self.consumer_listing.epoch, provider]
    }

    fn listing_of(&self, target: &Target) -> Option<&Listing> {
        match target {
            Target::At(key) => self.provider_listings.get(&self.mapping.scope_of(key)),
            Target::Waiting | Target::Impossible(_) => None,
        }
    }

    /// The lists that have told of this object since those with these numbers.
    fn listed_since(&self, key: &Key, epochs: [u32; 2]) -> [Option<Asked>; 2] {
        let target = self.mapping.to_provider(key);
        let slot = self.slots.get(key);
        let told = |listing: &Listing, side: Side| {
            let named = slot.is_some_and(|slot| slot.seen[side as usize] == listing.epoch);
            (listing.epoch != epochs[side as usize] && (named || !listing.under_way))
                .then_some(listing.asked)
        };
        [
            told(&self.consumer_listing, Side::Consumer),
            self.listing_of(&target)
                .and_then(|listing| told(listing, Side::Provider)),
        ]
    }

    /// A server does what it is asked, only not for this object. The first words stay.
    fn remember_failing(&mut self, key: &Key, side: Side, error: &Error) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let whose = match side {
            Side::Consumer => "this cluster",
            Side::Provider => "the provider",
        };
        slot.pair.failing.get_or_insert_with(|| {
            let message = format!("{whose} fails at this object, it is tried again: {error}");
            let kind = ProblemKind::Failing;
            Box::new(Problem { kind, message })
        });
    }
}
