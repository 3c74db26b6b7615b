//! Condition types of the contract, each with its owner.

/// Summary of all others.
pub const READY: &str = "Ready";
/// The provider's kubeconfig can be used (konnector; binding, bundle, cluster binding).
pub const SECRET_VALID: &str = "SecretValid";
/// The konnector knows its own version (konnector; cluster binding).
pub const VALID_VERSION: &str = "ValidVersion";
/// The konnector reports itself often enough (backend; cluster binding).
pub const HEALTHY: &str = "Healthy";
/// The lists of the provider are complete (konnector; binding).
pub const INFORMERS_SYNCED: &str = "InformersSynced";
/// Heartbeats arrive at the provider (konnector; binding).
pub const HEARTBEATING: &str = "Heartbeating";
/// Both ends of a binding see each other (konnector; binding and export).
pub const CONNECTED: &str = "Connected";
/// The CRDs on the consumer are what the provider exports (konnector; binding).
pub const SCHEMA_IN_SYNC: &str = "SchemaInSync";
/// The bindings of a bundle are what the provider exports (konnector; bundle).
pub const SYNCED: &str = "Synced";
/// The exports of a request exist (backend; export request).
pub const EXPORTS_READY: &str = "ExportsReady";
/// The claims of a request are allowed (backend; export request).
pub const PERMISSION_CLAIM: &str = "PermissionClaim";
/// The schemas of an export are what the provider offers (backend; export).
pub const PROVIDER_IN_SYNC: &str = "ProviderInSync";
/// Copy of the binding's [`SCHEMA_IN_SYNC`] (konnector; export).
pub const CONSUMER_IN_SYNC: &str = "ConsumerInSync";
