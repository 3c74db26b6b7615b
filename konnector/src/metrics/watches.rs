//! How many watches are open towards each side. No IO of its own: it looks at what a client sends.

use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use prometheus_client::metrics::gauge::Gauge;

/// One open watch.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The same client, whose watches are counted until their answers end.
pub fn counted(client: Client, gauge: &Gauge) -> Client {
    let namespace = client.default_namespace().to_owned();
    let gauge = gauge.clone();
    let counting = tower::service_fn(move |request: Request<Body>| {
        let (client, gauge) = (client.clone(), gauge.clone());
        async move {
            let query = request.uri().query().unwrap_or_default();
            let watches = query
                .split('&')
                .any(|pair| matches!(pair, "watch=true" | "watch=1"));
            let response = client.send(request).await?;
            let open = (watches && response.status().is_success()).then(|| Open::new(&gauge));
            Ok::<_, kube::Error>(response.map(|body| {
                body.map_frame(move |frame| {
                    // Ends with the body that holds it.
                    let _ = &open;
                    frame
                })
            }))
        }
    });
    Client::new(counting, namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;

    #[tokio::test]
    async fn a_watch_counts_while_its_answer_lasts() {
        let gauge = Gauge::default();
        let client = counted(answering(|_| (200, serde_json::json!({}))), &gauge);
        let ask = async |uri: &str| {
            let request = Request::get(uri).body(Body::empty()).unwrap();
            client.send(request).await.unwrap()
        };
        let list = ask("/api/v1/pods?limit=500").await;
        assert_eq!(gauge.get(), 0);
        let first = ask("/api/v1/pods?&watch=true&timeoutSeconds=290").await;
        let second = ask("/api/v1/secrets?watch=true").await;
        assert_eq!(gauge.get(), 2);
        drop(first);
        assert_eq!(gauge.get(), 1);
        drop((list, second));
        assert_eq!(gauge.get(), 0);
    }
}
