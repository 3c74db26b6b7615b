//! One list and watch that keeps a store current and tells what happened. IO: reads only.
//!
//! Every watch of the konnector but those of the sync engine goes through here: managed fields are
//! dropped, failures are retried by themselves with a growing pause, and are told to whoever asked.

mod follow;
mod witness;

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use follow::{Told, Wanted, at_most, follow, is_before};
pub use witness::{Found, Witness, Witnesses};

/// A bookmark comes about once a minute. A watch that is silent for longer may be a connection that
/// only looks open.
pub const SILENCE: Duration = Duration::from_secs(100);

/// So much earlier by our clock a watch may end in time by the server's.
pub const EARLY: Duration = Duration::from_secs(1);

/// Whether a first list is complete. Stores know that too, but wake only one of those who wait.
#[derive(Clone, Debug)]
pub struct Listed(Arc<watch::Sender<bool>>);

impl Listed {
    /// Not yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// It is complete now.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is.
    pub async fn wait(&self) {
        let listed = self.0.subscribe().wait_for(|listed| *listed).await.is_ok();
        debug_assert!(listed, "the sender lives as long as we do");
    }
}

impl Default for Listed {
    fn default() -> Self {
        Self::new()
    }
}

/// What a watch tells.
pub enum Signal<'a, K> {
    /// An object exists, new or changed; the store has it already.
    Changed(&'a K),
    /// An object is gone.
    Removed(&'a K),
    /// A list is complete: objects that it did not name are gone without a [`Signal::Removed`].
    Listed,
    /// The watch runs, after a list or again after a failure.
    Running,
    /// A request failed and is being retried.
    Failed(&'a watcher::Error),
}

/// Watches until `stop`.
pub async fn reflect<K>(
    api: Api<K>,
    wanted: impl Into<Wanted>,
    mut writer: Writer<K>,
    stop: CancellationToken,
    mut tell: impl FnMut(Signal<'_, K>),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let told = |told: Told<K>| {
        let event = match told {
            Told::Event(event) => event,
            Told::Running => return tell(Signal::Running),
            Told::Failed(error) => return tell(Signal::Failed(&error)),
        };
        writer.apply_watcher_event(&event);
        match &event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                tell(Signal::Changed(object));
            }
            watcher::Event::Delete(object) => tell(Signal::Removed(object)),
            watcher::Event::InitDone => tell(Signal::Listed),
            watcher::Event::Init => {}
        }
    };
    stop.run_until_cancelled(follow(api, wanted, told)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_complete_list_wakes_all_who_wait() {
        let listed = Listed::new();
        assert!(!listed.is_set());
        let waiting = futures::future::join_all((0..3).map(|_| listed.wait()));
        let (_, ()) = tokio::join!(waiting, async { listed.set() });
        listed.wait().await;
    }
}
