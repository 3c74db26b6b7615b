//! A kube client in front of a [`SwapClient`]. No IO of its own.
//!
//! A rotated credential must reach watches and controllers without a restart of any of them,
//! because a restart means new lists. So they all hold one `kube::Client` that forwards every
//! request to the current one; requests already under way finish on the client that they began with.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube_bind_runtime::client::SwapClient;
use tower::Service;

/// A client that always uses the newest credential of `swap`.
pub fn forwarding(swap: &SwapClient) -> Client {
    let namespace = swap.get().default_namespace().to_owned();
    Client::new(Forward { swap: swap.clone() }, namespace)
}

struct Forward {
    swap: SwapClient,
}

impl Service<Request<Body>> for Forward {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.swap.get();
        Box::pin(async move { client.send(request).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;

    #[tokio::test]
    async fn a_swap_redirects_clients_given_away_before() {
        let request = || Request::get("/version").body(Body::empty()).unwrap();
        let swap = SwapClient::new(answering(|_| (200, serde_json::json!({}))));
        let client = forwarding(&swap);
        assert_eq!(client.send(request()).await.unwrap().status(), 200);
        swap.swap(answering(|_| (418, serde_json::json!({}))));
        assert_eq!(client.send(request()).await.unwrap().status(), 418);
    }
}
