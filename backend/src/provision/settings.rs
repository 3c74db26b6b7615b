//! What provisioning and the controllers need to know of the configuration. No IO.

use std::time::Duration;

use kube_bind_crds::api::{InformerScope, Isolation};

/// Settings of one backend; all replicas run with the same ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Namespace of the backend's own objects.
    pub namespace: String,
    /// What the names of all cluster namespaces begin with.
    pub namespace_prefix: String,
    /// Name of this provider, for people.
    pub pretty_name: String,
    /// How widely konnectors watch the provider.
    pub informer_scope: InformerScope,
    /// How the objects of several consumers are kept apart.
    pub isolation: Isolation,
    /// Whether several consumers may have a kind whose objects all of them can read.
    pub allow_shared_reads: bool,
    /// Whether konnectors list cluster-wide also where ours need not.
    pub grant_cluster_wide_lists: bool,
    /// Address of the provider's API server as consumers see it.
    pub external_address: String,
    /// CA certificates of [`Self::external_address`], PEM.
    pub external_ca: Option<Vec<u8>>,
    /// Name to expect in the certificate of [`Self::external_address`].
    pub external_server_name: Option<String>,
    /// Life of a consumer's credential.
    pub credential_ttl: Duration,
    /// Age at which a credential is renewed.
    pub credential_renew_after: Duration,
    /// Most requests of one consumer at a time.
    pub max_requests: u32,
    /// Most service namespaces of one consumer.
    pub max_namespaces: u32,
    /// Groups of the identity provider that may bind.
    pub allowed_groups: Vec<String>,
    /// Subjects of the identity provider that may bind.
    pub allowed_users: Vec<String>,
    /// What subjects are prefixed with as Kubernetes users.
    pub username_prefix: String,
    /// What groups are prefixed with as Kubernetes groups.
    pub groups_prefix: String,
    /// How often schemas that follow their source are compared with it, beside every change of the source.
    pub schema_sync_interval: Duration,
}
