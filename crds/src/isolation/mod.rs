//! How the objects of several consumers are kept apart on one provider: names of cluster namespaces
//! and service namespaces, and the mapping of object keys in both directions (contract sections 3.2,
//! 3.4, 4.9 and 5.7). Pure.

mod identity;
mod mapping;

pub use identity::{cluster_namespace, identity_hash};
pub use mapping::{Key, Mapping, Strategy, map_to_consumer, map_to_provider};

use crate::api::Isolation;

/// Longest name of a namespace.
pub const MAX_NAMESPACE: usize = 63;
pub use crate::validate::MAX_NAME;

/// Why a name cannot be mapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The provider's namespace would have a name that no API server accepts.
    #[error("namespace name {name:?} has {} characters, more than {MAX_NAMESPACE}", name.len())]
    NamespaceTooLong {
        /// The name.
        name: String,
    },
    /// The provider's object would have a name that no API server accepts.
    #[error("object name {name:?} has {} characters, more than {MAX_NAME}", name.len())]
    NameTooLong {
        /// The name.
        name: String,
    },
    /// A namespaced object without a namespace.
    #[error("object {name:?} of a namespaced kind has no namespace")]
    NoNamespace {
        /// Name of the object.
        name: String,
    },
}

/// Name of the provider namespace for one consumer namespace. It is also what the konnector cannot
/// choose: it learns the name from `APIServiceNamespace.status.namespace`.
pub fn service_namespace(
    isolation: Isolation,
    cluster_namespace: &str,
    consumer_namespace: &str,
) -> Result<String, Error> {
    let name = match isolation {
        Isolation::Prefixed | Isolation::Namespaced => {
            format!("{cluster_namespace}-{consumer_namespace}")
        }
        Isolation::None => consumer_namespace.to_owned(),
    };
    if name.len() > MAX_NAMESPACE {
        return Err(Error::NamespaceTooLong { name });
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
