//! [`Cluster`] over a real API server. IO.

mod errors;
mod list;
mod requests;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kube::Client;
use serde_json::Value;

use super::cluster::{Cluster, Error, Key, Part, WatchEvent, WatchScope};
use super::concurrency::Limiter;
use super::config::Resource;

/// A client whose credential can be exchanged under everything that uses it. Requests that begin
/// after [`SwapClient::swap`] use the new one; watches change over when they next reconnect, so
/// nothing is listed again.
#[derive(Clone)]
pub struct SwapClient(Arc<Swapped>);

struct Swapped {
    client: ArcSwap<Client>,
    /// Counts the exchanges.
    swaps: tokio::sync::watch::Sender<u64>,
}

impl SwapClient {
    /// Begins with this client, which must not retry by itself (design section 3.7).
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Swapped {
            client: ArcSwap::from_pointee(client),
            swaps: tokio::sync::watch::Sender::new(0),
        }))
    }

    /// The client to use for one request.
    pub fn current(&self) -> Client {
        Client::clone(&self.0.client.load())
    }

    /// Exchanges the client. What the old credential was refused is tried again at once.
    pub fn swap(&self, client: Client) {
        self.0.client.store(Arc::new(client));
        self.0.swaps.send_modify(|swaps| *swaps += 1);
    }
}

/// One resource of one API server. Cheap to clone; all resources of one API server share the
/// client and the limiter.
#[derive(Clone)]
pub struct KubeCluster {
    client: SwapClient,
    limiter: Limiter,
    /// The highest version that the server has told so far, of this resource.
    told: Arc<AtomicU64>,
    base: Arc<str>,
    plural: Arc<str>,
}

impl KubeCluster {
    /// The resource as this API server serves it; whether an object is namespaced follows from
    /// the key of each request.
    pub fn new(client: SwapClient, limiter: Limiter, resource: &Resource) -> Self {
        let base = if resource.group.is_empty() {
            format!("/api/{}", resource.version)
        } else {
            format!("/apis/{}/{}", resource.group, resource.version)
        };
        Self {
            client,
            limiter,
            told: Arc::default(),
            base: base.into(),
            plural: resource.plural.as_str().into(),
        }
    }

    /// Remembers a version that the server told.
    fn heard(&self, version: &str) {
        if let Ok(version) = version.parse() {
            self.told.fetch_max(version, Ordering::Relaxed);
        }
    }

    fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    fn collection_path(&self, scope: &WatchScope) -> String {
        match scope {
            WatchScope::All => format!("{}/{}", self.base, self.plural),
            WatchScope::Namespace(namespace) => {
                format!("{}/namespaces/{namespace}/{}", self.base, self.plural)
            }
        }
    }

    fn object_path(&self, key: &Key) -> String {
        let scope = if key.namespace.is_empty() {
            WatchScope::All
        } else {
            WatchScope::Namespace(key.namespace.clone())
        };
        format!("{}/{}", self.collection_path(&scope), key.name)
    }
}

impl Cluster for KubeCluster {
    fn parallelism(&self) -> usize {
        self.limiter.limit()
    }

    fn renewed(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        Some(self.client.0.swaps.subscribe())
    }

    fn watch(&self, scope: WatchScope) -> BoxStream<'static, WatchEvent> {
        watch::stream(self.clone(), scope)
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(self.send(requests::get(self.object_path(key))))
    }

    fn apply<'a>(
        &'a self,
        key: &'a Key,
        manager: &'a str,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(self.send(requests::apply(&self.object_path(key), manager, body)))
    }

    fn json_patch<'a>(
        &'a self,
        key: &'a Key,
        part: Part,
        operations: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        let path = match part {
            Part::Main => self.object_path(key),
            Part::Status => format!("{}/status", self.object_path(key)),
        };
        Box::pin(self.send(requests::json_patch(path, operations)))
    }

    fn merge_patch<'a>(
        &'a self,
        key: &'a Key,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(self.send(requests::merge_patch(self.object_path(key), body)))
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        uid: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, Error>> {
        Box::pin(async move {
            let answer = self
                .send(requests::delete(self.object_path(key), uid))
                .await?;
            // An object that stays because of finalizers is answered as itself, one that is gone
            // as a Status.
            Ok((answer["kind"] != "Status").then_some(answer))
        })
    }
}
