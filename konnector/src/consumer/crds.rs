//! CRDs of the consumer: all of them by their metadata, and those that bindings install in the few
//! fields that decisions need. IO: reads.
//!
//! CRDs are large and a cluster has many of them, so their bodies are never kept: the watch brings
//! metadata only, and one CRD is read when its version is not the one read last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::api::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use kube_bind_runtime::{apply, shutdown::Shutdown};
use tokio::sync::watch;

use crate::fault;
use crate::watch::{Listed, Signal, reflect};

/// What decisions need of a CRD.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrdView {
    /// Uid.
    pub uid: String,
    /// Version read.
    pub resource_version: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// Who owns it.
    pub owners: Vec<OwnerReference>,
    /// Deletion has begun.
    pub terminating: bool,
    /// The API server's conditions.
    pub conditions: Vec<Condition>,
    /// Names that the API server accepted.
    pub accepted_names: Option<CustomResourceDefinitionNames>,
    /// Versions in which objects may be stored.
    pub stored_versions: Vec<String>,
    /// Versions that the API server serves.
    pub served: Vec<String>,
}

impl CrdView {
    /// The kind is served.
    pub fn established(&self) -> bool {
        self.conditions
            .iter()
            .any(|c| c.type_ == "Established" && c.status == "True")
    }

    /// Reads what matters out of a CRD.
    pub fn of(crd: CustomResourceDefinition) -> Self {
        let status = crd.status.unwrap_or_default();
        Self {
            uid: crd.metadata.uid.unwrap_or_default(),
            resource_version: crd.metadata.resource_version.unwrap_or_default(),
            generation: crd.metadata.generation.unwrap_or_default(),
            owners: crd.metadata.owner_references.unwrap_or_default(),
            terminating: crd.metadata.deletion_timestamp.is_some(),
            conditions: status
                .conditions
                .unwrap_or_default()
                .into_iter()
                .map(|c| Condition {
                    type_: c.type_,
                    status: c.status,
                    reason: c.reason.unwrap_or_default(),
                    message: c.message.unwrap_or_default(),
                    last_transition_time: c
                        .last_transition_time
                        .unwrap_or(Time(Timestamp::UNIX_EPOCH)),
                    observed_generation: None,
                })
                .collect(),
            accepted_names: status.accepted_names,
            stored_versions: status.stored_versions.unwrap_or_default(),
            served: crd
                .spec
                .versions
                .into_iter()
                .filter(|version| version.served)
                .map(|version| version.name)
                .collect(),
        }
    }
}

/// Why the CRDs cannot be watched.
#[derive(Clone, Debug, thiserror::Error)]
#[error("custom resource definitions cannot be watched: {words}")]
struct Unwatched {
    words: String,
    /// The API server says that we may not, which does not pass by itself.
    refused: bool,
}

/// The CRDs of the consumer.
pub struct Crds {
    api: Api<CustomResourceDefinition>,
    store: Store<PartialObjectMeta<CustomResourceDefinition>>,
    listed: Listed,
    failing: Arc<watch::Sender<Option<Unwatched>>>,
    read: Mutex<HashMap<String, Arc<CrdView>>>,
}

impl Crds {
    /// Watches; `changed` is called with the name and the owners of a CRD that appeared, changed or
    /// vanished.
    pub fn start(
        client: Client,
        shutdown: &Shutdown,
        changed: impl Fn(&str, &[OwnerReference]) + Send + 'static,
    ) -> Self {
        let (store, writer) = kube::runtime::reflector::store();
        let listed = Listed::new();
        let told = listed.clone();
        let failing = Arc::new(watch::Sender::new(None));
        let failed = failing.clone();
        let tell = move |signal: Signal<'_, PartialObjectMeta<CustomResourceDefinition>>| {
            let failure = match &signal {
                Signal::Failed(error) => Some(Unwatched {
                    words: fault::describe_watch(error),
                    refused: fault::code_of_watch(error) == Some(403),
                }),
                _ => None,
            };
            failed.send_replace(failure);
            match signal {
                Signal::Changed(crd) | Signal::Removed(crd) => {
                    changed(&crd.name_any(), crd.owner_references());
                }
                Signal::Listed => told.set(),
                Signal::Running => {}
                Signal::Failed(error) => tracing::warn!(
                    error = fault::describe_watch(error),
                    "failed to watch custom resource definitions"
                ),
            }
        };
        shutdown.spawn(
            "watch of custom resource definitions",
            reflect(
                Api::all(client.clone()),
                watcher::Config::default(),
                writer,
                shutdown.token.clone(),
                tell,
            ),
        );
        Self {
            api: Api::all(client),
            store,
            listed,
            failing,
            read: Mutex::default(),
        }
    }

    /// The CRD as it is now. A first question waits for the first list, unless that fails.
    pub async fn get(&self, name: &str) -> Result<Option<Arc<CrdView>>, kube::Error> {
        self.watched().await?;
        let known = self.store.get(&ObjectRef::new(name));
        let known = known.and_then(|crd| crd.metadata.resource_version.clone());
        if let Some(read) = self.lock().get(name)
            && known.as_deref() == Some(&*read.resource_version)
        {
            return Ok(Some(read.clone()));
        }
        // Not in the watch may also mean not yet: our own creation is not told at once.
        self.read(name).await
    }

    /// Waits until the watch has told what there is. What it told before it was refused may be old; one
    /// that only broke off is back in a moment.
    async fn watched(&self) -> Result<(), kube::Error> {
        let mut failing = self.failing.subscribe();
        let is_blind = |failure: &Option<Unwatched>| {
            let mut failure = failure.iter();
            failure.any(|failure| failure.refused || !self.listed.is_set())
        };
        apply::timed(async {
            tokio::select! {
                biased;
                Ok(failure) = failing.wait_for(is_blind) => match failure.clone() {
                    Some(failure) => Err(kube::Error::Service(Box::new(failure))),
                    None => Ok(()),
                },
                () = self.listed.wait() => Ok(()),
            }
        })
        .await
    }

    /// The CRD as the API server has it at this moment.
    pub async fn read(&self, name: &str) -> Result<Option<Arc<CrdView>>, kube::Error> {
        match apply::timed(self.api.get_opt(name)).await? {
            Some(crd) => Ok(Some(self.remember(crd))),
            None => {
                self.lock().remove(name);
                Ok(None)
            }
        }
    }

    /// Whether a CRD of that name exists with owners for which `ours` holds; from the watch alone,
    /// which needs no right on the CRD itself.
    pub fn is_owned(&self, name: &str, ours: impl Fn(&[OwnerReference]) -> bool) -> bool {
        let found = self.store.get(&ObjectRef::new(name));
        found.is_some_and(|crd| ours(crd.owner_references()))
    }

    /// Whether the watch has told that a CRD of that name is being deleted.
    pub fn was_seen_terminating(&self, name: &str) -> bool {
        let found = self.store.get(&ObjectRef::new(name));
        found.is_some_and(|crd| crd.metadata.deletion_timestamp.is_some())
    }

    /// Files a CRD that a write returned, so that it need not be read again.
    pub fn remember(&self, crd: CustomResourceDefinition) -> Arc<CrdView> {
        let name = crd.name_any();
        let view = Arc::new(CrdView::of(crd));
        self.lock().insert(name, view.clone());
        view
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<CrdView>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{failure, lacks, serving};
    use serde_json::{Value, json};
    use std::time::Duration;

    const ALL: &str = "customresourcedefinitions";

    /// What a question gets after this list and this beginning of a watch; `None` is one that runs.
    async fn asked(
        list: (u16, Value),
        watch: Option<(u16, Value)>,
    ) -> Result<Option<Arc<CrdView>>, kube::Error> {
        let client = serving(move |asked| match &asked.uri {
            uri if uri.contains("watch=true") => watch.clone(),
            uri if uri.contains(&format!("{ALL}/")) => Some(failure(404, "NotFound")),
            _ => Some(list.clone()),
        });
        let shutdown = Shutdown::new();
        let crds = Crds::start(client, &shutdown, |_, _| {});
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = tokio::time::Instant::now();
        let found = crds.get("widgets.example.org").await;
        assert!(began.elapsed() < Duration::from_secs(1), "nobody waits");
        shutdown.token.cancel();
        found
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_refused_is_said_to_whoever_asks() {
        let empty = || {
            (
                200,
                json!({"metadata": {"resourceVersion": "1"}, "items": []}),
            )
        };
        let running = asked(empty(), None).await;
        assert!(matches!(running, Ok(None)), "{running:?}");
        for refused in [
            asked(lacks("list", ALL), None).await,
            asked(empty(), Some(lacks("watch", ALL))).await,
        ] {
            let words = fault::describe(&refused.unwrap_err());
            assert!(words.contains("cannot be watched"), "{words}");
            assert!(words.contains("User"), "{words}");
        }
        let broken = asked(empty(), Some(failure(500, "not now"))).await;
        assert!(matches!(broken, Ok(None)), "it comes back: {broken:?}");
        let never_listed = asked(failure(500, "not now"), None).await;
        assert!(never_listed.is_err(), "{never_listed:?}");
    }
}
