//! What the konnector reads of the consumer cluster beside the synced objects: Secrets with
//! kubeconfigs, CRDs and Namespaces, each by one watch for all users.

mod crds;
mod namespaces;
mod secrets;

pub use crds::{CrdView, Crds};
pub use namespaces::ConsumerNamespaces;
pub use secrets::Secrets;
