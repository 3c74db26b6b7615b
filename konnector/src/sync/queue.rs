//! The work queue: which key is next. Pure; time comes in as an argument.
//!
//! A key is worked on once at a time and waits at most once. Urgent work goes first but never
//! alone, and within one priority every lane (a namespace) gets its turn, so that ten thousand
//! objects of one namespace do not keep a single one of another waiting.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Waiting after the first failure, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(300));
/// Of so many turns one goes to the least urgent work.
const FAIR_TURN: u32 = 16;

/// How urgent a key is; the first is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    /// Somebody changed something and looks at it.
    Change,
    /// Found by a list.
    Backlog,
}

const PRIORITIES: usize = 2;

/// Keys of type `K` in lanes of type `L`.
pub(super) struct Queue<K, L> {
    lanes: [Lanes<K, L>; PRIORITIES],
    /// Priority of every key that waits in a lane.
    waiting: HashMap<K, Priority>,
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
    pub(super) fn new(lane_of: fn(&K) -> L) -> Self {
        Self {
            lanes: std::array::from_fn(|_| Lanes { order: VecDeque::new(), keys: HashMap::new() }),
            waiting: HashMap::new(),
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
    pub(super) fn push(&mut self, key: K, priority: Priority) {
        self.delayed.remove(&key);
        match self.waiting.get(&key) {
            Some(waiting) if *waiting <= priority => return,
            // It stays in the old lane too, where it is skipped.
            _ => {}
        }
        self.waiting.insert(key.clone(), priority);
        let lanes = &mut self.lanes[priority as usize];
        let lane = (self.lane_of)(&key);
        let keys = lanes.keys.entry(lane.clone()).or_default();
        if keys.is_empty() {
            lanes.order.push_back(lane);
        }
        keys.push_back(key);
    }

    /// Queues the key at a later time, unless it is to be worked on before that.
    pub(super) fn push_at(&mut self, key: K, at: Instant) {
        if self.waiting.contains_key(&key) || self.delayed.get(&key).is_some_and(|old| *old <= at) {
            return;
        }
        self.sequence += 1;
        self.delayed.insert(key.clone(), at);
        self.later.push(Reverse((at, self.sequence, key)));
    }

    /// Queues the key after a failure: later with each one in a row, and not before `least`.
    pub(super) fn retry(&mut self, key: K, least: Duration, jitter: f64, now: Instant) {
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = BACKOFF.0.saturating_mul(1 << (*failures).min(20)).min(BACKOFF.1);
        *failures += 1;
        self.push_at(key, now + wait.mul_f64(0.75 + jitter / 2.0).max(least));
    }

    /// The failures of this key are over.
    pub(super) fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Forgets a key that is not needed any more.
    pub(super) fn forget(&mut self, key: &K) {
        self.waiting.remove(key);
        self.delayed.remove(key);
        self.failures.remove(key);
    }

    /// The next key to work on that is not in `busy`.
    pub(super) fn pop(&mut self, now: Instant, busy: &HashSet<K>) -> Option<K> {
        while let Some(Reverse((at, _, _))) = self.later.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((at, _, key))) = self.later.pop() else { break };
            if self.delayed.get(&key) == Some(&at) {
                self.push(key, Priority::Change);
            }
        }
        self.turn = self.turn.wrapping_add(1);
        let fair = self.turn.is_multiple_of(FAIR_TURN);
        let order = if fair { [Priority::Backlog, Priority::Change] } else { [Priority::Change, Priority::Backlog] };
        order.into_iter().find_map(|priority| self.pop_from(priority, busy))
    }

    fn pop_from(&mut self, priority: Priority, busy: &HashSet<K>) -> Option<K> {
        let lanes = &mut self.lanes[priority as usize];
        let mut put_back = Vec::new();
        let mut found = None;
        while let Some(lane) = lanes.order.pop_front() {
            let keys = lanes.keys.get_mut(&lane).expect("a lane in the order has keys");
            while let Some(key) = keys.pop_front() {
                if self.waiting.get(&key) != Some(&priority) {
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
            self.waiting.remove(&key);
            self.push(key, priority);
        }
        if let Some(key) = &found {
            self.waiting.remove(key);
        }
        found
    }

    /// Keys that wait for their turn.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the next delayed key becomes due.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
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
mod tests {
    use super::*;

    type Pairs = Queue<(&'static str, u32), &'static str>;

    fn queue() -> Pairs {
        Queue::new(|key| key.0)
    }

    fn drain(queue: &mut Pairs, now: Instant) -> Vec<(&'static str, u32)> {
        std::iter::from_fn(|| queue.pop(now, &HashSet::new())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_at_most_once_and_takes_its_best_priority() {
        let mut queue = queue();
        queue.push(("a", 1), Priority::Backlog);
        queue.push(("a", 2), Priority::Backlog);
        queue.push(("a", 2), Priority::Change);
        queue.push(("a", 2), Priority::Backlog);
        assert_eq!(drain(&mut queue, Instant::now()), [("a", 2), ("a", 1)]);
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_take_turns() {
        let mut queue = queue();
        for n in 0..3 {
            queue.push(("many", n), Priority::Backlog);
        }
        queue.push(("one", 0), Priority::Backlog);
        let order = drain(&mut queue, Instant::now());
        assert_eq!(order, [("many", 0), ("one", 0), ("many", 1), ("many", 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_work_does_not_starve_the_rest() {
        let mut queue = queue();
        queue.push(("b", 0), Priority::Backlog);
        for n in 0..40 {
            queue.push(("c", n), Priority::Change);
        }
        let order = drain(&mut queue, Instant::now());
        let place = order.iter().position(|key| *key == ("b", 0)).unwrap();
        assert!((8..=16).contains(&place), "{place}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_put_a_key_off_for_longer_and_success_forgets_them() {
        let mut queue = queue();
        let now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..30 {
            queue.retry(("a", 1), Duration::ZERO, 0.5, now);
            let due = queue.next_due().unwrap();
            assert_eq!(queue.pop(due - Duration::from_millis(1), &HashSet::new()), None);
            assert_eq!(queue.pop(due, &HashSet::new()), Some(("a", 1)));
            waits.push(due - now);
        }
        assert!(waits.is_sorted() && waits[0] == BACKOFF.0 && waits[29] == BACKOFF.1);
        queue.succeeded(&("a", 1));
        queue.retry(("a", 1), Duration::from_secs(9), 0.5, now);
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(9)), "Retry-After counts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_does_not_wait_for_the_backoff() {
        let mut queue = queue();
        let now = Instant::now();
        queue.retry(("a", 1), Duration::from_secs(60), 0.5, now);
        queue.push(("a", 1), Priority::Change);
        assert_eq!(drain(&mut queue, now), [("a", 1)]);
        assert_eq!(drain(&mut queue, now + Duration::from_secs(120)), []);
        assert_eq!(queue.next_due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_not_given_out_while_it_is_worked_on() {
        let mut queue = queue();
        let busy = HashSet::from([("a", 1)]);
        queue.push(("a", 1), Priority::Change);
        queue.push(("a", 2), Priority::Change);
        let now = Instant::now();
        assert_eq!(queue.pop(now, &busy), Some(("a", 2)));
        assert_eq!(queue.pop(now, &busy), None);
        assert_eq!(queue.pop(now, &HashSet::new()), Some(("a", 1)));
    }
}
