//! The provider's controllers (contract section 4). Each module is one of them: observe (IO), decide
//! (pure), apply (IO, every write with a precondition or idempotent), report (IO, only on change).
//! They run on the leader only; two at once for a moment would be harmless.

mod access;
mod cluster;
mod cluster_binding;
mod consumer;
mod driver;
mod error;
mod export;
mod export_request;
mod metrics;
mod rights;
mod seen;
mod service_namespace;
mod sources;
mod status;
mod tolerant;
mod watching;

use std::sync::Arc;

use kube::Client;
use kube_bind_runtime::clock::SharedClock;
use kube_bind_runtime::events::Events;
use kube_bind_runtime::health::Health;
use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use metrics::Metrics;

use crate::provision::Settings;
use sources::Sources;

/// Name of the readiness check that fails until the offer is known; every watch has one of its own.
pub const HEALTH_CHECK: &str = "controllers";

/// What all controllers share.
#[derive(Clone)]
pub struct Context {
    /// Client of the provider cluster.
    pub client: Client,
    /// Settings of the backend.
    pub settings: Arc<Settings>,
    /// Time.
    pub clock: SharedClock,
    /// Events that people see.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
    /// Readiness: the controllers report that they work.
    pub health: Health,
}

/// Runs all controllers until `stop`; the time to call it is when this process has become the leader.
/// Nothing runs any more when it returns.
pub async fn run_all(context: Context, stop: CancellationToken) {
    context.health.set(
        HEALTH_CHECK,
        Err("the offer has not been listed yet".to_owned()),
    );
    let (sources, feed) = Sources::new(context.client.clone());
    let controllers = async {
        // A request that is looked at before the offer is known would be told that there is none.
        if stop.run_until_cancelled(sources.ready()).await.is_none() {
            return;
        }
        context.health.set(HEALTH_CHECK, Ok(()));
        tokio::join!(
            cluster::run(context.clone(), stop.clone()),
            cluster_binding::run(context.clone(), stop.clone()),
            consumer::run(context.clone(), stop.clone()),
            access::run(context.clone(), stop.clone()),
            service_namespace::run(context.clone(), stop.clone()),
            export::run(context.clone(), sources.clone(), stop.clone()),
            export_request::run(context.clone(), sources.clone(), stop.clone()),
        );
    };
    tokio::join!(feed.run(context.health.clone(), stop.clone()), controllers);
    context.health.remove(HEALTH_CHECK);
}

#[cfg(test)]
impl Context {
    /// A context for tests of one reconcile.
    fn for_tests(client: Client) -> Self {
        let now = "2026-01-01T12:00:00Z".parse().expect("a timestamp");
        Self {
            events: Events::new(client.clone(), "test"),
            client,
            settings: crate::provision::test_support::shared_settings(),
            clock: kube_bind_runtime::clock::FixedClock::new(now).shared(),
            metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
            health: Health::new(),
        }
    }
}
