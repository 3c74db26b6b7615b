//! Clients in front of a [`SwapTransport`]. No IO of their own.
//!
//! A rotated credential must reach watches and controllers without a restart of any of them,
//! because a restart means new lists. So what they all hold forwards every request to the current
//! client; requests already under way finish on the client that they began with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube_bind_runtime::client::SwapTransport;
use kube_bind_runtime::transport::{Answer, Transport};
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

/// Always uses the newest credential of a [`SwapTransport`], and notes what it hears.
#[derive(Clone)]
pub struct Forward {
    swap: SwapTransport,
    heard: Heard,
}

impl Forward {
    /// By the way that the swap has at the time of each request.
    pub fn new(swap: &SwapTransport, heard: &Heard) -> Self {
        let (swap, heard) = (swap.clone(), heard.clone());
        Self { swap, heard }
    }

    /// As a client, whose watches are noted as long as they live.
    pub fn client(&self) -> Client {
        let namespace = self.swap.get().default_namespace().to_owned();
        let forward = self.clone();
        let send = tower::service_fn(move |request: Request<Body>| {
            let forward = forward.clone();
            async move {
                let heard = forward.heard.clone();
                let response = forward.send(request).await?;
                Ok::<_, kube::Error>(response.map(|body| {
                    body.map_frame(move |frame| {
                        heard.note();
                        frame
                    })
                }))
            }
        });
        Client::new(send, namespace)
    }

    /// For the requests of the sync engines, which are no watches.
    pub fn transport(&self) -> Transport {
        let forward = self.clone();
        let send = tower::service_fn(move |request| forward.clone().send(request));
        Transport::new(send, self.swap.get().default_namespace())
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Answer>, kube::Error> {
        let response = self.swap.get().send(request).await?;
        self.heard.note();
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;

    #[tokio::test]
    async fn a_swap_redirects_clients_given_away_before() {
        let request = || Request::get("/version").body(Body::empty()).unwrap();
        let swap = SwapTransport::new(answering(|_| (200, serde_json::json!({}))).into());
        let forward = Forward::new(&swap, &Heard::new());
        let (client, ask) = (forward.client(), forward.transport());
        assert_eq!(client.send(request()).await.unwrap().status(), 200);
        assert_eq!(ask.send(request()).await.unwrap().status(), 200);
        swap.swap(answering(|_| (418, serde_json::json!({}))).into());
        assert_eq!(client.send(request()).await.unwrap().status(), 418);
        assert_eq!(ask.send(request()).await.unwrap().status(), 418);
    }
}
