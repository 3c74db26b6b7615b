//! Which provider key belongs to which consumer key: the table of `kube_bind_crds::isolation`
//! together with the living namespace mapping. Does no IO itself.

use std::sync::Arc;

use kube_bind_crds::api::InformerScope;
use kube_bind_crds::isolation::{self, Strategy};

use super::cluster::{Key, WatchScope};
use super::config::EngineConfig;
use super::plan::Target;
use super::ports::Namespaces;

/// Whose copies a watch sees: their absence from its list means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Those of all consumer objects.
    All,
    /// Those of one consumer namespace.
    Of(String),
    /// No consumer namespace is mapped there (any more).
    Nobodys,
}

impl Seen {
    pub(super) fn covers(&self, consumer: &Key) -> bool {
        match self {
            Self::All => true,
            Self::Of(namespace) => *namespace == consumer.namespace,
            Self::Nobodys => false,
        }
    }
}

pub(super) struct Mapping {
    table: isolation::Mapping,
    informer_scope: InformerScope,
    namespaces: Arc<dyn Namespaces>,
}

impl Mapping {
    pub(super) fn new(config: &EngineConfig, namespaces: Arc<dyn Namespaces>) -> Self {
        let cluster_namespace = config.cluster_namespace.as_str();
        Self {
            table: isolation::Mapping::new(config.scope, config.isolation, cluster_namespace),
            informer_scope: config.informer_scope,
            namespaces,
        }
    }

    pub(super) fn to_provider(&self, consumer: &Key) -> Target {
        let find = |namespace: &str| self.namespaces.to_provider(namespace);
        match isolation::map_to_provider(&self.table, &outer(consumer), find) {
            Ok(Some(key)) => Target::At(inner(key)),
            Ok(None) => Target::Waiting,
            Err(error) => Target::Impossible(error.to_string()),
        }
    }

    pub(super) fn to_consumer(&self, provider: &Key) -> Option<Key> {
        let find = |namespace: &str| self.namespaces.to_consumer(namespace);
        isolation::map_to_consumer(&self.table, &outer(provider), find).map(inner)
    }

    /// Asks for the missing mapping of a consumer key.
    pub(super) fn request(&self, consumer: &Key) {
        if self.table.strategy == Strategy::ServiceNamespaced {
            self.namespaces.request(&consumer.namespace);
        }
    }

    /// The watches that cover all copies.
    pub(super) fn provider_scopes(&self) -> Vec<WatchScope> {
        match self.table.strategy {
            Strategy::Namespaced => {
                vec![WatchScope::Namespace(self.table.cluster_namespace.clone())]
            }
            Strategy::ServiceNamespaced if self.informer_scope == InformerScope::Namespaced => self
                .namespaces
                .provider_namespaces()
                .into_iter()
                .map(WatchScope::Namespace)
                .collect(),
            _ => vec![WatchScope::All],
        }
    }

    /// Whose copies this watch sees.
    pub(super) fn seen_by(&self, scope: &WatchScope) -> Seen {
        match (self.table.strategy, scope) {
            (Strategy::ServiceNamespaced, WatchScope::Namespace(namespace)) => self
                .namespaces
                .to_consumer(namespace)
                .map_or(Seen::Nobodys, Seen::Of),
            _ => Seen::All,
        }
    }

    /// The watch that sees this provider key.
    pub(super) fn scope_of(&self, provider: &Key) -> WatchScope {
        match self.table.strategy {
            Strategy::Namespaced => WatchScope::Namespace(provider.namespace.clone()),
            Strategy::ServiceNamespaced if self.informer_scope == InformerScope::Namespaced => {
                WatchScope::Namespace(provider.namespace.clone())
            }
            _ => WatchScope::All,
        }
    }
}

fn outer(key: &Key) -> isolation::Key {
    if key.namespace.is_empty() {
        isolation::Key::cluster(key.name.as_str())
    } else {
        isolation::Key::namespaced(key.namespace.as_str(), key.name.as_str())
    }
}

fn inner(key: isolation::Key) -> Key {
    Key {
        namespace: key.namespace.unwrap_or_default(),
        name: key.name,
    }
}
