//! Labels, annotations, finalizers and object names that only the backend knows; those of the
//! contract are in `kube_bind_crds::names`.

/// On every Namespace and Secret of ours: what it is. Watches select by it, so that the backend never
/// caches other people's Secrets and Namespaces.
pub const LABEL_COMPONENT: &str = "backend.kube-bind.io/component";
/// Value of [`LABEL_COMPONENT`]: a consumer's cluster namespace.
pub const COMPONENT_CLUSTER_NAMESPACE: &str = "cluster-namespace";
/// Value of [`LABEL_COMPONENT`]: a service namespace.
pub const COMPONENT_SERVICE_NAMESPACE: &str = "service-namespace";
/// Value of [`LABEL_COMPONENT`]: a consumer's kubeconfig, or the Secret that its token is bound to.
pub const COMPONENT_CREDENTIAL: &str = "credential";

/// Secret that tokens are bound to: its deletion revokes them.
pub const TOKEN_SECRET: &str = "kube-binder-token";

/// On the kubeconfig Secret: end of the token's life, RFC 3339.
pub const ANNOTATION_EXPIRES: &str = "backend.kube-bind.io/credential-expires";
/// On the kubeconfig Secret: when the token was issued, RFC 3339.
pub const ANNOTATION_ISSUED: &str = "backend.kube-bind.io/credential-issued";
/// On the kubeconfig Secret: uid of the Secret that the token is bound to.
pub const ANNOTATION_BOUND_TO: &str = "backend.kube-bind.io/credential-bound-to";
/// On the kubeconfig Secret: digest of the kubeconfig, which shows damage by others.
pub const ANNOTATION_DIGEST: &str = "backend.kube-bind.io/credential-digest";
/// On the kubeconfig Secret: digest of address, CA and server name, which shows changed settings.
pub const ANNOTATION_ENDPOINT: &str = "backend.kube-bind.io/credential-endpoint";

/// On the `ClusterBinding`: names of the templates that the consumer's user was permitted to bind, with
/// commas between them.
pub const ANNOTATION_OFFERINGS: &str = "backend.kube-bind.io/offerings";

/// On an `APIServiceExport`: whether its schemas follow their source. The request that said so is
/// deleted after a while.
pub const ANNOTATION_UPDATE_POLICY: &str = "backend.kube-bind.io/schema-update-policy";

/// On an `APIServiceNamespace`: released when the service namespace is gone.
pub const FINALIZER_SERVICE_NAMESPACE: &str = "backend.kube-bind.io/service-namespace";

/// On a `ClusterBinding`: released when the consumer's cluster-wide rights are gone.
pub const FINALIZER_ACCESS: &str = "backend.kube-bind.io/access";

/// Value of [`LABEL_COMPONENT`]: cluster-wide rights of one consumer.
pub const COMPONENT_ACCESS: &str = "access";
/// What the names of cluster-wide rights begin with; the cluster namespace follows.
pub const CLUSTER_ROLE_PREFIX: &str = "kube-binder-";
/// Custom verb on a kind, for the admission policy: the consumer may give its objects any name. Without
/// it they begin with the cluster namespace.
pub const VERB_NAME_FREELY: &str = "name-freely";
/// Value of [`LABEL_COMPONENT`]: the policy that confines cluster-wide writes.
pub const COMPONENT_POLICY: &str = "policy";
/// Name of the object by which the policy shows that it is enforced; never stored.
pub const POLICY_PROBE: &str = "kube-bind-policy-probe";
/// On the probe: digest of the policy that is to refuse it.
pub const ANNOTATION_PROBE: &str = "backend.kube-bind.io/policy-probe";

/// Role and RoleBinding for exported resources in a service namespace.
pub const ROLE_EXPORTS: &str = "kube-binder-exports";
/// Role and RoleBinding for claimed resources in a service namespace.
pub const ROLE_CLAIMS: &str = "kube-binder-claims";
/// ClusterRole and ClusterRoleBinding of those who may log in and bind (contract section 3.5).
pub const LOGIN_ROLE: &str = "kube-bind-oidc-user";
/// The `Cluster` object that stands for this provider cluster.
pub const DEFAULT_CLUSTER: &str = "default";
