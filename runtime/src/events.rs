//! Kubernetes Events: what a person sees in `kubectl describe`. Losing one is never an error.

use std::error::Error as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::apply;

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
        Self { recorder: Recorder::new(client, Reporter::from(controller)) }
    }

    /// Says that something went as it should.
    pub async fn normal(&self, regarding: &ObjectReference, reason: &str, note: impl Into<String>) {
        self.publish(EventType::Normal, regarding, reason, note.into()).await;
    }

    /// Says that something needs attention.
    pub async fn warning(&self, regarding: &ObjectReference, reason: &str, note: impl Into<String>) {
        self.publish(EventType::Warning, regarding, reason, note.into()).await;
    }

    async fn publish(&self, type_: EventType, regarding: &ObjectReference, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(shorten(note)),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(err) = apply::timed_for(TIMEOUT, self.recorder.publish(&event, regarding)).await {
            let name = regarding.name.as_deref().unwrap_or_default();
            tracing::debug!(
                error = &err as &dyn std::error::Error,
                cause = err.source(),
                object.name = name,
                event.reason = reason,
                "failed to publish event {reason} on {name}"
            );
        }
    }
}

/// Cuts a note to what the API server takes, at a character boundary.
fn shorten(mut note: String) -> String {
    if note.len() > LONGEST_NOTE {
        note.truncate(note.floor_char_boundary(LONGEST_NOTE - "...".len()));
        note.push_str("...");
    }
    note
}
