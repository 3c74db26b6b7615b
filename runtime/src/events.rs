//! Kubernetes Events: what a person sees in `kubectl describe`. Losing one is never an error.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::{apply, text};

/// The API server refuses longer notes.
const LONGEST_NOTE: usize = 1024;
/// Short: whoever reports should not be held up by a slow API server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes events. One per process: repetitions are counted up only within one recorder.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events that name `controller` as their reporter.
    #[must_use]
    pub fn new(client: Client, controller: &str) -> Self {
        Self {
            recorder: Recorder::new(client, Reporter::from(controller)),
        }
    }

    /// Says that something went as it should.
    pub async fn normal(&self, regarding: &ObjectReference, reason: &str, note: impl Into<String>) {
        self.publish(EventType::Normal, regarding, reason, note.into())
            .await;
    }

    /// Says that something needs attention.
    pub async fn warning(
        &self,
        regarding: &ObjectReference,
        reason: &str,
        note: impl Into<String>,
    ) {
        self.publish(EventType::Warning, regarding, reason, note.into())
            .await;
    }

    async fn publish(
        &self,
        type_: EventType,
        regarding: &ObjectReference,
        reason: &str,
        note: String,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(text::shorten(&note, LONGEST_NOTE).into_owned()),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(err) = apply::timed_for(TIMEOUT, self.recorder.publish(&event, regarding)).await
        {
            let name = regarding.name.as_deref().unwrap_or_default();
            tracing::debug!(
                error = &err as &dyn std::error::Error,
                object.name = name,
                event.reason = reason,
                "failed to publish event {reason} on {name}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::Value;
    use tower_test::mock;

    use super::*;

    fn widget() -> ObjectReference {
        ObjectReference {
            api_version: Some("example.com/v1".to_owned()),
            kind: Some("Widget".to_owned()),
            name: Some("blue".to_owned()),
            namespace: Some("team".to_owned()),
            ..ObjectReference::default()
        }
    }

    #[tokio::test]
    async fn an_event_is_created_and_its_repetition_counted() {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let events = Events::new(Client::new(service, "ns"), "konnector");
        let again = events.clone();
        let publish = async {
            events.warning(&widget(), "Conflict", "not ours").await;
            again.warning(&widget(), "Conflict", "not ours").await;
        };
        let serve = async {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let (request, send) = handle.next_request().await.expect("a request");
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.expect("a body").to_vec();
                let event: Value = serde_json::from_slice(&body).expect("JSON");
                send.send_response(Response::new(Body::from(body)));
                seen.push((parts.method, parts.uri.path().to_owned(), event));
            }
            seen
        };
        let ((), seen) = tokio::join!(publish, serve);
        let (method, path, event) = &seen[0];
        assert_eq!(
            (method.as_str(), path.as_str()),
            ("POST", "/apis/events.k8s.io/v1/namespaces/team/events")
        );
        assert_eq!(
            (&event["type"], &event["reason"], &event["note"]),
            (&"Warning".into(), &"Conflict".into(), &"not ours".into())
        );
        assert_eq!(event["reportingController"], "konnector");
        assert_eq!(event["regarding"]["name"], "blue");
        let (method, _, event) = &seen[1];
        assert_eq!(
            (method.as_str(), &event["series"]["count"]),
            ("PATCH", &2.into())
        );
    }

    #[tokio::test]
    async fn a_failed_event_is_no_error() {
        let refuse = tower::service_fn(async |_: Request<Body>| {
            Ok::<_, std::convert::Infallible>(
                Response::builder()
                    .status(StatusCode::FORBIDDEN)
                    .body(Body::empty())
                    .expect("a response"),
            )
        });
        Events::new(Client::new(refuse, "ns"), "konnector")
            .normal(&widget(), "Synced", "fine")
            .await;
    }
}
