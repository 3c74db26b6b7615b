//! Many consumer objects that vanish at once are more likely a mistake (a restored backup, a deleted
//! CRD, the wrong cluster) than a wish. Then no copy is deleted because of it, until the objects are
//! back or a person says that it was meant. One breaker watches over all engines of a binding. No IO.
//!
//! An object *vanished* when a list does not name it although nobody saw its deletion, or when it
//! terminates only because its CRD does. What a person deletes never comes here: the deletion of an
//! object or a namespace is seen (our finalizer holds the object until its copy is gone), and so is
//! the end of a binding.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Deletions within this time belong together.
const WINDOW: Duration = Duration::from_secs(60);
/// So long the first lists of the other kinds are waited for: without them nobody knows of how many
/// objects so many vanished.
const PATIENCE: Duration = Duration::from_secs(60);

/// When deletions are held: both numbers must be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many objects may always go.
    pub min_objects: usize,
    /// So many percent of a binding's objects may always go.
    pub percent: u8,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            min_objects: 20,
            percent: 30,
        }
    }
}

/// What one engine contributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Consumer objects that did not vanish.
    pub living: usize,
    /// Copies that are there and whose consumer objects vanished.
    pub vanished: usize,
    /// Objects that terminate, nobody knows yet why, and whose copies are there.
    pub dying: usize,
    /// The first lists are complete.
    pub listed: bool,
}

/// Shared by everything that deletes for one binding; clones are the same breaker.
#[derive(Clone)]
pub struct Breaker(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    holds: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    config: BreakerConfig,
    members: HashMap<u64, (Share, Instant)>,
    joined: u64,
    /// Deletions of the last minute, oldest first: when, by whom, and whether the object vanished.
    deleted: VecDeque<(Instant, u64, bool)>,
    /// How many of those vanished.
    deleted_vanished: usize,
    tripped: bool,
    released: bool,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(BreakerConfig::default())
    }
}

impl Breaker {
    /// A breaker that has seen nothing yet.
    pub fn new(config: BreakerConfig) -> Self {
        let inner = Inner {
            config,
            ..Inner::default()
        };
        Self(Arc::new(Shared {
            inner: Mutex::new(inner),
            holds: watch::Sender::new(false),
        }))
    }

    /// Whether a person said that objects which vanished were meant to: then their copies go, however
    /// many they are.
    pub fn release_deletes(&self, released: bool) {
        let mut inner = self.lock();
        let changed = std::mem::replace(&mut inner.released, released) != released;
        let holds = inner.holds(Instant::now());
        drop(inner);
        // Told whatever was told before: copies may have been kept since by time alone.
        let differs = |told: &mut bool| std::mem::replace(told, holds) != holds || changed;
        self.0.holds.send_if_modified(differs);
    }

    /// Copies of all engines that are kept although their objects vanished.
    pub fn held(&self) -> usize {
        let inner = self.lock();
        if inner.is_tripped() {
            inner.vanished()
        } else {
            0
        }
    }

    /// Changes of [`Member::holds`].
    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.holds.subscribe()
    }

    /// Takes part in the count, until the member is dropped.
    pub fn join(&self, now: Instant) -> Member {
        let mut inner = self.lock();
        inner.joined += 1;
        let id = inner.joined;
        inner.members.insert(id, (Share::default(), now));
        drop(inner);
        Member {
            breaker: self.clone(),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, now: Instant) {
        let holds = self.lock().holds(now);
        self.0.holds.send_if_modified(|told| {
            let changed = *told != holds;
            *told = holds;
            changed
        });
    }
}

/// One engine's part in the breaker of its binding.
pub struct Member {
    breaker: Breaker,
    id: u64,
}

impl Member {
    /// Files the counts of this engine.
    pub fn update(&self, share: Share, now: Instant) {
        let mut inner = self.breaker.lock();
        let Some((old, _)) = inner
            .members
            .get_mut(&self.id)
            .filter(|(old, _)| *old != share)
        else {
            return;
        };
        *old = share;
        inner.look(now);
        drop(inner);
        self.breaker.tell(now);
    }

    /// A copy is being deleted because its object vanished, or terminates for a reason not known.
    pub fn deleting(&self, vanished: bool, now: Instant) {
        let mut inner = self.breaker.lock();
        if inner.released {
            // What was meant says nothing about what vanishes next.
            return;
        }
        inner.deleted.push_back((now, self.id, vanished));
        inner.deleted_vanished += usize::from(vanished);
        inner.look(now);
        drop(inner);
        self.breaker.tell(now);
    }

    /// Now it is known why the objects of this engine terminated whose copies were deleted lately.
    pub(super) fn explained(&self, vanished: bool, now: Instant) {
        let mut inner = self.breaker.lock();
        let mine = |by: &u64| *by == self.id;
        if vanished {
            let deleted = inner.deleted.iter_mut();
            deleted
                .filter(|(_, by, _)| mine(by))
                .for_each(|entry| entry.2 = true);
        } else {
            inner
                .deleted
                .retain(|(_, by, vanished)| *vanished || !mine(by));
        }
        let vanished = inner.deleted.iter().filter(|(_, _, vanished)| *vanished);
        inner.deleted_vanished = vanished.count();
        inner.look(now);
        drop(inner);
        self.breaker.tell(now);
    }

    /// All copies of this engine are meant to go, so none of them keeps others any more. One that is only
    /// dropped may come back, and finds things as it left them.
    pub fn leave(self, now: Instant) {
        let breaker = self.breaker.clone();
        drop(self);
        breaker.lock().look(now);
        breaker.tell(now);
    }

    /// Whether copies whose objects vanished are kept for now.
    pub fn holds(&self, now: Instant) -> bool {
        self.breaker.lock().holds(now)
    }

    /// Whether too many vanished, and nobody said yet that this was meant.
    pub(super) fn is_tripped(&self) -> bool {
        self.breaker.lock().is_tripped()
    }

    /// Whether so many objects terminate that it must be known why.
    pub(super) fn is_suspicious(&self, now: Instant) -> bool {
        let mut inner = self.breaker.lock();
        inner.forget(now);
        let dying: usize = inner.members.values().map(|(share, _)| share.dying).sum();
        let count = dying + inner.vanished() + inner.deleted.len();
        inner.is_too_many(count)
    }

    /// When time alone may end a hold.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let inner = self.breaker.lock();
        inner.unlisted(now).filter(|_| inner.vanished() > 0)
    }

    /// Looks whether time has ended a hold.
    pub(super) fn tick(&self, now: Instant) {
        self.breaker.tell(now);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.breaker.lock().members.remove(&self.id);
    }
}

impl Inner {
    /// Once tripped it stays so until nothing that vanished is left.
    fn look(&mut self, now: Instant) {
        self.forget(now);
        let there = self.vanished();
        let too_many = self.is_too_many(there + self.deleted_vanished);
        self.tripped = there > 0 && (self.tripped || (too_many && self.unlisted(now).is_none()));
    }

    fn is_too_many(&self, count: usize) -> bool {
        let members = self.members.values();
        let all: usize = members
            .map(|(share, _)| share.living + share.vanished)
            .sum();
        let all = all + self.deleted.len();
        count > self.config.min_objects && count * 100 > usize::from(self.config.percent) * all
    }

    fn is_tripped(&self) -> bool {
        self.tripped && !self.released
    }

    fn holds(&mut self, now: Instant) -> bool {
        self.look(now);
        let early = self.vanished() > 0 && self.unlisted(now).is_some();
        (self.tripped || early) && !self.released
    }

    fn vanished(&self) -> usize {
        self.members.values().map(|(share, _)| share.vanished).sum()
    }

    /// Until when the first lists of the others are waited for.
    fn unlisted(&self, now: Instant) -> Option<Instant> {
        let members = self.members.values();
        let waiting = members.filter(|(share, _)| !share.listed);
        let until = waiting.map(|(_, joined)| *joined + PATIENCE);
        until.max().filter(|until| *until > now)
    }

    fn forget(&mut self, now: Instant) {
        let old = |at: &Instant| now.duration_since(*at) > WINDOW;
        while let Some((_, _, vanished)) = self.deleted.front().filter(|(at, _, _)| old(at)) {
            self.deleted_vanished -= usize::from(*vanished);
            self.deleted.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
