//! What an engine measures, as a port: the konnector counts it, tests ignore it. No IO here.

use std::time::Duration;

use tokio::time::Instant;

use super::cluster::Error;

/// One of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The consumer.
    Consumer,
    /// The provider.
    Provider,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Consumer => Self::Provider,
            Self::Provider => Self::Consumer,
        }
    }
}

/// The requests by which an engine changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Server-side apply.
    Apply,
    /// JSON patch or merge patch.
    Patch,
    /// Deletion.
    Delete,
}

/// How a write ended; few, because they become labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteResult {
    /// Done.
    Success,
    /// The object was not what it was: looked at again.
    Conflict,
    /// Refused: by the schema, by admission, or by the authorizer.
    Refused,
    /// The server was overloaded, away or silent; tried again.
    Failed,
}

impl WriteResult {
    /// Sorts an answer.
    pub fn of<T>(answer: &Result<T, Error>) -> Self {
        match answer {
            Ok(_) | Err(Error::Unreadable(_)) => Self::Success,
            Err(Error::Changed | Error::NotFound | Error::Expired) => Self::Conflict,
            Err(Error::Rejected { .. } | Error::Denied { .. } | Error::Unauthorized { .. }) => {
                Self::Refused
            }
            Err(_) => Self::Failed,
        }
    }
}

/// Receives measurements; all calls are cheap and none may block. A `creationTimestamp` has whole
/// seconds, so latencies begin when the watch brings the event to the engine and end when the answer
/// to the write on the other side is there. What a list finds (the backlog of a start) is not measured:
/// nobody knows how long ago it changed.
pub trait EngineMetrics: Send + Sync + 'static {
    /// A consumer's change is on the provider, `created` for a new copy.
    fn visible(&self, _created: bool, _after: Duration) {}
    /// A provider's status is on the consumer.
    fn status_back(&self, _after: Duration) {}
    /// A write was answered.
    fn wrote(&self, _side: Side, _verb: Verb, _result: WriteResult) {}
    /// Objects that wait for their turn, and since when the oldest does (to a second). Called when it
    /// changes; the age grows in between. Several engines may share one receiver: `engine` tells them
    /// apart, and its last call is with nothing.
    fn queue(&self, _engine: u64, _depth: usize, _oldest: Option<Instant>) {}
}

/// Measures nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

impl EngineMetrics for NoMetrics {}
