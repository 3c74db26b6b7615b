//! Finds out where the identity provider's endpoints are and which keys it signs with, and keeps
//! knowing it. Does IO.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use kube_bind_runtime::backoff::Backoff;
use kube_bind_runtime::health::Health;
use kube_bind_runtime::shutdown::Shutdown;
use tracing::{info, warn};

use super::provider::Metadata;
use super::relying_party::{Error, RelyingParty, with_causes};

/// Name of the check in `/readyz`.
const CHECK: &str = "oidc";
/// Discovery documents change rarely, but they do.
const REDISCOVER: Duration = Duration::from_secs(3600);
/// A token signed by an unknown key makes us read the keys again, but not more often than this.
const REFRESH_AT_MOST: Duration = Duration::from_secs(10);

impl RelyingParty {
    /// Discovers the identity provider and reads its keys, once.
    pub async fn discover(&self) -> Result<(), Error> {
        let metadata = Metadata::discover_async(self.issuer.clone(), &self.http).await;
        let metadata = metadata.map_err(|err| Error::Discover {
            issuer: self.settings.issuer.clone(),
            problem: with_causes(&err),
        })?;
        self.metadata.store(Some(Arc::new(metadata)));
        Ok(())
    }

    /// Discovers again and again: quickly until it works, hourly afterwards. `/readyz` shows the state.
    pub async fn keep_discovering(self: Arc<Self>, health: Health, shutdown: Shutdown) {
        health.set(
            CHECK,
            Err("discovery of the identity provider has not finished".to_owned()),
        );
        let backoff = Backoff::between(Duration::from_millis(200), Duration::from_secs(30));
        loop {
            let pause = match self.discover().await {
                Ok(()) => {
                    backoff.reset(&());
                    info!(oidc.issuer = %self.settings.issuer, "discovered the identity provider");
                    health.set(CHECK, Ok(()));
                    REDISCOVER
                }
                Err(err) => {
                    let pause = backoff.next(&());
                    warn!(
                        error = &err as &dyn StdError,
                        retry_in_seconds = pause.as_secs_f64(),
                        "logins are not possible until this works"
                    );
                    // What was discovered before stays in use.
                    if self.metadata.load().is_none() {
                        health.set(CHECK, Err(err.to_string()));
                    }
                    pause
                }
            };
            if shutdown
                .token
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Reads the keys again unless that was just done; whether it was done.
    pub(super) async fn refresh(&self) -> bool {
        let mut refreshed = self.refreshed.lock().await;
        let now = self.clock.monotonic();
        if refreshed.is_some_and(|last| now.duration_since(last) < REFRESH_AT_MOST) {
            return false;
        }
        *refreshed = Some(now);
        match self.discover().await {
            Ok(()) => true,
            Err(err) => {
                warn!(
                    error = &err as &dyn StdError,
                    "failed to read the identity provider's keys again"
                );
                false
            }
        }
    }
}
