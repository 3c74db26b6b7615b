//! The `kube-bind.io` API: its types, its constants, and what they mean.
//!
//! Everything here is pure: no kube client, no runtime, no clock. Time and randomness come in as
//! arguments. Kubernetes schemas stay opaque JSON values throughout, because a typed round trip
//! would lose what the types do not know.

pub mod api;
pub mod claims;
pub mod conditions;
pub mod consumer_rights;
pub mod digest;
pub mod hex;
pub mod isolation;
pub mod manifests;
pub mod names;
pub mod schema;
pub mod switches;
pub mod validate;
pub mod version;
pub mod wire;
