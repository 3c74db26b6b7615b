//! What all parts of one term of leadership share. No IO.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt};
use kube_bind_crds::api::{APIServiceBinding, ClusterSecretKeyRef};
use kube_bind_runtime::client::Options;
use kube_bind_runtime::clock::SharedClock;
use kube_bind_runtime::events::Events;
use kube_bind_runtime::kubeconfig::Policy;
use kube_bind_runtime::lease::LeaderToken;
use kube_bind_runtime::shutdown::Shutdown;

use crate::bundles::Bundles;
use crate::metrics::Metrics;
use crate::sync::{BreakerConfig, EngineClient, SkipKeys};
use crate::wake::Wake;
use crate::watch::Listed;

/// How objects are synced, as far as the operator chooses.
#[derive(Clone, Debug, Default)]
pub struct Syncing {
    /// Labels and annotations that stay in their cluster.
    pub skip_keys: SkipKeys,
    /// When deletions are held.
    pub breaker: BreakerConfig,
}

/// Everything that lives as long as this replica leads.
pub struct Context {
    /// The consumer cluster, for whoever does not see to the lease: it writes only while this replica
    /// leads.
    pub client: Client,
    /// The same for engines, which ask for the time that is left themselves.
    pub engine_client: EngineClient,
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
    /// All bundles.
    pub bundles: Bundles,
    /// The first list of bindings is complete.
    pub bindings_listed: Listed,
    /// How often bundles are looked at, and how long an export must be gone before its binding goes.
    pub polling: Duration,
    /// How objects are synced.
    pub syncing: Syncing,
    /// What provider kubeconfigs may contain.
    pub policy: Policy,
    /// How providers are reached.
    pub provider_options: Options,
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

    /// Has all bindings and bundles looked at that use one of these kubeconfigs.
    pub fn wake_users(&self, secrets: &[ClusterSecretKeyRef]) {
        self.wake_bundles(secrets);
        for binding in self.bindings_of(secrets) {
            self.wake.binding(binding);
        }
    }

    /// Has all bundles looked at that use one of these kubeconfigs.
    pub fn wake_bundles(&self, secrets: &[ClusterSecretKeyRef]) {
        for bundle in self.bundles.all() {
            if secrets.contains(&bundle.spec.kubeconfig_secret_ref) {
                self.bundles.wake(bundle.name_any());
            }
        }
    }
}

/// A binding, for events on it.
pub fn binding_ref(binding: &APIServiceBinding) -> ObjectReference {
    binding.object_ref(&())
}
