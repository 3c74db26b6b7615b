//! Stands for a lease, leads, and stands again. Talks to the API server.

use kube::Client;

use super::{LeaderToken, LeaseConfig};
use crate::clock::SharedClock;
use crate::shutdown::Shutdown;

/// Stands for the lease until `shutdown`.
pub async fn run<F, Fut>(_config: LeaseConfig, _client: Client, _clock: SharedClock, _shutdown: Shutdown, mut _on_lead: F)
where
    F: FnMut(LeaderToken) -> Fut + Send,
    Fut: Future<Output = ()> + Send + 'static,
{
}
