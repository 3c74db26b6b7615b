//! Runs one bound resource: feeds what both sides tell into the state, and executes what the
//! state decides. This is the shell around [`super::state`]; all requests are in `execute`.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{EngineConfig, Ports};

/// How the objects of one engine are doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Consumer objects, in whatever state.
    pub objects: usize,
    /// In sync.
    pub synced: usize,
    /// Being worked on, or waiting for a retry.
    pub pending: usize,
    /// Refused by the provider's API server.
    pub rejected: usize,
    /// A foreign object is in the way.
    pub conflict: usize,
    /// Waiting for a service namespace.
    pub waiting_namespace: usize,
    /// Provider copies whose consumer objects vanished all at once: kept until a person decides.
    pub held: usize,
    /// The first lists of both sides are complete.
    pub listed: bool,
    /// Why the consumer cannot be watched at the moment.
    pub consumer_failing: Option<String>,
    /// Why the provider cannot be watched at the moment.
    pub provider_failing: Option<String>,
}

/// A running engine. Dropping it stops the engine without waiting for it.
pub struct EngineHandle {
    counts: watch::Receiver<Counts>,
    cancel: CancellationToken,
    tracker: TaskTracker,
}

impl EngineHandle {
    /// How its objects are doing now.
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Changes of the counts.
    pub fn subscribe(&self) -> watch::Receiver<Counts> {
        self.counts.clone()
    }

    /// Stops after the requests in flight and waits for that.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tracker.wait().await;
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Starts the engine; it ends with `shutdown` or with [`EngineHandle::stop`]. Must be called
/// within a tokio runtime, whose clock is the engine's clock.
pub fn start(_config: EngineConfig, _ports: Ports, shutdown: &CancellationToken) -> EngineHandle {
    let cancel = shutdown.child_token();
    let tracker = TaskTracker::new();
    let (_sender, counts) = watch::channel(Counts::default());
    tracker.close();
    EngineHandle { counts, cancel, tracker }
}
