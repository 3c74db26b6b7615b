//! Secrets of the consumer, watched only in the namespaces that somebody asks about. IO: reads.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::ClusterSecretKeyRef;
use kube_bind_crds::names::{KUBECONFIG_KEY, LABEL_PROVIDER_KUBECONFIG};
use kube_bind_runtime::shutdown::Shutdown;
use tokio_util::sync::CancellationToken;

use crate::fault;
use crate::watch::{Listed, Signal, reflect};

/// How long a first list may take before the reader is told that it cannot be had.
const FIRST_LIST: Duration = Duration::from_secs(5);

/// Why a Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No list of the namespace yet.
    #[error("failed to read secrets of namespace {namespace}: {cause}")]
    NotListed {
        /// The namespace.
        namespace: String,
        /// What the last attempt said.
        cause: String,
    },
}

/// Hears namespace and name of a Secret that changed.
pub type Changed = dyn Fn(&str, &str) + Send + Sync;

/// The Secrets of some namespaces.
pub struct Secrets {
    client: Client,
    shutdown: Shutdown,
    watched: Mutex<HashMap<String, Arc<Watched>>>,
    changed: Arc<Changed>,
}

struct Watched {
    store: Store<Secret>,
    listed: Listed,
    failure: Arc<Mutex<Option<String>>>,
    /// Ends the watch.
    stop: CancellationToken,
}

impl Secrets {
    /// `changed` is called with namespace and name of a Secret that appeared, changed or vanished,
    /// and with an empty name when all of a namespace should be looked at again.
    pub fn new(client: Client, shutdown: Shutdown, changed: Arc<Changed>) -> Self {
        Self {
            client,
            shutdown,
            watched: Mutex::default(),
            changed,
        }
    }

    /// The Secret as it is now; the first question about a namespace starts its watch.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Error> {
        let watched = self.watch(namespace);
        let listed = tokio::time::timeout(FIRST_LIST, watched.listed.wait()).await;
        if listed.is_err() {
            let failure = watched
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            return Err(Error::NotListed {
                namespace: namespace.to_owned(),
                cause: failure.clone().unwrap_or_else(|| "no answer yet".into()),
            });
        }
        Ok(watched.store.get(&ObjectRef::new(name).within(namespace)))
    }

    /// Secrets with the label that asks for heartbeats, in the namespaces watched so far.
    pub fn labelled(&self) -> Vec<ClusterSecretKeyRef> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = watched
            .values()
            .flat_map(|watched| watched.store.state())
            .filter(|secret| {
                secret
                    .labels()
                    .get(LABEL_PROVIDER_KUBECONFIG)
                    .is_some_and(|value| value == "true")
            })
            .map(|secret| ClusterSecretKeyRef {
                name: secret.name_any(),
                namespace: secret.namespace().unwrap_or_default(),
                key: KUBECONFIG_KEY.to_owned(),
            })
            .collect();
        found.sort();
        found
    }

    /// Makes sure that a namespace is watched.
    pub fn ensure(&self, namespace: &str) {
        self.watch(namespace);
    }

    /// Ends the watches of all namespaces but these.
    pub fn keep_only(&self, namespaces: &BTreeSet<&str>) {
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|namespace, watched| {
            let keep = namespaces.contains(&**namespace);
            if !keep {
                watched.stop.cancel();
            }
            keep
        });
    }

    fn watch(&self, namespace: &str) -> Arc<Watched> {
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = all.get(namespace) {
            return watched.clone();
        }
        let (store, writer) = kube::runtime::reflector::store::<Secret>();
        let failure = Arc::<Mutex<Option<String>>>::default();
        let listed = Listed::new();
        let watched = Arc::new(Watched {
            store,
            listed: listed.clone(),
            failure: failure.clone(),
            stop: self.shutdown.token.child_token(),
        });
        all.insert(namespace.to_owned(), watched.clone());
        let changed = self.changed.clone();
        let watched_namespace = namespace.to_owned();
        let tell = move |signal: Signal<'_, Secret>| {
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            match signal {
                Signal::Changed(secret) | Signal::Removed(secret) => {
                    *failure = None;
                    changed(&watched_namespace, &secret.name_any());
                }
                Signal::Listed => {
                    *failure = None;
                    listed.set();
                    changed(&watched_namespace, "");
                }
                Signal::Running => {
                    if failure.take().is_some() {
                        changed(&watched_namespace, "");
                    }
                }
                Signal::Failed(error) => {
                    tracing::warn!(
                        error = fault::describe_watch(error),
                        namespace = %watched_namespace,
                        "failed to watch secrets of namespace {watched_namespace}"
                    );
                    *failure = Some(error.to_string());
                }
            }
        };
        self.shutdown.spawn(
            format!("watch of secrets in {namespace}"),
            reflect(
                Api::namespaced(self.client.clone(), namespace),
                watcher::Config::default(),
                writer,
                watched.stop.clone(),
                tell,
            ),
        );
        watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;

    #[tokio::test]
    async fn a_namespace_that_nobody_names_any_more_is_not_watched() {
        let client = answering(|_| (200, serde_json::json!({"metadata": {}, "items": []})));
        let shutdown = Shutdown::new();
        let secrets = Secrets::new(client, shutdown.clone(), Arc::new(|_, _| {}));
        secrets.ensure("kube-bind");
        secrets.ensure("old");
        secrets.keep_only(&["kube-bind"].into());
        let ended = async {
            while shutdown.tracker.len() > 1 {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
        assert!(ended.is_ok(), "its watch goes on");
        secrets.ensure("old");
        assert_eq!(shutdown.tracker.len(), 2, "it is watched anew");
        shutdown.token.cancel();
    }
}
