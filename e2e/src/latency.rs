//! When things were seen: a watch on each side that notes the time of the first event that shows what
//! the benchmark waits for. For benchmarks only; no test asserts a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::TryStreamExt;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::Notify;

/// First sightings by name.
#[derive(Clone, Default)]
pub struct Sightings {
    seen: Arc<Mutex<HashMap<String, Instant>>>,
    changed: Arc<Notify>,
}

impl Sightings {
    /// Watches, and notes an object the first time that `shows` says yes of it.
    pub fn watch(
        api: Api<DynamicObject>,
        shows: impl Fn(&DynamicObject) -> bool + Send + 'static,
    ) -> (Sightings, impl Future<Output = Result<()>>) {
        let sightings = Sightings::default();
        let noting = sightings.clone();
        let watching = async move {
            let mut events = std::pin::pin!(
                watcher(api, watcher::Config::default())
                    .default_backoff()
                    .applied_objects()
            );
            while let Some(object) = events.try_next().await? {
                if shows(&object) {
                    let mut seen = noting.seen.lock().expect("no holder panics");
                    seen.entry(object.name_any()).or_insert_with(Instant::now);
                    noting.changed.notify_waiters();
                }
            }
            Ok(())
        };
        (sightings, watching)
    }

    /// When `name` was first seen; waits for it.
    pub async fn of(&self, name: &str, patience: Duration) -> Result<Instant> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let changed = self.changed.notified();
            if let Some(at) = self.seen.lock().expect("no holder panics").get(name) {
                return Ok(*at);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                bail!("{name} was not seen within {} s", patience.as_secs());
            }
        }
    }
}

/// The value below which `percent` of the samples lie, in milliseconds.
pub fn percentile(samples: &[Duration], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent)
        .div_ceil(100)
        .clamp(1, sorted.len().max(1))
        - 1;
    sorted
        .get(rank)
        .map_or(f64::NAN, |sample| sample.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::percentile;

    #[test]
    fn percentiles_are_taken_by_rank() {
        let samples: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(
            (percentile(&samples, 50), percentile(&samples, 99)),
            (50.0, 99.0)
        );
    }
}
