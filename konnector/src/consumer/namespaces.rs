//! Which Namespaces the consumer has; names only. IO: reads.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::PartialObjectMeta;
use kube::core::metadata::PartialObjectMetaExt;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use kube_bind_runtime::{apply, shutdown::Shutdown};

use crate::fault;
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

    /// Creates a Namespace on behalf of a provider, marked as such.
    pub async fn create_for_provider(&self, name: &str) -> Result<(), kube::Error> {
        use kube_bind_crds::names::{LABEL_OWNER, OWNER_PROVIDER};
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        let body = kube::core::ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(LABEL_OWNER.to_owned(), OWNER_PROVIDER.to_owned())].into()),
            ..Default::default()
        }
        .into_request_partial::<Namespace>();
        apply::apply(&api, name, crate::names::MANAGER_NAMESPACES, &body).await?;
        Ok(())
    }
}
