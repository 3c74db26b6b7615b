//! A kube client in front of a [`SwapClient`]. No IO of its own.
//!
//! A rotated credential must reach watches and controllers without a restart of any of them,
//! because a restart means new lists. So they all hold one `kube::Client` that forwards every
//! request to the current one; requests already under way finish on the client that they began with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube_bind_runtime::client::SwapClient;
use tokio::time::Instant;

/// When a server was heard last: an answer, or an event or a bookmark of any watch.
#[derive(Clone, Debug)]
pub struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    /// Just now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Something was heard.
    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until nothing has been heard for that long.
    pub async fn silent_for(&self, limit: Duration) {
        loop {
            let due = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + limit;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// A client that always uses the newest credential of `swap`, and notes what it hears.
pub fn forwarding(swap: &SwapClient, heard: &Heard) -> Client {
    let namespace = swap.get().default_namespace().to_owned();
    let (swap, heard) = (swap.clone(), heard.clone());
    let forward = tower::service_fn(move |request: Request<Body>| {
        let (client, heard) = (swap.get(), heard.clone());
        async move {
            let response = client.send(request).await?;
            heard.note();
            Ok::<_, kube::Error>(response.map(|body| {
                body.map_frame(move |frame| {
                    heard.note();
                    frame
                })
            }))
        }
    });
    Client::new(forward, namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;

    #[tokio::test]
    async fn a_swap_redirects_clients_given_away_before() {
        let request = || Request::get("/version").body(Body::empty()).unwrap();
        let swap = SwapClient::new(answering(|_| (200, serde_json::json!({}))));
        let client = forwarding(&swap, &Heard::new());
        assert_eq!(client.send(request()).await.unwrap().status(), 200);
        swap.swap(answering(|_| (418, serde_json::json!({}))));
        assert_eq!(client.send(request()).await.unwrap().status(), 418);
    }
}
