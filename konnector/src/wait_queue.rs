//! A queue that can be waited for, over the sync engine's own [`Queue`](crate::sync::queue::Queue):
//! keys with work to do, each at most once, some of them later. No IO.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::queue::{Priority, Queue};

/// The queue of one worker, or of one who serves it.
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

    /// Works on keys that are due, up to `most` at a time and each of them once at a time: one that takes
    /// long holds up no other. The work says when to do it again if nothing happens.
    pub async fn serve<W>(&self, most: usize, work: impl Fn(K) -> W)
    where
        W: Future<Output = (K, Option<Duration>)>,
    {
        let mut under_way = FuturesUnordered::new();
        let mut busy = HashSet::new();
        // Keys that came up while they were worked on.
        let mut again = HashSet::new();
        loop {
            tokio::select! {
                Some((key, pause)) = under_way.next() => {
                    busy.remove(&key);
                    if again.remove(&key) {
                        self.push(key);
                    } else if let Some(pause) = pause {
                        self.push_after(key, pause);
                    }
                }
                key = self.next(), if under_way.len() < most => {
                    if busy.insert(key.clone()) {
                        under_way.push(work(key));
                    } else {
                        again.insert(key);
                    }
                }
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
    async fn work_that_hangs_holds_up_no_other_and_is_not_begun_twice() {
        let queue = WaitQueue::default();
        let begun = Mutex::new(Vec::new());
        for key in ["hangs", "works", "hangs"] {
            queue.push(key);
        }
        let work = async |key| {
            begun.lock().unwrap().push(key);
            if key == "hangs" {
                queue.push("hangs");
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            (key, (key == "works").then_some(Duration::from_secs(20)))
        };
        let _ = tokio::time::timeout(Duration::from_secs(25), queue.serve(8, work)).await;
        let mut begun = begun.into_inner().unwrap();
        begun.sort_unstable();
        assert_eq!(begun, ["hangs", "works", "works"]);
    }

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
