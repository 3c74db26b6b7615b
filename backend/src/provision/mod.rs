//! Makes what one consumer needs in the provider cluster (contract section 3): shared by the HTTP
//! handlers and the controllers. `ownership` and `plan` decide, the rest does IO. Every step may be
//! repeated, and any number of binds of the same consumer may run at once.

pub mod binder_access;
pub mod desired;
pub mod ensure;
mod error;
pub mod names;
mod namespace;
pub mod offerings;
pub mod ownership;
pub mod plan;
pub mod reach;
mod settings;
#[cfg(test)]
pub(crate) mod test_support;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};
use kube_bind_crds::api::ClusterBinding;
use kube_bind_crds::names::{CLUSTER_BINDING_NAME, GROUP};
use kube_bind_runtime::apply::timed;
use kube_bind_runtime::clock::SharedClock;
use serde_json::json;

pub use error::Error;
pub use settings::Settings;

use crate::credentials::Credentials;
use binder_access::Access;
use plan::SecretKey;

/// Field manager of everything that is made here.
pub const MANAGER: &str = "kube-bind-backend/provision";

/// How long new rights may take to be in effect; usually some milliseconds.
const RIGHTS_TIMEOUT: Duration = Duration::from_secs(10);
/// Binds of the same consumer at the same time make each other look again.
const ATTEMPTS: usize = 4;
const RIGHTS_POLL: Duration = Duration::from_millis(50);

/// A consumer cluster, as its user describes it after logging in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Opaque name of the consumer cluster; chosen by the user, so it proves nothing.
    pub identity: String,
    /// Who logged in; proven.
    pub author: Author,
    /// Name of the consumer cluster for people.
    pub pretty_name: String,
}

/// A user of the identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// `sub`.
    pub subject: String,
    /// `iss`.
    pub issuer: String,
}

/// What a consumer gets.
#[derive(Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// The cluster namespace.
    pub namespace: String,
    /// Kubeconfig for it, YAML. Secret.
    pub kubeconfig: String,
}

impl std::fmt::Debug for Provisioned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provisioned")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Provisions consumers.
#[derive(Clone)]
pub struct Provisioner {
    client: Client,
    settings: Arc<Settings>,
    clock: SharedClock,
    credentials: Credentials,
}

impl Provisioner {
    /// A provisioner for the cluster of `client`.
    pub fn new(client: Client, settings: Arc<Settings>, clock: SharedClock) -> Self {
        let credentials = Credentials::new(client.clone(), Arc::clone(&settings), clock.clone());
        Self {
            client,
            settings,
            clock,
            credentials,
        }
    }

    /// Finds or makes everything that `consumer` needs, records that it may order `offering`, and
    /// returns its kubeconfig, whose rights are in effect.
    pub async fn provision(
        &self,
        consumer: &Consumer,
        offering: &str,
    ) -> Result<Provisioned, Error> {
        let namespace =
            namespace::claim(&self.client, &self.settings.namespace_prefix, consumer).await?;
        let (secret, owner) = self.cluster_binding(&namespace, consumer, offering).await?;
        self.rights(&namespace, &owner).await?;
        let credential = self.credentials.ensure(&namespace, &secret, &owner).await?;
        self.confirm(&namespace).await?;
        Ok(Provisioned {
            namespace,
            kubeconfig: credential.kubeconfig,
        })
    }

    /// Brings the service account and its rights up to date; they end with `owner`.
    pub async fn rights(&self, namespace: &str, owner: &OwnerReference) -> Result<(), Error> {
        for desired in plan::rights(namespace, owner) {
            let step = Error::request(format!("apply {} {}", desired.resource.kind, desired.name));
            ensure::ensure(&self.client, &desired, MANAGER)
                .await
                .map_err(step)?;
        }
        Ok(())
    }

    async fn cluster_binding(
        &self,
        namespace: &str,
        consumer: &Consumer,
        offering: &str,
    ) -> Result<(SecretKey, OwnerReference), Error> {
        let api: Api<ClusterBinding> = Api::namespaced(self.client.clone(), namespace);
        for _ in 0..ATTEMPTS {
            let existing = timed(api.get_opt(CLUSTER_BINDING_NAME))
                .await
                .map_err(Error::request("read the ClusterBinding"))?;
            let mut desired = plan::cluster_binding(
                namespace,
                consumer,
                offering,
                &self.settings.pretty_name,
                existing.as_ref(),
            );
            // What is recorded rests on what was read: of two binds at once none may undo the other's.
            let written = if let Some(existing) = &existing {
                desired.body["metadata"]["resourceVersion"] = json!(existing.resource_version());
                let ensured = ensure::ensure(&self.client, &desired, MANAGER).await;
                ensured.map(|_| existing.uid())
            } else {
                let created = ensure::create_desired(&self.client, &desired, MANAGER).await;
                created.map(|created| created.uid())
            };
            match written {
                Ok(uid) => {
                    let owner = OwnerReference {
                        api_version: ClusterBinding::api_version(&()).into_owned(),
                        kind: ClusterBinding::kind(&()).into_owned(),
                        name: CLUSTER_BINDING_NAME.to_owned(),
                        uid: uid.unwrap_or_default(),
                        ..OwnerReference::default()
                    };
                    return Ok((plan::secret_of(existing.as_ref()), owner));
                }
                Err(kube::Error::Api(status))
                    if status.is_conflict() || status.is_already_exists() => {}
                Err(source) => return Err(Error::request("apply the ClusterBinding")(source)),
            }
        }
        Err(Error::Contended {
            namespace: namespace.to_owned(),
        })
    }

    /// Waits until the first thing that the plugin does with the kubeconfig is allowed.
    async fn confirm(&self, namespace: &str) -> Result<(), Error> {
        let wanted = [Access {
            namespace: namespace.to_owned(),
            group: GROUP.to_owned(),
            resource: "apiserviceexportrequests".to_owned(),
            verb: "create",
        }];
        let deadline = self.clock.monotonic() + RIGHTS_TIMEOUT;
        loop {
            let denied = binder_access::first_denied(&self.client, namespace, &wanted)
                .await
                .map_err(Error::request("review access"))?;
            if denied.is_none() {
                return Ok(());
            }
            if self.clock.monotonic() >= deadline {
                return Err(Error::RightsPending {
                    namespace: namespace.to_owned(),
                });
            }
            tokio::time::sleep(RIGHTS_POLL).await;
        }
    }
}

#[cfg(test)]
mod tests;
