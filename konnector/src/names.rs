//! Names that only the konnector uses: field managers, reasons of events and conditions. No IO.

/// User agent towards both sides.
pub const USER_AGENT: &str = concat!("kube-bind-konnector/", env!("CARGO_PKG_VERSION"));
/// Controller name in events.
pub const CONTROLLER: &str = "kube-bind-konnector";

/// Field manager of the CRDs that bindings install, and of the konnector's own two CRDs.
pub const MANAGER_CRD: &str = "kube-bind-konnector/crd";
/// Field manager of the binding controller's writes to bindings and to their exports and schemas.
pub const MANAGER_BINDING: &str = "kube-bind-konnector/binding";
/// Field manager of bundles, and of the bindings that they make.
pub const MANAGER_BUNDLE: &str = "kube-bind-konnector/bundle";
/// Field manager of the heartbeat.
pub const MANAGER_HEARTBEAT: &str = "kube-bind-konnector/heartbeat";
/// Field manager of namespaces on both sides.
pub const MANAGER_NAMESPACES: &str = "kube-bind-konnector/namespaces";
/// Field manager of claimed objects on both sides.
pub const MANAGER_CLAIMS: &str = "kube-bind-konnector/claims";

/// Event: the binding became usable.
pub const EVENT_READY: &str = "Ready";
/// Event: the binding stopped being usable; the note is the condition's message.
pub const EVENT_NOT_READY: &str = "NotReady";
/// Event: the binding is being taken back; the note is how far that is.
pub const EVENT_UNBINDING: &str = "Unbinding";
/// Event: the provider offers more than was accepted; the note says how to accept it.
pub const EVENT_ACCEPTANCE_PENDING: &str = "AcceptancePending";
/// Event on the objects that refer to it and on the bindings that claim it: a claimed object is not
/// synced.
pub const EVENT_CLAIM_CONFLICT: &str = "ClaimConflict";

/// Condition reason: copies are kept although their objects vanished.
pub const REASON_DELETES_HELD: &str = "DeletesHeld";
/// Condition reason: the provider does not answer.
pub const REASON_UNREACHABLE: &str = "ProviderUnreachable";
/// Condition reason: the kubeconfig leads to another provider than before.
pub const REASON_OTHER_PROVIDER: &str = "OtherProvider";
/// Condition reason: most of what a bundle bound is not exported any more.
pub const REASON_REMOVALS_HELD: &str = "RemovalsHeld";
/// Condition reason: something new waits for a person; the message says how to accept it.
pub const REASON_ACCEPTANCE_PENDING: &str = "AcceptancePending";
/// Condition reason: an annotation of a person has a value that means nothing.
pub const REASON_INVALID_SWITCH: &str = "InvalidSwitch";
/// Condition reason: the look at the binding panicked.
pub const REASON_INTERNAL_ERROR: &str = "InternalError";
/// Condition reason: a request that the binding needs fails for other reasons; the message says which and why.
pub const REASON_REQUEST_FAILED: &str = "RequestFailed";
/// Condition reason: rights on the consumer are missing; the message lists them.
pub const REASON_MISSING_RIGHTS: &str = "MissingPermissions";
/// Condition reason: the API server has not accepted the CRD yet.
pub const REASON_NOT_ESTABLISHED: &str = "CustomResourceDefinitionNotEstablished";
/// Condition reason: first lists are under way.
pub const REASON_SYNCING: &str = "Syncing";
/// Condition reason: the binding is being taken back.
pub const REASON_UNBINDING: &str = "Unbinding";
/// Condition reason: the binding is being taken back, and that needs a person's help.
pub const REASON_UNBINDING_BLOCKED: &str = "UnbindingBlocked";
/// Condition reason: a person wants nothing to be written.
pub const REASON_SUSPENDED: &str = "Suspended";
/// Condition reason: a changed schema would make objects invalid that exist.
pub const REASON_SCHEMA_CHANGE_HELD: &str = "SchemaChangeHeld";
/// Condition reason: the export does not have a bound kind any more.
pub const REASON_WITHDRAWN: &str = "ResourceWithdrawn";
/// Reason of a condition that holds: versions that need a conversion webhook do not cross.
pub const REASON_CONVERSION_WEBHOOK: &str = "ConversionWebhook";
/// Condition reason: a precondition that another condition explains.
pub const REASON_WAITING: &str = "Waiting";
