//! [`Cluster`] over a real API server. IO.

pub(super) mod errors;
mod list;
mod object;
mod requests;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kube::Client;
use kube_bind_runtime::transport::Transport;
use serde_json::Value;
use tokio::sync::watch::Receiver;

use super::cluster::{Cluster, Error, Key, Part, WatchEvent, WatchScope};
use super::concurrency::Limiter;
use super::config::Resource;
use crate::watch::Witnesses;
use object::ManagedFields;

/// The client of one side. It must not retry by itself: the limiter would not hear of what an
/// overloaded server answers. One whose credential can be exchanged uses the newest for each request,
/// so watches go on and nothing is listed again.
#[derive(Clone)]
pub struct EngineClient {
    /// For watches.
    client: Client,
    /// For everything else.
    transport: Transport,
    /// Changes when the credential was exchanged.
    renewals: Option<Receiver<u64>>,
}

impl EngineClient {
    /// Of a side whose credential never needs to be told about.
    pub fn new(client: Client) -> Self {
        Self {
            transport: client.clone().into(),
            client,
            renewals: None,
        }
    }

    /// The same client, whose requests take a shorter way to the same server than its watches.
    pub fn asked_by(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// The same client, of a side whose credential is exchanged when this changes: what the old one
    /// was refused is tried again at once.
    pub fn renewed_by(self, renewals: Receiver<u64>) -> Self {
        Self {
            renewals: Some(renewals),
            ..self
        }
    }
}

/// One resource of one API server. Cheap to clone; all resources of one API server share the
/// client and the limiter.
#[derive(Clone)]
pub struct KubeCluster {
    client: EngineClient,
    limiter: Limiter,
    /// The highest version that the server has told so far, of this resource.
    told: Arc<AtomicU64>,
    base: Arc<str>,
    plural: Arc<str>,
    managed_fields: ManagedFields,
}

impl KubeCluster {
    /// The resource as this API server serves it; whether an object is namespaced follows from
    /// the key of each request.
    pub fn new(client: EngineClient, limiter: Limiter, resource: &Resource) -> Self {
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
            managed_fields: ManagedFields::Kept,
        }
    }

    /// The same for who has no use for `metadata.managedFields`: whatever it reads comes without them.
    pub fn without_managed_fields(self) -> Self {
        Self {
            managed_fields: ManagedFields::Skipped,
            ..self
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

/// Remembers what was told of an object; `false` if it is known to be newer.
fn remember(witnesses: &mut Witnesses, object: &Value, present: bool) -> bool {
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    match text("resourceVersion").parse() {
        Ok(version) => witnesses.tell(text("namespace"), text("name"), version, present),
        // A version that cannot be compared is no witness.
        Err(_) => true,
    }
}

impl Cluster for KubeCluster {
    fn limiter(&self) -> Option<&Limiter> {
        Some(&self.limiter)
    }

    fn renewed(&self) -> Option<Receiver<u64>> {
        let mut renewals = self.client.renewals.clone()?;
        // Those before do not matter to who asks now.
        renewals.mark_unchanged();
        Some(renewals)
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
        version: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, Error>> {
        Box::pin(async move {
            let answer = self
                .send(requests::delete(self.object_path(key), uid, version))
                .await?;
            // An object that stays because of finalizers is answered as itself, one that is gone
            // as a Status.
            Ok((answer["kind"] != "Status").then_some(answer))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;
    use kube_bind_runtime::client::SwapTransport;

    #[test]
    fn an_exchanged_credential_is_news_to_the_engine() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let client = || answering(|_| (200, Value::Null));
        let swap = SwapTransport::new(client().into());
        let engine_client = EngineClient::new(client()).renewed_by(swap.swaps());
        let resource = Resource {
            group: String::new(),
            version: "v1".into(),
            plural: "secrets".into(),
            kind: "Secret".into(),
        };
        swap.swap(client().into());
        let cluster = KubeCluster::new(engine_client, Limiter::new(), &resource);
        let renewed = cluster.renewed().unwrap();
        assert!(
            !renewed.has_changed().unwrap(),
            "it begins with the new one"
        );
        swap.swap(client().into());
        assert!(renewed.has_changed().unwrap());
    }
}
