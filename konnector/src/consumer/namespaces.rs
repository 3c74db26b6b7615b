//! Which Namespaces the consumer has; names only. IO: reads, and the apply of one that a provider brings.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{PartialObjectMeta, Patch, PatchParams};
use kube::core::metadata::PartialObjectMetaExt;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use kube_bind_runtime::{apply, shutdown::Shutdown};

use crate::fault;
use crate::names::MANAGER_NAMESPACES;
use crate::watch::{Listed, Signal, reflect};

/// The Namespaces of the consumer.
#[derive(Clone)]
pub struct ConsumerNamespaces {
    client: Client,
    store: Store<PartialObjectMeta<Namespace>>,
    listed: Listed,
}

impl ConsumerNamespaces {
    /// Watches; `gone` is called with the name of a Namespace that vanished, and with an empty name
    /// when any may have.
    pub fn start(
        client: Client,
        shutdown: &Shutdown,
        gone: impl Fn(&str) + Send + 'static,
    ) -> Self {
        let (store, writer) = kube::runtime::reflector::store();
        let listed = Listed::new();
        let told = listed.clone();
        let tell = move |signal: Signal<'_, PartialObjectMeta<Namespace>>| match signal {
            Signal::Removed(namespace) => gone(&namespace.name_any()),
            Signal::Listed => {
                told.set();
                gone("");
            }
            Signal::Changed(_) | Signal::Running => {}
            Signal::Failed(error) => tracing::warn!(
                error = fault::describe_watch(error),
                "failed to watch namespaces"
            ),
        };
        shutdown.spawn(
            "watch of namespaces",
            reflect(
                Api::all(client.clone()),
                watcher::Config::default(),
                writer,
                shutdown.token.clone(),
                tell,
            ),
        );
        Self {
            client,
            store,
            listed,
        }
    }

    /// Whether the watch knows the Namespace; `None` before the first list.
    pub fn known(&self, name: &str) -> Option<bool> {
        self.listed
            .is_set()
            .then(|| self.store.get(&ObjectRef::new(name)).is_some())
    }

    /// Whether the Namespace exists, asked of the API server.
    pub async fn exists(&self, name: &str) -> Result<bool, kube::Error> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        Ok(apply::timed(api.get_metadata_opt(name)).await?.is_some())
    }

    /// Creates a Namespace on behalf of a provider, marked as such; the caller has seen that there is
    /// none. By apply, because rights can name what is applied but not what is posted. One that a person
    /// makes at the same moment gets the label at most, and not if it carries another one: nothing is
    /// forced.
    pub async fn create_for_provider(&self, name: &str) -> Result<(), kube::Error> {
        use kube_bind_crds::names::{LABEL_OWNER, OWNER_PROVIDER};
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        let body = kube::core::ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(LABEL_OWNER.to_owned(), OWNER_PROVIDER.to_owned())].into()),
            ..Default::default()
        }
        .into_request_partial::<Namespace>();
        let params = PatchParams::apply(MANAGER_NAMESPACES);
        match apply::timed(api.patch(name, &params, &Patch::Apply(&body))).await {
            Ok(_) => Ok(()),
            // It is there by now, and somebody else's.
            Err(error) if fault::code(&error) == Some(409) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{answering, failure};
    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_namespace_of_somebody_else_is_not_taken() {
        for (code, taken) in [(409, true), (403, false)] {
            let client = answering(move |asked| {
                assert_eq!(asked.method, "PATCH");
                assert!(!asked.uri.contains("force"), "{}", asked.uri);
                failure(code, "Conflict")
            });
            let namespaces = ConsumerNamespaces {
                client,
                store: kube::runtime::reflector::store().0,
                listed: Listed::new(),
            };
            let made = namespaces.create_for_provider("shop").await;
            assert_eq!(made.is_ok(), taken, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_namespaces_that_go_are_told() {
        let metadata = |name: &str, version: &str| {
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {"name": name, "resourceVersion": version}})
        };
        let list = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": "5"}, "items": [metadata("a", "1"), metadata("b", "1")]});
        let events = [
            ("ADDED", "c", "6"),
            ("MODIFIED", "b", "7"),
            ("DELETED", "a", "8"),
        ];
        let mut lines = String::new();
        for (type_, name, version) in events {
            let event = json!({"type": type_, "object": metadata(name, version)});
            lines += &format!("{event}\n");
        }
        let serve = tower::service_fn(move |request: http::Request<Body>| {
            let is_watch = request.uri().to_string().contains("watch=true");
            let body = if is_watch {
                lines.clone()
            } else {
                list.to_string()
            };
            let answer = http::Response::new(Body::from(body.into_bytes()));
            std::future::ready(Ok::<_, kube::Error>(answer))
        });
        let client = Client::new(serve, "default");
        let (sender, mut told) = mpsc::unbounded_channel();
        let shutdown = Shutdown::new();
        let _namespaces = ConsumerNamespaces::start(client, &shutdown, move |name: &str| {
            let _ = sender.send(name.to_owned());
        });
        assert_eq!(told.recv().await.unwrap(), "", "the first list");
        assert_eq!(told.recv().await.unwrap(), "a");
    }
}
