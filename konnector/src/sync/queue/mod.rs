//! The work queue: which key is next. Pure; time comes in as an argument.
//!
//! A key is worked on once at a time and waits at most once. Urgent work goes first but never
//! alone, and within one priority every lane (a namespace) gets its turn, so that ten thousand
//! objects of one namespace do not keep a single one of another waiting.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Waiting after the first failure, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(300));
/// Of so many turns one goes to the least urgent work.
const FAIR_TURN: u32 = 16;

/// How urgent a key is; the first is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Somebody changed something and looks at it.
    Change,
    /// Found by a list.
    Backlog,
}

const PRIORITIES: usize = 2;

/// Keys of type `K` in lanes of type `L`.
pub(crate) struct Queue<K, L> {
    lanes: [Lanes<K, L>; PRIORITIES],
    /// Priority of every key that waits in a lane, and since which second.
    waiting: HashMap<K, (Priority, u32)>,
    /// How many wait since each second.
    since: BTreeMap<u32, usize>,
    epoch: Option<Instant>,
    /// Keys that become due later. An entry counts only while `delayed` agrees with it.
    later: BinaryHeap<Reverse<(Instant, u64, K)>>,
    delayed: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
    sequence: u64,
    turn: u32,
    lane_of: fn(&K) -> L,
}

struct Lanes<K, L> {
    order: VecDeque<L>,
    keys: HashMap<L, VecDeque<K>>,
}

impl<K: Clone + Eq + Hash + Ord, L: Clone + Eq + Hash> Queue<K, L> {
    pub(crate) fn new(lane_of: fn(&K) -> L) -> Self {
        Self {
            lanes: std::array::from_fn(|_| Lanes {
                order: VecDeque::new(),
                keys: HashMap::new(),
            }),
            waiting: HashMap::new(),
            since: BTreeMap::new(),
            epoch: None,
            later: BinaryHeap::new(),
            delayed: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            turn: 0,
            lane_of,
        }
    }

    /// Queues the key now. A key that waits already only becomes more urgent; one that was put off
    /// is not any more.
    pub(crate) fn push(&mut self, key: K, priority: Priority, now: Instant) {
        self.delayed.remove(&key);
        let since = match self.waiting.get(&key) {
            Some((waiting, _)) if *waiting <= priority => return,
            // It stays in the old lane too, where it is skipped.
            Some((_, since)) => *since,
            None => {
                let epoch = *self.epoch.get_or_insert(now);
                let since = now.duration_since(epoch).as_secs();
                let since = u32::try_from(since).unwrap_or(u32::MAX);
                *self.since.entry(since).or_default() += 1;
                since
            }
        };
        self.waiting.insert(key.clone(), (priority, since));
        self.enter(key, priority);
    }

    fn enter(&mut self, key: K, priority: Priority) {
        let lanes = &mut self.lanes[priority as usize];
        let lane = (self.lane_of)(&key);
        let keys = lanes.keys.entry(lane.clone()).or_default();
        if keys.is_empty() {
            lanes.order.push_back(lane);
        }
        keys.push_back(key);
    }

    /// Queues the key at a later time, unless it is to be worked on before that.
    pub(crate) fn push_at(&mut self, key: K, at: Instant) {
        if self.waiting.contains_key(&key) || self.delayed.get(&key).is_some_and(|old| *old <= at) {
            return;
        }
        self.sequence += 1;
        self.delayed.insert(key.clone(), at);
        self.later.push(Reverse((at, self.sequence, key)));
    }

    /// Queues the key after a failure: later with each one in a row, and not before `least`.
    pub(crate) fn retry(&mut self, key: K, least: Duration, jitter: f64, now: Instant) {
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = BACKOFF
            .0
            .saturating_mul(1 << (*failures).min(20))
            .min(BACKOFF.1);
        *failures += 1;
        self.push_at(key, now + wait.mul_f64(0.75 + jitter / 2.0).max(least));
    }

    /// How often this key failed in a row.
    pub(crate) fn failures<Q>(&self, key: &Q) -> u32
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.failures.get(key).copied().unwrap_or_default()
    }

    /// The failures of this key are over.
    pub(crate) fn succeeded<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.failures.remove(key);
    }

    /// Forgets a key that is not needed any more.
    pub(crate) fn forget<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.leave(key);
        self.delayed.remove(key);
        self.failures.remove(key);
    }

    /// The next key to work on that is not in `busy`.
    pub(crate) fn pop(&mut self, now: Instant, busy: &HashSet<K>) -> Option<K> {
        while let Some(Reverse((at, _, _))) = self.later.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((at, _, key))) = self.later.pop() else {
                break;
            };
            if self.delayed.get(&key) == Some(&at) {
                self.push(key, Priority::Change, now);
            }
        }
        self.turn = self.turn.wrapping_add(1);
        let fair = self.turn.is_multiple_of(FAIR_TURN);
        let order = if fair {
            [Priority::Backlog, Priority::Change]
        } else {
            [Priority::Change, Priority::Backlog]
        };
        order
            .into_iter()
            .find_map(|priority| self.pop_from(priority, busy))
    }

    fn pop_from(&mut self, priority: Priority, busy: &HashSet<K>) -> Option<K> {
        let lanes = &mut self.lanes[priority as usize];
        let mut put_back = Vec::new();
        let mut found = None;
        while let Some(lane) = lanes.order.pop_front() {
            let keys = lanes
                .keys
                .get_mut(&lane)
                .expect("a lane in the order has keys");
            while let Some(key) = keys.pop_front() {
                if self.waiting.get(&key).map(|(waiting, _)| *waiting) != Some(priority) {
                    continue;
                }
                if busy.contains(&key) {
                    put_back.push(key);
                    continue;
                }
                found = Some(key);
                break;
            }
            if keys.is_empty() {
                lanes.keys.remove(&lane);
            } else {
                lanes.order.push_back(lane);
            }
            if found.is_some() {
                break;
            }
        }
        for key in put_back {
            self.enter(key, priority);
        }
        if let Some(key) = &found {
            self.leave(key);
        }
        found
    }

    fn leave<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some((_, since)) = self.waiting.remove(key) else {
            return;
        };
        if let Entry::Occupied(mut count) = self.since.entry(since) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Since when the key waits that has waited longest, to a second.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let (since, _) = self.since.first_key_value()?;
        Some(self.epoch? + Duration::from_secs((*since).into()))
    }

    /// Keys that wait for their turn.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the next delayed key becomes due.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, _, key))) = self.later.peek() {
            if self.delayed.get(key) == Some(at) {
                return Some(*at);
            }
            self.later.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests;
