//! Whether this process still does its work, and whether it reaches its API server. No IO of its own.
//!
//! Standing for the lease never rests: leading or not, it asks the API server twice a second, and it
//! waits for the parts of a term to end before it stands again. So its requests are the pulse of the
//! process: without them it has panicked or hangs, and only a restart helps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::client::Body;
use kube_bind_runtime::health::Health;
use tokio::time::Instant;

/// Longer than everything that the work may wait for: the pauses between attempts to install the
/// CRDs, and the end of a term.
const DEAD: Duration = Duration::from_secs(180);
/// An API server that has not answered for so long is not reachable.
const UNANSWERED: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Name of the check of `/healthz`.
const ALIVE: &str = "leader election";
/// Name of the check of `/readyz`.
const READY: &str = "API server";

#[derive(Clone, Copy, Debug)]
struct Last {
    asked: Instant,
    answered: Instant,
}

/// When the process did something last; clones share it.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Last>>);

impl Pulse {
    /// Just now.
    pub fn new() -> Self {
        let now = Instant::now();
        let (asked, answered) = (now, now);
        Self(Arc::new(Mutex::new(Last { asked, answered })))
    }

    /// A client whose requests are the pulse.
    pub fn client(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let pulse = self.clone();
        let noting = tower::service_fn(move |request: Request<Body>| {
            let (client, pulse) = (client.clone(), pulse.clone());
            async move {
                pulse.lock().asked = Instant::now();
                let response = client.send(request).await?;
                if !response.status().is_server_error() {
                    pulse.lock().answered = Instant::now();
                }
                Ok::<_, kube::Error>(response)
            }
        });
        Client::new(noting, namespace)
    }

    /// Keeps the checks of the process current, for ever.
    pub async fn watch(self, health: Health) {
        loop {
            let last = *self.lock();
            health.set_alive(ALIVE, within(last.asked, DEAD, "asked for the lease"));
            health.set(READY, within(last.answered, UNANSWERED, "answered"));
            tokio::time::sleep(LOOK).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn within(last: Instant, limit: Duration, done: &str) -> Result<(), String> {
    let ago = last.elapsed();
    if ago < limit {
        return Ok(());
    }
    Err(format!("has not {done} for {} s", ago.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{answering, failure};

    /// What fails after so long of one request a second.
    async fn after(client: Option<Client>, wait: Duration) -> Vec<String> {
        let (pulse, health) = (Pulse::new(), Health::new());
        let asking = async {
            let Some(client) = client.map(|client| pulse.client(client)) else {
                return std::future::pending::<()>().await;
            };
            loop {
                let request = Request::get("/").body(Body::empty()).unwrap();
                let _ = client.send(request).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let watching = pulse.clone().watch(health.clone());
        let both = futures::future::join(asking, watching);
        let _ = tokio::time::timeout(wait, both).await;
        health.failing().into_keys().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_is_alive_and_who_is_answered_is_ready() {
        let long = DEAD + LOOK * 2;
        let nothing: [&str; 0] = [];
        let good = answering(|_| (200, serde_json::json!({})));
        assert_eq!(after(Some(good), long).await, nothing);
        let denied = answering(|_| failure(403, "Forbidden"));
        assert_eq!(after(Some(denied), long).await, nothing);
        let away = answering(|_| failure(503, "ServiceUnavailable"));
        assert_eq!(after(Some(away), long).await, [READY]);
        assert_eq!(after(None, UNANSWERED / 2).await, nothing);
        assert_eq!(after(None, UNANSWERED + LOOK * 2).await, [READY]);
        assert_eq!(after(None, long).await, [READY, ALIVE]);
    }
}
