//! Every label, annotation, finalizer, field manager and fixed object name of the contract
//! (contract section 1.6 and 3.4), each defined once.

/// API group of all kinds.
pub const GROUP: &str = "kube-bind.io";
/// Storage version of all kinds, and the only one that anybody reads.
pub const VERSION: &str = "v1alpha2";
/// `apiVersion` of all kinds and of the HTTP documents.
pub const API_VERSION: &str = "kube-bind.io/v1alpha2";

/// Who owns a claimed object, an `APIServiceNamespace` or a consumer namespace: [`OWNER_PROVIDER`] or [`OWNER_CONSUMER`].
pub const LABEL_OWNER: &str = "kube-bind.io/owner";
/// Value of [`LABEL_OWNER`]: the provider's copy is the source.
pub const OWNER_PROVIDER: &str = "provider";
/// Value of [`LABEL_OWNER`]: the consumer's copy is the source.
pub const OWNER_CONSUMER: &str = "consumer";
/// `true` on a CRD that a provider offers.
pub const LABEL_EXPORTED: &str = "kube-bind.io/exported";
/// `true` on a consumer Secret that holds a provider kubeconfig; starts heartbeats without a binding.
pub const LABEL_PROVIDER_KUBECONFIG: &str = "kube-bind.io/provider-kubeconfig";

/// Hash of the schema(s) that an export or a bound schema was made from; a change of it on the
/// export is the event by which the original's konnector notices a new schema.
pub const ANNOTATION_SOURCE_SPEC_HASH: &str = "kube-bind.io/source-spec-hash";
/// `<cluster namespace>/<name>` of the `APIServiceNamespace` on the provider namespace made for it.
pub const ANNOTATION_API_SERVICE_NAMESPACE: &str = "kube-bind.io/api-service-namespace";
/// On a `BoundSchema`: served versions of its source that are not in it, because only the provider's
/// webhook can convert them, with commas between them. Ours.
pub const ANNOTATION_LEFT_OUT: &str = "backend.kube-bind.io/left-out-versions";
/// On an `APIServiceNamespace` that gets no provider namespace: why, in one sentence. Ours; its status
/// has no place for it.
pub const ANNOTATION_NAMESPACE_PROBLEM: &str = "backend.kube-bind.io/problem";
/// Consumer identity on the cluster namespace and the `ClusterBinding`.
pub const ANNOTATION_IDENTITY: &str = "backend.kube-bind.io/identity";
/// Older key of [`ANNOTATION_IDENTITY`], migrated when met.
pub const ANNOTATION_IDENTITY_LEGACY: &str = "example-backend.kube-bind.io/identity";
/// OIDC subject of the user who made the cluster namespace.
pub const ANNOTATION_AUTHOR: &str = "backend.kube-bind.io/author";
/// OIDC issuer of [`ANNOTATION_AUTHOR`]; ours, absent on what the original wrote.
pub const ANNOTATION_AUTHOR_ISSUER: &str = "backend.kube-bind.io/author-issuer";
/// Display name of the consumer cluster.
pub const ANNOTATION_CLUSTER_PRETTY_NAME: &str = "backend.kube-bind.io/cluster-pretty-name";

/// On a provider copy: the consumer's cluster namespace. The ownership marker.
pub const ANNOTATION_CLUSTER_NAMESPACE: &str = "kube-bind.io/cluster-namespace";
/// On a provider copy: namespace of the consumer object, empty for cluster-scoped ones.
pub const ANNOTATION_CONSUMER_NAMESPACE: &str = "kube-bind.io/consumer-namespace";
/// On a provider copy: uid of the consumer object.
pub const ANNOTATION_CONSUMER_UID: &str = "kube-bind.io/consumer-uid";
/// On a consumer object: namespace of the provider copy.
pub const ANNOTATION_PROVIDER_NAMESPACE: &str = "kube-bind.io/provider-namespace";
/// On a consumer object: uid of the provider copy.
pub const ANNOTATION_PROVIDER_UID: &str = "kube-bind.io/provider-uid";
/// On a consumer object whose state needs a person: what is wrong, in one sentence. Ours.
pub const ANNOTATION_SYNC_PROBLEM: &str = "kube-bind.io/sync-problem";
/// On a binding: how many of its objects are in which state. Ours.
pub const ANNOTATION_OBJECTS: &str = "kube-bind.io/objects";
/// On a binding or a bundle, and on a claimed object on the consumer: uid of the provider's cluster
/// namespace. Two providers may use the same names, so nothing else tells whose they are. Ours.
pub const ANNOTATION_PROVIDER_CLUSTER: &str = "kube-bind.io/provider-cluster";
/// On a binding: what is bound, and which kinds are claimed, written before anything is made. Ours.
pub const ANNOTATION_RESOURCES: &str = "kube-bind.io/resources";
/// On a claimed object on the consumer: the binding whose claim it is. Ours.
pub const ANNOTATION_BINDING: &str = "kube-bind.io/binding";
/// On a claimed copy on the provider: the binding whose claim made it. Ours.
pub const ANNOTATION_CONSUMER_BINDING: &str = "kube-bind.io/consumer-binding";
/// Prefix of all keys of ours on synced objects; such keys never cross to the other side.
pub const KEY_PREFIX: &str = "kube-bind.io/";

/// Finalizer on consumer objects: released when the provider copy is gone. No dash in the domain.
pub const FINALIZER_SYNCER: &str = "kubebind.io/syncer";
/// Finalizer on an `APIServiceBinding`: released when unbinding has cleaned up. Ours.
pub const FINALIZER_BINDING: &str = "kubebind.io/binding";

/// Field manager of provider copies; the original's too, so that take-over works both ways.
pub const FIELD_MANAGER_SYNC: &str = "kube-bind.io";
/// Field manager prefix of the backend's writes.
pub const FIELD_MANAGER_BACKEND: &str = "kube-bind-backend";
/// Field manager of the plugin.
pub const FIELD_MANAGER_PLUGIN: &str = "kubectl-bind";

/// Namespace on the consumer that holds the konnector and the provider kubeconfigs.
pub const KONNECTOR_NAMESPACE: &str = "kube-bind";
/// Name of the konnector's ServiceAccount and Deployment on the consumer.
pub const KONNECTOR_NAME: &str = "konnector";
/// Lease of the konnector, shared with the original.
pub const KONNECTOR_LEASE: &str = "kube-bind";
/// Name of the only `ClusterBinding` of a cluster namespace.
pub const CLUSTER_BINDING_NAME: &str = "cluster";
/// Secret and key that hold the consumer's kubeconfig in its cluster namespace.
pub const KUBECONFIG_SECRET: &str = "kubeconfig";
/// Key of the kubeconfig in a Secret, on both sides.
pub const KUBECONFIG_KEY: &str = "kubeconfig";
/// ServiceAccount, Role and RoleBinding of a consumer in its cluster namespace.
pub const BINDER: &str = "kube-binder";
