//! What is measured of the work: how long changes take to arrive, and what waits. No IO.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::super::cluster::Key;
use super::super::execute::Done;
use super::super::metrics::{EngineMetrics, Side};
use super::super::queue::Priority;
use super::State;

/// Tells engines apart.
static ENGINES: AtomicU64 = AtomicU64::new(1);

/// What is being measured now.
pub(super) struct Measured {
    metrics: Arc<dyn EngineMetrics>,
    engine: u64,
    /// When the latest change of each side arrived that has not reached the other one.
    arrived: HashMap<Key, [Option<Instant>; 2]>,
    told: (usize, Option<Instant>),
}

impl Measured {
    pub(super) fn new(metrics: Arc<dyn EngineMetrics>) -> Self {
        Self {
            metrics,
            engine: ENGINES.fetch_add(1, Ordering::Relaxed),
            arrived: HashMap::new(),
            told: (0, None),
        }
    }

    /// Nothing is left to do for this object.
    pub(super) fn settled(&mut self, key: &Key) {
        self.arrived.remove(key);
    }

    /// A job ended.
    pub(super) fn finished(&mut self, key: &Key, done: &Done) {
        let Some(arrived) = self.arrived.get_mut(key) else {
            return;
        };
        if let (Some((at, created)), Some(since)) = (done.visible, arrived[Side::Consumer as usize])
            && at >= since
        {
            arrived[Side::Consumer as usize] = None;
            self.metrics.visible(created, at - since);
        }
        if let (Some(at), Some(since)) = (done.status_back, arrived[Side::Provider as usize])
            && at >= since
        {
            arrived[Side::Provider as usize] = None;
            self.metrics.status_back(at - since);
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.metrics.queue(self.engine, 0, None);
    }
}

impl State {
    /// An event told of a change; what a list finds has no beginning.
    pub(super) fn arrived(&mut self, key: &Key, side: Side, priority: Priority, now: Instant) {
        if priority == Priority::Change {
            let arrived = self.measured.arrived.entry(key.clone()).or_default();
            arrived[side as usize].get_or_insert(now);
        }
    }

    /// Tells what waits, if that changed.
    pub(in super::super) fn tell_queue(&mut self) {
        let now = (self.queue.len() + self.busy.len(), self.queue.oldest());
        if self.measured.told != now {
            self.measured.told = now;
            let engine = self.measured.engine;
            self.measured.metrics.queue(engine, now.0, now.1);
        }
    }
}
