//! One side of a sync as the engine sees it: the resource of one kind in one cluster. No IO here.
//!
//! The trait is the seam for simulation: one implementation is kube ([`super::KubeCluster`]), the
//! other an API server in memory. Every write has its precondition in its arguments.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::Value;

use super::concurrency::Limiter;

/// Namespace and name of an object; the namespace of a cluster-scoped one is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What one watch covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WatchScope {
    /// All namespaces, or a cluster-scoped kind.
    All,
    /// One namespace.
    Namespace(String),
}

impl WatchScope {
    /// Whether an object with this key is seen by the watch.
    pub fn covers(&self, key: &Key) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => *namespace == key.namespace,
        }
    }
}

/// What a watch tells. Failures are retried inside the stream, which never ends by itself.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// A list begins, the first one or a new one after the server forgot our position.
    ///
    /// A list shows everything that had happened when it was asked for. So whatever was learned from
    /// this server before that counts for nothing against it, even where its versions are older:
    /// then the server was restored from a backup, and the list is the truth.
    ListBegin {
        /// The highest version that any answer or event of this resource had told when the list was asked
        /// for; empty if none had. Of an implementation whose versions are not numbers it is empty.
        known: String,
    },
    /// An object of the list that began.
    Listed(Value),
    /// An object is there, in a list or changed, but cannot be read: only its metadata is known, and of
    /// that not who manages which fields.
    Unreadable(Value),
    /// The list is complete: what it did not name is gone, unless an entry is newer than it.
    ListEnd {
        /// Version of the list.
        resource_version: String,
    },
    /// The watch runs, after the list or again after a failure.
    Watching,
    /// An object was created or changed.
    Applied(Value),
    /// An object is gone; the body is its last state, with the version of the deletion.
    Deleted(Value),
    /// Nothing happened up to this version.
    Bookmark {
        /// Version up to which the watch has told everything.
        resource_version: String,
    },
    /// A list or a watch failed and is being retried.
    Failing(Error),
}

/// Which part of an object a JSON patch addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself.
    Main,
    /// Its `status` subresource.
    Status,
}

/// Why a request had no effect, or why that is not known; sorted by what the engine does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 404 of the object.
    #[error("the object does not exist")]
    NotFound,
    /// 404 of the kind: its CRD is missing or not yet served.
    #[error("the API server does not serve this kind: {message}")]
    NotServed {
        /// The server's words.
        message: String,
    },
    /// 409, or 422 caused by one of our own preconditions: look again and decide anew.
    #[error("the object is not what it was")]
    Changed,
    /// The request was carried out, and the object that is the answer cannot be read: only its metadata
    /// is known, and of that not who manages which fields.
    #[error("the object cannot be read")]
    Unreadable(Box<Value>),
    /// 410: the position in the history is gone.
    #[error("the requested resource version is too old")]
    Expired,
    /// The object was refused: schema, admission, the size of it, or an object that cannot be applied at all.
    #[error("{message}")]
    Rejected {
        /// HTTP status.
        code: u16,
        /// The server's words, meant for who wrote the object.
        message: String,
    },
    /// The namespace is missing or terminating: wait.
    #[error("the namespace is missing or terminating: {message}")]
    NamespaceGone {
        /// The server's words.
        message: String,
    },
    /// RBAC does not allow the request.
    #[error("missing right: {message}")]
    Denied {
        /// The server's words, which name the missing right.
        message: String,
    },
    /// The credential is not accepted.
    #[error("the credential is not accepted: {message}")]
    Unauthorized {
        /// The server's words.
        message: String,
    },
    /// 429.
    #[error("the API server is throttling")]
    Throttled {
        /// How long the server wants us to stay away.
        retry_after: Option<Duration>,
    },
    /// 500 because something behind the API server that this kind of object needs does not answer, or not as
    /// it should, such as an admission webhook: the server itself is well.
    #[error("the API server failed at this object: {message}")]
    Internal {
        /// The server's words.
        message: String,
    },
    /// Any other 5xx, a broken connection, no connection: the effect of a write is not known.
    #[error("the API server is unavailable: {message}")]
    Unavailable {
        /// What happened.
        message: String,
        /// How long the server wants us to stay away.
        retry_after: Option<Duration>,
    },
    /// No answer in time: the effect of a write is not known.
    #[error("no answer within {}s", .after.as_secs_f32())]
    TimedOut {
        /// How long we waited.
        after: Duration,
    },
}

impl Error {
    /// Whether it speaks of the server's load or health rather than of the object.
    pub fn is_overload(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. } | Self::Unavailable { .. } | Self::TimedOut { .. }
        )
    }

    /// Whether it says that the way to this server is broken for more than one object.
    pub fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::NotServed { .. }
                | Self::Denied { .. }
                | Self::Unauthorized { .. }
                | Self::Unavailable { .. }
                | Self::TimedOut { .. }
        )
    }

    /// Whether somebody has to grant something before it works.
    pub fn is_of_rights(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Unauthorized { .. })
    }

    /// How long the server wants us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// One resource in one cluster.
pub trait Cluster: Send + Sync + 'static {
    /// Where requests wait for their turn, if there is one. To be asked before each of those below, watches
    /// excepted: how long a request may take, and whether it may be sent at all, is a question only then.
    fn limiter(&self) -> Option<&Limiter>;

    /// How many requests the API server can take at a time, at the moment.
    fn parallelism(&self) -> usize {
        self.limiter().map_or(4, Limiter::limit)
    }

    /// Changes when the credential was renewed, if it ever is: what it did not allow is tried again.
    fn renewed(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        None
    }

    /// Lists in pages and then watches, as one endless stream; lists again when it must.
    fn watch(&self, scope: WatchScope) -> BoxStream<'static, WatchEvent>;

    /// Reads one object.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Value, Error>>;

    /// Server-side apply. The body names its preconditions: `metadata.uid` (the object must be that
    /// one), or `metadata.resourceVersion: "0"` (it must not exist).
    fn apply<'a>(
        &'a self,
        key: &'a Key,
        manager: &'a str,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>>;

    /// JSON patch; the operations begin with a `test` of `/metadata/uid`.
    fn json_patch<'a>(
        &'a self,
        key: &'a Key,
        part: Part,
        operations: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>>;

    /// JSON merge patch; the body names `metadata.uid` and `metadata.resourceVersion`.
    fn merge_patch<'a>(
        &'a self,
        key: &'a Key,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>>;

    /// Deletes the object with this uid in this state and no other.
    /// `Ok(Some)` is what remains because of finalizers, `Ok(None)` means that it is gone.
    fn delete<'a>(
        &'a self,
        key: &'a Key,
        uid: &'a str,
        version: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, Error>>;
}
