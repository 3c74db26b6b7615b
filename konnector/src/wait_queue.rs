//! A queue that can be waited for, over the sync engine's own [`Queue`](crate::sync::queue::Queue):
//! keys with work to do, each at most once, some of them later. No IO.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::queue::{Priority, Queue};

/// The queue of one worker.
pub struct WaitQueue<K> {
    waiting: Mutex<Queue<K, ()>>,
    added: Notify,
}

impl<K: Clone + Eq + Hash + Ord> Default for WaitQueue<K> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Queue::new(|_| ())),
            added: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> WaitQueue<K> {
    /// Work to do now.
    pub fn push(&self, key: K) {
        self.lock().push(key, Priority::Change, Instant::now());
        self.added.notify_one();
    }

    /// Work to do after a while; an earlier appointment stays.
    pub fn push_after(&self, key: K, pause: Duration) {
        self.lock().push_at(key, Instant::now() + pause);
        self.added.notify_one();
    }

    /// Waits for the next key that is due. For one worker only.
    pub async fn next(&self) -> K {
        let nobody = HashSet::new();
        loop {
            let due = {
                let mut waiting = self.lock();
                if let Some(key) = waiting.pop(Instant::now(), &nobody) {
                    return key;
                }
                waiting.next_due()
            };
            match due {
                // A new key may be due earlier.
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.added.notified()).await;
                }
                None => self.added.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<K, ()>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_the_earlier_time_wins() {
        let queue = WaitQueue::default();
        queue.push_after("a", Duration::from_secs(60));
        queue.push_after("b", Duration::from_secs(30));
        queue.push("a");
        queue.push_after("a", Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(queue.next().await, "b");
        assert!(start.elapsed() >= Duration::from_secs(30));
        let more = tokio::time::timeout(Duration::from_secs(100), queue.next()).await;
        assert!(more.is_err(), "the key was queued twice");
    }
}
