//! What the engine needs from the rest of the konnector, as traits. No IO here.

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;

use super::Key;
use super::cluster::Error;

/// The mapping of consumer namespaces to service namespaces of one cluster namespace.
pub trait Namespaces: Send + Sync + 'static {
    /// Whether all mappings that there are were told once; before, that there is none means nothing.
    fn is_listed(&self) -> bool;
    /// Service namespace of a consumer namespace, once the provider has published it.
    fn to_provider(&self, consumer_namespace: &str) -> Option<String>;
    /// Why the provider gives this consumer namespace none, if it says so.
    fn problem(&self, _consumer_namespace: &str) -> Option<String> {
        None
    }
    /// Consumer namespace of a service namespace.
    fn to_consumer(&self, provider_namespace: &str) -> Option<String>;
    /// Asks for a mapping (an `APIServiceNamespace`). Idempotent, cheap, does not block; called
    /// again and again while the mapping is missing.
    fn request(&self, consumer_namespace: &str);
    /// Generation of the mapping: changes whenever an answer of the others may have changed.
    fn subscribe(&self) -> watch::Receiver<u64>;
    /// All service namespaces that are known.
    fn provider_namespaces(&self) -> Vec<String>;
}

/// The definition of the kind on the consumer.
pub trait Definition: Send + Sync + 'static {
    /// Whether the CRD is being deleted, or gone, at this moment: read from the API server and not
    /// from a cache, because objects may be seen to terminate before it. Asked only when unusually many
    /// objects terminate, or when it was seen to.
    fn is_terminating(&self) -> BoxFuture<'_, Result<bool, Error>>;
    /// Whether it was seen to be deleted, which costs no request and may be old by a moment.
    fn was_seen_terminating(&self) -> bool;
}

/// A consumer object that needs a person, for an Event on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// `group/version`, or `version` for the core group.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace and name on the consumer.
    pub key: Key,
    /// Its uid.
    pub uid: String,
}

/// Kinds of problems, which are also the reasons of their Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// An object that is not ours is in the way on the provider.
    Conflict,
    /// The provider's API server does not accept the object.
    Rejected,
    /// The object's name cannot exist on the provider.
    ImpossibleName,
    /// The consumer's API server does not accept the status that the provider gave.
    StatusRejected,
    /// One side's API server has failed at this object for a while, and not at others.
    Failing,
    /// Its deletion is held, because too many objects vanished at once.
    Held,
    /// Its namespace has had no counterpart on the provider for a while.
    WaitingForNamespace,
    /// What one side has cannot be read, and so is not copied.
    Unreadable,
}

impl ProblemKind {
    /// Whether both sides show it, without a request that fails.
    pub(super) fn is_found_by_looking(self) -> bool {
        match self {
            Self::Conflict
            | Self::ImpossibleName
            | Self::Held
            | Self::WaitingForNamespace
            | Self::Unreadable => true,
            Self::Rejected | Self::StatusRejected | Self::Failing => false,
        }
    }

    /// Reason of the Event.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Conflict => "SyncConflict",
            Self::Rejected => "SyncRejected",
            Self::ImpossibleName => "SyncImpossibleName",
            Self::StatusRejected => "SyncStatusRejected",
            Self::Failing => "SyncFailing",
            Self::Held => "SyncHeld",
            Self::WaitingForNamespace => "SyncWaitingForNamespace",
            Self::Unreadable => "SyncUnreadable",
        }
    }
}

/// What is wrong with an object, in words for its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Sort of problem.
    pub kind: ProblemKind,
    /// One sentence; also the value of the annotation `kube-bind.io/sync-problem`.
    pub message: String,
}

/// Receives problems; called once when a problem appears or changes, not on every retry. The
/// annotation on the object is the engine's own business.
pub trait ProblemSink: Send + Sync + 'static {
    /// A problem appeared on a consumer object: publish a Warning Event. Must not block.
    fn raised(&self, object: &ObjectRef, problem: &Problem);
    /// The problem of this object is gone. Must not block.
    fn solved(&self, object: &ObjectRef);
}

/// Sees every consumer object that passes, for claims by reference.
pub trait ReferrerSink: Send + Sync + 'static {
    /// The object as it is now, or `None` when it is gone. Must not block.
    fn observe(&self, consumer: &Key, body: Option<&Value>);
    /// The first list is complete: everything that exists has been observed.
    fn listed(&self);
}
