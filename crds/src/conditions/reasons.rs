//! Condition reasons of the contract, grouped by the condition that they explain. Reasons that only
//! we give are in the konnector's `names.rs`, and in the backend where it gives them.

// Ready
/// The plugin created the binding and the konnector has not looked at it yet.
pub const PENDING: &str = "Pending";

// SecretValid
/// The Secret does not exist on the consumer.
pub const KUBECONFIG_SECRET_NOT_FOUND: &str = "KubeconfigSecretNotFound";
/// The Secret holds no usable kubeconfig.
pub const KUBECONFIG_SECRET_INVALID: &str = "KubeconfigSecretInvalid";
/// The Secret does not exist on the provider.
pub const PROVIDER_SECRET_NOT_FOUND: &str = "ProviderSecretNotFound";
/// The provider's Secret lacks the key.
pub const PROVIDER_SECRET_INVALID: &str = "ProviderSecretInvalid";
/// The provider refuses the credential because it ended; ours.
pub const CREDENTIAL_EXPIRED: &str = "CredentialExpired";

// Healthy
/// No heartbeat yet.
pub const FIRST_HEARTBEAT_PENDING: &str = "FirstHeartbeatPending";
/// The konnector does not say how often it reports.
pub const HEARTBEAT_INTERVAL_MISSING: &str = "HeartbeatIntervalMissing";
/// No heartbeat for two intervals.
pub const HEARTBEAT_TIMEOUT: &str = "HeartbeatTimeout";
/// The last heartbeat lies in the future: clocks differ.
pub const HEARTBEAT_TIME_DRIFT: &str = "HeartbeatTimeDrift";

// Heartbeating, InformersSynced
/// The heartbeat could not be written.
pub const CLUSTER_BINDING_UPDATE_FAILED: &str = "ClusterBindingUpdateFailed";
/// The first lists did not end in time.
pub const INFORMER_SYNC_TIMEOUT: &str = "InformerSyncTimeout";

// Connected (binding)
/// The provider has no export of the binding's name.
pub const API_SERVICE_EXPORT_NOT_FOUND: &str = "APIServiceExportNotFound";
/// The provider refused the request of the binding's name.
pub const API_SERVICE_EXPORT_FAILED: &str = "APIServiceExportFailed";
/// A bound schema could not be read.
pub const BOUND_SCHEMA_FETCH_FAILED: &str = "BoundSchemaFetchFailed";
/// The consumer's API server refused a new CRD.
pub const CRD_CREATE_FAILED: &str = "CustomResourceDefinitionCreateFailed";
/// The consumer's API server refused a changed CRD.
pub const CRD_UPDATE_FAILED: &str = "CustomResourceDefinitionUpdateFailed";
/// A CRD of that name exists and is not the binding's.
pub const FOREIGN_CRD: &str = "ForeignCustomResourceDefinition";

// Connected, ConsumerInSync (export)
/// The consumer has no binding of the export's name.
pub const API_SERVICE_BINDING_NOT_FOUND: &str = "APIServiceBindingNotFound";
/// A bound schema of the export cannot be synced.
pub const BOUND_SCHEMAS_NOT_VALID: &str = "BoundSchemasNotValid";
/// There is no binding whose state could be copied.
pub const NOT_APPLICABLE: &str = "NA";
/// The binding does not say.
pub const UNKNOWN: &str = "Unknown";

// ExportsReady, PermissionClaim (export request)
/// A requested resource is not offered.
pub const SCHEMA_NOT_FOUND: &str = "SchemaNotFound";
/// The requested resources mix namespaced and cluster-scoped kinds.
pub const DIFFERENT_SCOPES: &str = "DifferentScopes";
/// A claimed resource cannot be claimed.
pub const INVALID_PERMISSION_CLAIM: &str = "InvalidPermissionClaim";
/// A resource is claimed twice.
pub const DUPLICATE_PERMISSION_CLAIM: &str = "DuplicatePermissionClaim";

// ProviderInSync (export)
/// A bound schema of the export is missing.
pub const BOUND_SCHEMA_MISSING: &str = "BoundSchemaMissing";

// Synced (bundle)
/// There is no client for the provider.
pub const PROVIDER_CLIENT_ERROR: &str = "ProviderClientError";
/// The provider's exports could not be listed.
pub const LIST_EXPORTS_FAILED: &str = "ListExportsFailed";
/// The consumer's bindings could not be listed.
pub const LIST_BINDINGS_FAILED: &str = "ListBindingsFailed";
/// Some bindings could not be written.
pub const SYNC_ERRORS: &str = "SyncErrors";
