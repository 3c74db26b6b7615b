//! Controllers run on one replica only: the one that holds the Lease. `/readyz` shows when they fail.

use std::sync::{Arc, PoisonError};

use kube_bind_runtime::clock::SharedClock;
use kube_bind_runtime::events::Events;
use kube_bind_runtime::health::{Health, SharedRegistry};
use kube_bind_runtime::lease::{self, LeaderToken, LeaseConfig};
use kube_bind_runtime::shutdown::Shutdown;

use crate::controllers::{self, Context, Metrics};
use crate::provision::Settings;

/// Lease that the replicas stand for.
const LEASE: &str = "kube-bind-backend";

/// What the controllers need.
pub struct Leading {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Provider cluster.
    pub client: kube::Client,
    /// Settings of the controllers.
    pub settings: Arc<Settings>,
    /// Time.
    pub clock: SharedClock,
    /// Where failures show.
    pub health: Health,
    /// Where they are counted.
    pub registry: SharedRegistry,
}

impl Leading {
    /// Stands for the Lease and runs the controllers whenever it is ours.
    pub async fn run(self, shutdown: Shutdown) {
        let metrics = {
            let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
            Metrics::register(&mut registry)
        };
        let config = LeaseConfig::new(
            self.namespace,
            LEASE,
            LeaseConfig::default_identity("kube-bind-backend"),
        );
        let context = Context {
            client: self.client.clone(),
            settings: self.settings,
            clock: Arc::clone(&self.clock),
            events: Events::new(self.client.clone(), "kube-bind-backend"),
            metrics,
            health: self.health,
        };
        let lead = move |token: LeaderToken| lead(context.clone(), token);
        lease::run(config, self.client, self.clock, shutdown, lead).await;
    }
}

async fn lead(context: Context, token: LeaderToken) {
    let _watch = Watch {
        health: context.health.clone(),
        token: token.clone(),
    };
    controllers::run_all(context, token.token().clone()).await;
}

/// Notices that the controllers ended, in whatever way.
struct Watch {
    health: Health,
    token: LeaderToken,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.token.is_cancelled() {
            self.health.remove(controllers::HEALTH_CHECK);
        } else {
            // A bug: the process looks healthy while nothing works. Only a restart helps.
            let reason = "the controllers ended although they should run".to_owned();
            self.health
                .set_alive(controllers::HEALTH_CHECK, Err(reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use kube_bind_runtime::clock::SystemClock;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn controllers_that_end_by_themselves_show_in_the_health_checks() {
        let health = Health::new();
        let stop = CancellationToken::new();
        let token = LeaderToken::unlimited(SystemClock::shared(), stop.clone());
        drop(Watch {
            health: health.clone(),
            token: token.clone(),
        });
        assert!(health.failing().contains_key(controllers::HEALTH_CHECK));
        stop.cancel();
        drop(Watch {
            health: health.clone(),
            token,
        });
        assert!(health.failing().is_empty());
    }
}
