//! How far a consumer's rights on one kind have to reach on the provider (contract section 4.9). Pure.

use kube_bind_crds::api::{InformerScope, Isolation, ResourceScope};

use super::Settings;

/// How far rights on a kind reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The consumer's own namespaces.
    Own,
    /// Its own namespaces, and reading everywhere: it lists the kind cluster-wide.
    Reads,
    /// The whole cluster: the kind is cluster-scoped. Roles cannot limit writes by the beginning of a
    /// name, so an admission policy does.
    Cluster,
}

impl Reach {
    /// For a kind in an export. `scope` may be the one of the provider's CRD or of the bound schema; they
    /// differ under isolation `Namespaced` only, where it does not matter.
    pub fn of(
        scope: ResourceScope,
        isolation: Isolation,
        informer_scope: InformerScope,
        settings: &Settings,
    ) -> Self {
        match (isolation, scope, informer_scope) {
            (Isolation::Namespaced, _, _) if settings.grant_cluster_wide_lists => Self::Reads,
            (Isolation::Namespaced, _, _) => Self::Own,
            (_, ResourceScope::Cluster, _) => Self::Cluster,
            (_, _, InformerScope::Cluster) => Self::Reads,
            (_, _, InformerScope::Namespaced) => Self::Own,
        }
    }

    /// Admission never sees reads: whoever may list cluster-wide reads the objects of everybody.
    pub fn shares_reads(self) -> bool {
        self != Self::Own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::test_support::settings;

    #[test]
    fn rights_reach_no_further_than_the_mode_needs() {
        use InformerScope as Informers;
        use Isolation::{Namespaced, None, Prefixed};
        use ResourceScope as Scope;
        for (scope, isolation, informers, expected) in [
            (Scope::Namespaced, None, Informers::Namespaced, Reach::Own),
            (
                Scope::Namespaced,
                Prefixed,
                Informers::Namespaced,
                Reach::Own,
            ),
            (
                Scope::Namespaced,
                Namespaced,
                Informers::Namespaced,
                Reach::Own,
            ),
            (Scope::Namespaced, None, Informers::Cluster, Reach::Reads),
            (
                Scope::Namespaced,
                Prefixed,
                Informers::Cluster,
                Reach::Reads,
            ),
            (
                Scope::Namespaced,
                Namespaced,
                Informers::Cluster,
                Reach::Own,
            ),
            (Scope::Cluster, Namespaced, Informers::Cluster, Reach::Own),
            (Scope::Cluster, None, Informers::Namespaced, Reach::Cluster),
            (
                Scope::Cluster,
                Prefixed,
                Informers::Namespaced,
                Reach::Cluster,
            ),
            (Scope::Cluster, Prefixed, Informers::Cluster, Reach::Cluster),
        ] {
            let reach = Reach::of(scope, isolation, informers, &settings());
            assert_eq!(reach, expected, "{scope:?} {isolation:?} {informers:?}");
            assert_eq!(reach.shares_reads(), expected != Reach::Own);
        }
    }

    #[test]
    fn konnectors_of_the_original_list_under_isolation_namespaced() {
        let mut settings = settings();
        settings.grant_cluster_wide_lists = true;
        let reach = Reach::of(
            ResourceScope::Cluster,
            Isolation::Namespaced,
            InformerScope::Namespaced,
            &settings,
        );
        assert_eq!(reach, Reach::Reads);
    }
}
