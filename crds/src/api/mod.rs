//! The kinds of `kube-bind.io/v1alpha2` (contract section 1), one file each, and what they share.

mod bindable_resources_request;
mod binding;
mod bound_schema;
mod bundle;
mod catalogue;
mod cluster_binding;
mod export;
mod export_request;
mod lenient;
mod namespace;
mod owner;
mod schema;
mod shared;

pub use bindable_resources_request::*;
pub use binding::*;
pub use bound_schema::*;
pub use bundle::*;
pub use catalogue::*;
pub use cluster_binding::*;
pub use export::*;
pub use export_request::*;
pub use namespace::*;
pub use owner::*;
pub use shared::*;
