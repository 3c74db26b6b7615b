//! Looking at one object after something changed: counting it, queueing it, forgetting it.

use std::time::Duration;

use tokio::time::Instant;

use super::super::class::Class;
use super::super::cluster::Key;
use super::super::drift;
use super::super::entry::{Owner, Provider, Version};
use super::super::form;
use super::super::pair::Pair;
use super::super::plan::{Rules, Target, plan};
use super::super::ports::{ObjectRef, Problem};
use super::super::purpose::Fate;
use super::super::queue::Priority;
use super::{Slot, State};

/// After this time a service namespace that is not there needs a person.
const OVERDUE: Duration = Duration::from_secs(60);

/// So many objects of others are remembered: where names are shared a provider may have any number.
pub(in super::super) const STRANGERS: usize = 4096;

impl Slot {
    /// Counts an object of somebody else that is in nobody's way; says whether there is room for it. One that
    /// is not remembered is found by whoever has something to put there.
    fn count_stranger(&mut self, strangers: &mut usize) -> bool {
        let foreign = |copy: &Provider| copy.owner == Owner::Foreign;
        let is_stranger =
            self.pair.consumer.is_none() && self.pair.provider.as_ref().is_some_and(foreign);
        if is_stranger == self.stranger {
            return true;
        }
        if is_stranger && *strangers >= STRANGERS {
            return false;
        }
        self.stranger = is_stranger;
        if is_stranger {
            *strangers += 1;
        } else {
            *strangers -= 1;
        }
        true
    }
}

impl State {
    /// Looks at an object after something changed: counts it, queues it, or forgets it.
    pub(super) fn touch(&mut self, key: &Key, priority: Priority, now: Instant) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let target = self.mapping.to_provider(key);
        if target == Target::Waiting && slot.pair.consumer.is_some() {
            let since = *self.waiting.entry(key.clone()).or_insert(now);
            if since + OVERDUE > now {
                self.queue.push_at(self.shared(key), since + OVERDUE);
            }
            if !self.control.suspended {
                self.mapping.request(key);
            }
        } else {
            self.waiting.remove(key);
        }
        self.classify(key, now);
        self.forget_doom(key);
        if self.busy.contains(key) {
            return;
        }
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if !slot.count_stranger(&mut self.strangers) || slot.pair.is_empty() {
            return self.forget(key);
        }
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let retry_at = slot.retry_at;
        let rules = self.rules(key, slot, now);
        if is_unexplained(&slot.pair, &rules) {
            self.causes.want();
        }
        let steps = plan(&slot.pair, &rules);
        if steps.is_empty() {
            if self.forget_failure(key) {
                return self.touch(key, priority, now);
            }
            // A body is kept for an object that waits for its namespace: it will be needed.
            if rules.target != Target::Waiting {
                self.bodies.take(key);
                self.measured.settled(key);
            }
            // Whatever else was tried meanwhile took the place of this in the queue.
            if let Some(at) = retry_at.filter(|at| *at > now) {
                self.queue.push_at(self.shared(key), at);
            }
        } else if self.is_ready(&slot.pair, &rules) {
            let due = drift::due(&slot.pair, &rules, steps);
            let fight = self.fights.get(key).filter(|_| due.is_empty());
            if let Some(next) = fight.map(|fight| fight.until()) {
                self.measured.settled(key);
                self.queue.push_at(self.shared(key), next);
            } else {
                self.queue.push(self.shared(key), priority, now);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        self.bodies.take(key);
        self.queue.forget(key);
        self.measured.settled(key);
        self.waiting.remove(key);
        self.fights.remove(key);
        for side in &mut self.stalled {
            side.remove(key);
        }
        // A list that began before the end still knows the object: that it is gone is forgotten
        // only afterwards.
        let went = |pair: &Pair| pair.is_empty() || pair.consumer_gone != Version::default();
        let went = self.slots.get(key).is_some_and(|slot| went(&slot.pair));
        if !went || !self.is_listing() {
            self.slots.remove(key);
        }
    }

    /// Nothing is wanted for this object now, so it does not fail at anything; says whether it did.
    fn forget_failure(&mut self, key: &Key) -> bool {
        for side in &mut self.stalled {
            side.remove(key);
        }
        let slot = self.slots.get_mut(key);
        slot.is_some_and(|slot| slot.pair.failing.take().is_some())
    }

    pub(super) fn classify(&mut self, key: &Key, now: Instant) {
        // What a job under way may have written nobody has been told yet.
        self.classify_as(key, !self.busy.contains(key), now);
    }

    /// `known`: a problem that the object says already has been told, before a restart.
    pub(super) fn classify_as(&mut self, key: &Key, known: bool, now: Instant) {
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
        self.file_share(now);
        // What needs no request to be found is found before it is written on the object.
        let says = |problem: &Problem| {
            let consumer = slot.pair.consumer.as_ref();
            known
                && problem.kind.is_found_by_looking()
                && consumer.is_some_and(|c| c.problem == form::problem(Some(&problem.message)))
        };
        if !class.problem().is_some_and(says) {
            self.tell(key, before.problem(), class.problem());
        }
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

    pub(super) fn rules(&self, key: &Key, slot: &Slot, now: Instant) -> Rules {
        let (since, fight) = (self.waiting.get(key), self.fights.get(key));
        Rules {
            target: self.mapping.to_provider(key),
            fate: self.fate(slot, now),
            hold: self.breaker.holds(now),
            retry: slot.retry_at.is_some_and(|at| at <= now),
            overdue: since.is_some_and(|since| *since + OVERDUE <= now),
            patient: fight.is_some_and(|fight| fight.until() > now),
        }
    }

    /// Absence means something only when the lists are complete that would have shown presence.
    pub(super) fn is_ready(&self, pair: &Pair, rules: &Rules) -> bool {
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

/// It terminates, its copy is there, and whether that may go depends on why.
fn is_unexplained(pair: &Pair, rules: &Rules) -> bool {
    let dying = pair.consumer.as_ref().is_some_and(|c| c.terminating);
    dying && rules.fate == Fate::Unknown && pair.owned_copy().is_some_and(|copy| !copy.terminating)
}
