//! What one engine is told when it starts. No IO here.

use std::sync::Arc;
use std::time::Duration;

use kube_bind_crds::api::{InformerScope, Isolation, ResourceScope};
use serde_json::Value;

use super::{
    Breaker, Cluster, Definition, EngineMetrics, Namespaces, ProblemSink, ReferrerSink, SkipKeys,
};

/// A kind, as both sides serve it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// API group.
    pub group: String,
    /// The synced version: the first served one.
    pub version: String,
    /// Plural name.
    pub plural: String,
    /// Kind.
    pub kind: String,
}

impl Resource {
    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// One bound resource of one binding. A change of anything here means a new engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Name of the `APIServiceBinding`, for logs.
    pub binding: String,
    /// The consumer's cluster namespace on the provider: the ownership marker.
    pub cluster_namespace: String,
    /// Uid of that namespace: owner of cluster-scoped copies.
    pub cluster_namespace_uid: String,
    /// The kind.
    pub resource: Resource,
    /// `BoundSchema.spec.scope`: scope on the consumer.
    pub scope: ResourceScope,
    /// `BoundSchema.spec.informerScope`: how the provider is watched.
    pub informer_scope: InformerScope,
    /// `APIServiceExport.spec.isolation`.
    pub isolation: Isolation,
    /// OpenAPI v3 schema of the synced version, bare (`crds::schema::open_api`).
    pub schema: Arc<Value>,
    /// Whether the synced version has the `status` subresource.
    pub has_status_subresource: bool,
    /// Labels and annotations that stay in their cluster.
    pub skip_keys: SkipKeys,
    /// Seed of the jitter.
    pub seed: u64,
}

/// How much longer this process leads for certain. A write starts only when that is long enough, and is
/// given up when it has passed; tests return [`Duration::MAX`].
pub type Fence = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Everything that the engine talks to.
#[derive(Clone)]
pub struct Ports {
    /// The kind on the consumer.
    pub consumer: Arc<dyn Cluster>,
    /// The kind on the provider.
    pub provider: Arc<dyn Cluster>,
    /// Namespace mapping of the cluster namespace.
    pub namespaces: Arc<dyn Namespaces>,
    /// Receives problems.
    pub problems: Arc<dyn ProblemSink>,
    /// Sees consumer objects, if somebody is interested.
    pub referrers: Option<Arc<dyn ReferrerSink>>,
    /// Leadership.
    pub fence: Fence,
    /// The breaker of the binding.
    pub breaker: Breaker,
    /// The kind's CRD on the consumer.
    pub definition: Arc<dyn Definition>,
    /// What is measured.
    pub metrics: Arc<dyn EngineMetrics>,
}
