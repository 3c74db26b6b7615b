//! The version that all parts report.

/// Version of this build, such as `v0.9.0`; what `ClusterBinding.status.konnectorVersion` and the
/// catalogue show.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
