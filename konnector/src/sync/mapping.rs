//! Which provider key belongs to which consumer key: the table of `kube_bind_crds::isolation`
//! together with the living namespace mapping. Does no IO itself.

use std::sync::Arc;

use kube_bind_crds::api::{InformerScope, Isolation};
use kube_bind_crds::isolation::{self, Strategy};
use kube_bind_crds::names;
use serde_json::Value;

use super::cluster::{Key, WatchScope};
use super::config::EngineConfig;
use super::form;
use super::maps::Set;
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
    isolation: Isolation,
    informer_scope: InformerScope,
    namespaces: Arc<dyn Namespaces>,
}

impl Mapping {
    pub(super) fn new(config: &EngineConfig, namespaces: Arc<dyn Namespaces>) -> Self {
        let cluster_namespace = config.cluster_namespace.as_str();
        Self {
            table: isolation::Mapping::new(config.scope, config.isolation, cluster_namespace),
            isolation: config.isolation,
            informer_scope: config.informer_scope,
            namespaces,
        }
    }

    pub(super) fn to_provider(&self, consumer: &Key) -> Target {
        let find = |namespace: &str| self.namespaces.to_provider(namespace);
        match isolation::map_to_provider(&self.table, &outer(consumer), find) {
            Ok(Some(key)) => Target::At(inner(key)),
            Ok(None) => self.homeless(&consumer.namespace),
            Err(error) => Target::Impossible(error.to_string()),
        }
    }

    /// A consumer namespace without a service namespace: it may never get one.
    fn homeless(&self, namespace: &str) -> Target {
        if let Some(problem) = self.namespaces.problem(namespace) {
            return Target::Impossible(problem);
        }
        // Not every provider says so.
        let cluster_namespace = &self.table.cluster_namespace;
        match isolation::service_namespace(self.isolation, cluster_namespace, namespace) {
            Ok(_) => Target::Waiting,
            Err(error) => Target::Impossible(error.to_string()),
        }
    }

    fn to_consumer(&self, provider: &Key) -> Option<Key> {
        let find = |namespace: &str| self.namespaces.to_consumer(namespace);
        isolation::map_to_consumer(&self.table, &outer(provider), find).map(inner)
    }

    /// Whose copy this provider object is. A watch of all namespaces also sees copies in namespaces
    /// that are not mapped, yet or any more: these tell by their markers, or what happens to them
    /// meanwhile would be missed.
    pub(super) fn original_of(&self, body: &Value) -> Option<Key> {
        let key = form::key_of(body);
        let by_marker = || {
            let annotations = &body["metadata"]["annotations"];
            let ours = annotations[names::ANNOTATION_CLUSTER_NAMESPACE]
                == *self.table.cluster_namespace
                && self.table.strategy == Strategy::ServiceNamespaced;
            let namespace = annotations[names::ANNOTATION_CONSUMER_NAMESPACE].as_str();
            let namespace = namespace.filter(|_| ours)?;
            let waits = self.namespaces.to_provider(namespace).is_none();
            waits.then(|| Key::new(namespace, key.name.as_str()))
        };
        self.to_consumer(&key).or_else(by_marker)
    }

    /// Asks for the missing mapping of a consumer key.
    pub(super) fn request(&self, consumer: &Key) {
        if self.table.strategy == Strategy::ServiceNamespaced {
            self.namespaces.request(&consumer.namespace);
        }
    }

    /// All service namespaces that are known.
    pub(super) fn provider_namespaces(&self) -> Set<String> {
        self.namespaces.provider_namespaces().into_iter().collect()
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

    /// Whether these are all: one watch for each mapping can only be had once the mappings are known.
    pub(super) fn has_all_scopes(&self) -> bool {
        let by_mapping = self.table.strategy == Strategy::ServiceNamespaced
            && self.informer_scope == InformerScope::Namespaced;
        !by_mapping || self.namespaces.is_listed()
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

#[cfg(test)]
mod tests {
    use kube_bind_crds::api::ResourceScope;
    use tokio::sync::watch;

    use super::*;

    /// A provider that has taken one namespace for itself.
    struct Refusing;

    impl Namespaces for Refusing {
        fn is_listed(&self) -> bool {
            true
        }
        fn to_provider(&self, _: &str) -> Option<String> {
            None
        }
        fn problem(&self, namespace: &str) -> Option<String> {
            (namespace == "taken").then(|| "it is taken".to_owned())
        }
        fn to_consumer(&self, _: &str) -> Option<String> {
            None
        }
        fn request(&self, _: &str) {}
        fn subscribe(&self) -> watch::Receiver<u64> {
            watch::channel(0).1
        }
        fn provider_namespaces(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn mapping(isolation: Isolation) -> Mapping {
        Mapping {
            table: isolation::Mapping::new(ResourceScope::Namespaced, isolation, "cluster-a"),
            isolation,
            informer_scope: InformerScope::Namespaced,
            namespaces: Arc::new(Refusing),
        }
    }

    #[test]
    fn a_namespace_that_is_never_mapped_is_not_waited_for() {
        let at =
            |isolation, namespace: &str| mapping(isolation).to_provider(&Key::new(namespace, "w"));
        assert_eq!(at(Isolation::Prefixed, "shop"), Target::Waiting);
        let taken = at(Isolation::None, "taken");
        assert_eq!(taken, Target::Impossible("it is taken".to_owned()));
        let long = "x".repeat(60);
        assert!(
            matches!(at(Isolation::Prefixed, &long), Target::Impossible(why) if why.contains("63"))
        );
        assert_eq!(at(Isolation::None, &long), Target::Waiting);
    }
}
