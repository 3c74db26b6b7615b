//! What all parts of one term of leadership share. No IO.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt};
use kube_bind_crds::api::{APIServiceBinding, ClusterSecretKeyRef};
use kube_bind_runtime::clock::SharedClock;
use kube_bind_runtime::events::Events;
use kube_bind_runtime::kubeconfig::Policy;
use kube_bind_runtime::lease::LeaderToken;
use kube_bind_runtime::shutdown::Shutdown;

use crate::metrics::Metrics;
use crate::wake::Wake;

/// Everything that lives as long as this replica leads.
pub struct Context {
    /// The consumer cluster.
    pub client: Client,
    /// Time.
    pub clock: SharedClock,
    /// Events on consumer objects.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
    /// The way to the binding controller.
    pub wake: Wake,
    /// All bindings.
    pub bindings: Store<APIServiceBinding>,
    /// What provider kubeconfigs may contain.
    pub policy: Policy,
    /// Proof of leading.
    pub leader: LeaderToken,
    /// Ends with the term.
    pub shutdown: Shutdown,
}

impl Context {
    /// Bindings that use one of these kubeconfigs.
    pub fn bindings_of(&self, secrets: &[ClusterSecretKeyRef]) -> Vec<String> {
        self.bindings
            .state()
            .iter()
            .filter(|binding| secrets.contains(&binding.spec.kubeconfig_secret_ref))
            .map(|binding| binding.name_any())
            .collect()
    }

    /// Has all bindings looked at that use one of these kubeconfigs.
    pub fn wake_users(&self, secrets: &[ClusterSecretKeyRef]) {
        for binding in self.bindings_of(secrets) {
            self.wake.binding(binding);
        }
    }
}

/// A binding, for events on it.
pub fn binding_ref(binding: &APIServiceBinding) -> ObjectReference {
    binding.object_ref(&())
}
