//! What is bound in a simulated run: one of the isolation modes, with or without a status
//! subresource, a handful of objects or many.

use kube_bind_crds::api::{InformerScope, Isolation, ResourceScope};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::super::super::cluster::Key;

pub(super) const CLUSTER_NAMESPACE: &str = "kube-bind-abc";
pub(super) const NAMESPACES: [&str; 2] = ["team", "shop"];
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
pub(super) struct Mode {
    pub(super) scope: ResourceScope,
    pub(super) informer_scope: InformerScope,
    pub(super) isolation: Isolation,
    pub(super) status_subresource: bool,
    /// Enough objects to trip the breaker.
    pub(super) many: bool,
    /// Requests of one konnector at a time.
    pub(super) parallelism: usize,
}

impl Mode {
    pub(super) fn draw(random: &mut SmallRng) -> Self {
        use Isolation::{Namespaced, None, Prefixed};
        let scopes = [ResourceScope::Namespaced, ResourceScope::Cluster];
        let informers = [InformerScope::Namespaced, InformerScope::Cluster];
        Self {
            scope: *scopes.choose(random).expect("there are two"),
            informer_scope: *informers.choose(random).expect("there are two"),
            isolation: *[None, Prefixed, Namespaced]
                .choose(random)
                .expect("there are three"),
            status_subresource: random.random_bool(0.7),
            many: random.random_bool(0.04),
            parallelism: random.random_range(1..6),
        }
    }

    fn is_namespaced(&self) -> bool {
        self.scope == ResourceScope::Namespaced
    }

    /// An object of this name in this place, as far as the kind has places.
    pub(super) fn key(&self, namespace: &str, name: &str) -> Key {
        Key::new(if self.is_namespaced() { namespace } else { "" }, name)
    }

    /// Any consumer object.
    pub(super) fn any(&self, random: &mut SmallRng) -> Key {
        let namespace = NAMESPACES.choose(random).expect("there are two");
        if self.many && random.random_bool(0.5) {
            return self.key(namespace, &format!("m{}", random.random_range(0..40)));
        }
        self.key(namespace, NAMES.choose(random).expect("there are three"))
    }

    /// The ones that make a run one of many.
    pub(super) fn crowd(&self) -> Vec<Key> {
        let count = if self.many { 40 } else { 0 };
        (0..count)
            .map(|n| self.key(NAMESPACES[n % 2], &format!("m{n}")))
            .collect()
    }

    pub(super) fn service_namespace(&self, consumer: &str) -> String {
        match self.isolation {
            Isolation::Namespaced => format!("{CLUSTER_NAMESPACE}-n-{consumer}"),
            _ => format!("{CLUSTER_NAMESPACE}-{consumer}"),
        }
    }

    /// Where the copy of a consumer object lives once its namespace is mapped.
    pub(super) fn copy_of(&self, consumer: &Key) -> Key {
        if self.is_namespaced() {
            return Key::new(self.service_namespace(&consumer.namespace), &*consumer.name);
        }
        match self.isolation {
            Isolation::None => consumer.clone(),
            Isolation::Prefixed => Key::new("", format!("{CLUSTER_NAMESPACE}-{}", consumer.name)),
            Isolation::Namespaced => Key::new(CLUSTER_NAMESPACE, &*consumer.name),
        }
    }

    /// Whose copy lives there.
    pub(super) fn original_of(&self, provider: &Key) -> Option<Key> {
        if self.is_namespaced() {
            let namespace = NAMESPACES
                .into_iter()
                .find(|name| self.service_namespace(name) == provider.namespace)?;
            return Some(Key::new(namespace, &*provider.name));
        }
        match self.isolation {
            Isolation::None => Some(provider.clone()),
            Isolation::Prefixed => {
                let name = provider
                    .name
                    .strip_prefix(CLUSTER_NAMESPACE)?
                    .strip_prefix('-')?;
                Some(Key::new("", name))
            }
            Isolation::Namespaced => Some(Key::new("", &*provider.name)),
        }
    }
}
