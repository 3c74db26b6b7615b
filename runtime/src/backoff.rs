//! Exponential backoff per key: kube's controllers count no attempts. No IO.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long to wait before a key is tried again; keys do not influence each other.
#[derive(Debug)]
pub struct Backoff<K> {
    first: Duration,
    most: Duration,
    failures: Mutex<HashMap<K, u32>>,
}

impl<K: Hash + Eq + Clone> Backoff<K> {
    /// From 5 ms, doubling up to 5 min.
    #[must_use]
    pub fn new() -> Self {
        Self::between(Duration::from_millis(5), Duration::from_secs(5 * 60))
    }

    /// From `first`, doubling up to `most`.
    #[must_use]
    pub fn between(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: Mutex::default(),
        }
    }

    /// Counts a failure of `key` and says how long to wait before the next attempt.
    pub fn next(&self, key: &K) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_insert(0);
        let factor = 1_u32.checked_shl(*count).unwrap_or(u32::MAX);
        *count = count.saturating_add(1);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// Forgets the failures of `key`: after a success, and when the key is gone.
    pub fn reset(&self, key: &K) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    /// How many keys are failing.
    #[must_use]
    pub fn failing(&self) -> usize {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

impl<K: Hash + Eq + Clone> Default for Backoff<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_5_ms_to_5_min() {
        let backoff = Backoff::new();
        let waits: Vec<_> = (0..20)
            .map(|_| backoff.next(&"widget").as_millis())
            .collect();
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits[15], 163_840);
        assert_eq!(waits[16..], [300_000; 4]);
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let backoff = Backoff::new();
        for _ in 0..100 {
            backoff.next(&1);
        }
        assert_eq!(backoff.next(&1), Duration::from_secs(300));
    }

    #[test]
    fn keys_are_independent_and_reset_starts_over() {
        let backoff = Backoff::new();
        backoff.next(&"a");
        backoff.next(&"a");
        assert_eq!(backoff.next(&"b").as_millis(), 5);
        backoff.reset(&"a");
        assert_eq!(backoff.next(&"a").as_millis(), 5);
        backoff.reset(&"a");
        backoff.reset(&"b");
        assert_eq!(backoff.failing(), 0);
    }
}
