//! Keys with work to do, each at most once, some of them later. No IO.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::Key;

/// The queue of one worker.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Default)]
struct Waiting {
    by_time: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
}

impl Queue {
    /// Work to do now.
    pub fn push(&self, key: Key) {
        self.push_after(key, Duration::ZERO);
    }

    /// Work to do after a while; an earlier appointment stays.
    pub fn push_after(&self, key: Key, pause: Duration) {
        let at = Instant::now() + pause;
        let mut waiting = self.lock();
        match waiting.due.get(&key) {
            Some(known) if *known <= at => return,
            Some(known) => {
                let later = (*known, key.clone());
                waiting.by_time.remove(&later);
            }
            None => {}
        }
        waiting.due.insert(key.clone(), at);
        waiting.by_time.insert((at, key));
        drop(waiting);
        self.added.notify_one();
    }

    /// Waits for the next key that is due.
    pub async fn next(&self) -> Key {
        loop {
            let first = self.lock().by_time.first().cloned();
            match first {
                Some((at, key)) if at <= Instant::now() => {
                    let mut waiting = self.lock();
                    if waiting.by_time.remove(&(at, key.clone())) {
                        waiting.due.remove(&key);
                        return key;
                    }
                }
                Some((at, _)) => {
                    // A new key may be due earlier.
                    let _ = tokio::time::timeout_at(at, self.added.notified()).await;
                }
                None => self.added.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("team-a", name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_the_earlier_time_wins() {
        let queue = Queue::default();
        queue.push_after(key("a"), Duration::from_secs(60));
        queue.push_after(key("b"), Duration::from_secs(30));
        queue.push(key("a"));
        queue.push_after(key("a"), Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(queue.next().await, key("b"));
        assert!(start.elapsed() >= Duration::from_secs(30));
        let more = tokio::time::timeout(Duration::from_secs(100), queue.next()).await;
        assert!(more.is_err(), "the key was queued twice");
    }
}
