//! Object keys from the consumer to the provider and back (contract section 5.7). Pure: the table of
//! service namespaces comes in as a function.

use std::fmt;

use super::{Error, MAX_NAME};
use crate::api::{Isolation, ResourceScope};

/// Namespace and name of an object; cluster-scoped objects have no namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl Key {
    /// Key of an object in a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: Some(namespace.into()),
            name: name.into(),
        }
    }

    /// Key of a cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self {
            namespace: None,
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// How one kind is laid out on the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Namespaced on both sides; the namespace is mapped by `APIServiceNamespace`.
    ServiceNamespaced,
    /// Cluster-scoped on both sides, nothing renamed.
    None,
    /// Cluster-scoped on both sides; names get the cluster namespace as prefix.
    Prefixed,
    /// Cluster-scoped on the consumer, in the cluster namespace on the provider.
    Namespaced,
}

impl Strategy {
    /// The strategy for a bound schema of that scope in an export of that isolation.
    pub fn new(scope: ResourceScope, isolation: Isolation) -> Self {
        match (scope, isolation) {
            (ResourceScope::Namespaced, _) => Self::ServiceNamespaced,
            (ResourceScope::Cluster, Isolation::None) => Self::None,
            (ResourceScope::Cluster, Isolation::Prefixed) => Self::Prefixed,
            (ResourceScope::Cluster, Isolation::Namespaced) => Self::Namespaced,
        }
    }
}

/// What the mapping of one kind's keys depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Layout on the provider.
    pub strategy: Strategy,
    /// The consumer's cluster namespace.
    pub cluster_namespace: String,
}

impl Mapping {
    /// The mapping for a bound schema of that scope in an export of that isolation.
    pub fn new(
        scope: ResourceScope,
        isolation: Isolation,
        cluster_namespace: impl Into<String>,
    ) -> Self {
        Self {
            strategy: Strategy::new(scope, isolation),
            cluster_namespace: cluster_namespace.into(),
        }
    }
}

/// Key of the provider copy of a consumer object; `None` while its service namespace is not known.
/// `service_namespace` finds `APIServiceNamespace(consumer namespace).status.namespace`.
pub fn map_to_provider(
    mapping: &Mapping,
    consumer: &Key,
    service_namespace: impl FnOnce(&str) -> Option<String>,
) -> Result<Option<Key>, Error> {
    let provider = match mapping.strategy {
        Strategy::ServiceNamespaced => {
            let Some(namespace) = &consumer.namespace else {
                return Err(Error::NoNamespace {
                    name: consumer.name.clone(),
                });
            };
            return Ok(service_namespace(namespace)
                .filter(|found| !found.is_empty())
                .map(|found| Key::namespaced(found, &consumer.name)));
        }
        Strategy::None => Key::cluster(&consumer.name),
        Strategy::Prefixed => {
            Key::cluster(format!("{}-{}", mapping.cluster_namespace, consumer.name))
        }
        Strategy::Namespaced => Key::namespaced(&mapping.cluster_namespace, &consumer.name),
    };
    if provider.name.len() > MAX_NAME {
        return Err(Error::NameTooLong {
            name: provider.name,
        });
    }
    Ok(Some(provider))
}

/// Key of the consumer object of a provider copy; `None` for what is not this consumer's by its key.
/// Under [`Strategy::None`] every key maps, so that only the markers on an object tell whose it is.
/// `consumer_namespace` is the reverse of the table of service namespaces.
pub fn map_to_consumer(
    mapping: &Mapping,
    provider: &Key,
    consumer_namespace: impl FnOnce(&str) -> Option<String>,
) -> Option<Key> {
    match mapping.strategy {
        Strategy::ServiceNamespaced => {
            let namespace = consumer_namespace(provider.namespace.as_deref()?)?;
            Some(Key::namespaced(namespace, &provider.name))
        }
        Strategy::None => match provider.namespace {
            None => Some(Key::cluster(&provider.name)),
            Some(_) => None,
        },
        Strategy::Prefixed => {
            if provider.namespace.is_some() {
                return None;
            }
            let name = provider
                .name
                .strip_prefix(&mapping.cluster_namespace)?
                .strip_prefix('-')?;
            (!name.is_empty()).then(|| Key::cluster(name))
        }
        Strategy::Namespaced => (provider.namespace.as_deref()
            == Some(mapping.cluster_namespace.as_str()))
        .then(|| Key::cluster(&provider.name)),
    }
}
