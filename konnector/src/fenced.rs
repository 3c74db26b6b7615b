//! A client that writes nothing once the lease may be another's. No IO of its own.
//!
//! Engines and claims ask for the time that is left themselves, object by object. Everything else that
//! a term does is few and long: looks at bindings, sweeps, heartbeats. None of it may forget to ask.

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use kube_bind_runtime::lease::LeaderToken;

/// Questions that are asked by POST.
const REVIEWS: &str = "/apis/authorization.k8s.io/";

/// A write did not begin, or its answer was not waited for.
#[derive(Debug, thiserror::Error)]
#[error("this replica does not lead any more")]
pub struct NotLeading;

/// A client whose writes begin, and are waited for, only while `leader` leads.
pub fn fenced(client: Client, leader: LeaderToken) -> Client {
    let namespace = client.default_namespace().to_owned();
    let fence = tower::service_fn(move |request: Request<Body>| {
        let (client, leader) = (client.clone(), leader.clone());
        async move {
            let reads = is_read(&request);
            let answer = client.send(request);
            if reads {
                return answer.await.map_err(tower::BoxError::from);
            }
            tokio::select! {
                biased;
                () = ended(&leader) => Err(NotLeading.into()),
                answer = answer => answer.map_err(Into::into),
            }
        }
    });
    Client::new(fence, namespace)
}

fn is_read(request: &Request<Body>) -> bool {
    [Method::GET, Method::HEAD].contains(request.method())
        || request.uri().path().starts_with(REVIEWS)
}

/// Waits until the lease may be another's; it is renewed all the time.
async fn ended(leader: &LeaderToken) {
    loop {
        let left = leader.time_left();
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = leader.token().cancelled() => {}
            () = tokio::time::sleep(left) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;
    use kube_bind_runtime::clock::SystemClock;
    use std::sync::{Arc, Mutex};
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn nothing_is_written_after_the_end_of_a_term() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heard = seen.clone();
        let server = answering(move |asked| {
            heard.lock().unwrap().push(asked.method.clone());
            (200, serde_json::json!({}))
        });
        let term = CancellationToken::new();
        let leader = LeaderToken::unlimited(SystemClock::shared(), term.clone());
        let client = fenced(server, leader);
        let send = async |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Body::empty()).unwrap();
            client.send(request).await.map(|_| ())
        };
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            assert!(send(method, "/api").await.is_ok(), "{method}");
        }
        seen.lock().unwrap().clear();
        term.cancel();
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let error = send(method, "/api").await.unwrap_err();
            assert!(error.to_string().contains("does not lead"), "{error}");
        }
        assert!(send("GET", "/api").await.is_ok());
        assert!(send("POST", review).await.is_ok());
        assert_eq!(*seen.lock().unwrap(), ["GET", "POST"]);
    }
}
