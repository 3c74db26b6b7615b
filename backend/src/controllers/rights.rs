//! What a consumer may do in its service namespaces: exactly what all its exports name (contract
//! section 4.4, without aggregation over consumers). Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::Role;
use kube_bind_crds::api::{APIServiceExport, GroupResource};
use kube_bind_crds::claims;
use serde_json::{Value, json};

use crate::provision::binder_access::Access;
use crate::provision::desired::Desired;
use crate::provision::names::{ROLE_CLAIMS, ROLE_EXPORTS};
use crate::provision::plan;

/// What a consumer does with its objects.
pub const VERBS: [&str; 7] = [
    "get", "list", "watch", "create", "update", "patch", "delete",
];

/// Resources of one consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    exported: BTreeSet<GroupResource>,
    claimed: BTreeSet<GroupResource>,
}

impl Rights {
    /// The rights that these exports of one cluster namespace need together.
    pub fn of<'a>(exports: impl IntoIterator<Item = &'a APIServiceExport>) -> Self {
        let mut rights = Self::default();
        for export in exports {
            let spec = &export.spec;
            rights
                .exported
                .extend(spec.resources.iter().map(|r| r.group_resource.clone()));
            rights.claimed.extend(
                spec.permission_claims
                    .iter()
                    .map(|claim| claim.group_resource.clone())
                    // What cannot be claimed is refused at the request; an export made otherwise gets nothing.
                    .filter(claims::is_claimable),
            );
        }
        rights
    }

    /// Roles and their bindings in `namespace` for the consumer of `cluster_namespace`. They exist even
    /// when empty, so that the end of an export takes its rights away.
    pub fn objects(&self, namespace: &str, cluster_namespace: &str) -> Vec<Desired> {
        let [exports, bound] = self.exported(namespace, cluster_namespace);
        vec![
            exports,
            role(namespace, ROLE_CLAIMS, &self.claimed),
            bound,
            plan::role_binding(namespace, ROLE_CLAIMS, cluster_namespace),
        ]
    }

    /// The part for exported resources alone: all that there is in a cluster namespace itself, where
    /// claims would reach the consumer's own credential.
    pub fn exported(&self, namespace: &str, cluster_namespace: &str) -> [Desired; 2] {
        [
            role(namespace, ROLE_EXPORTS, &self.exported),
            plan::role_binding(namespace, ROLE_EXPORTS, cluster_namespace),
        ]
    }

    /// What has to be allowed before the namespace is announced. One verb stands for all of a rule.
    pub fn accesses(&self, namespace: &str) -> Vec<Access> {
        self.exported
            .union(&self.claimed)
            .map(|GroupResource { group, resource }| Access {
                namespace: namespace.to_owned(),
                group: group.clone(),
                resource: resource.clone(),
                verb: "create",
            })
            .collect()
    }
}

fn role(namespace: &str, name: &str, resources: &BTreeSet<GroupResource>) -> Desired {
    Desired::of::<Role>(Some(namespace), name, json!({ "rules": rules(resources) }))
}

fn rules(resources: &BTreeSet<GroupResource>) -> Vec<Value> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for GroupResource { group, resource } in resources {
        groups.entry(group).or_default().push(resource);
    }
    groups
        .into_iter()
        .map(|(group, resources)| json!({ "apiGroups": [group], "resources": resources, "verbs": VERBS }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::test_support::export;

    #[test]
    fn all_exports_of_a_consumer_add_up() {
        let a = export("a", &["widgets.example.org"], &["secrets."]);
        let b = export(
            "b",
            &["gadgets.example.org", "widgets.example.org"],
            &["configmaps."],
        );
        let objects = Rights::of([&a, &b]).objects("service-ns", "cluster-a");
        assert_eq!(
            objects[0].body["rules"],
            json!([{ "apiGroups": ["example.org"], "resources": ["gadgets", "widgets"], "verbs": VERBS }])
        );
        assert_eq!(
            objects[1].body["rules"],
            json!([{ "apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": VERBS }])
        );
        assert!(
            objects
                .iter()
                .all(|o| o.namespace.as_deref() == Some("service-ns"))
        );
    }

    #[test]
    fn claims_give_no_right_in_a_cluster_namespace() {
        let one = export("one", &["widgets.example.org"], &["secrets."]);
        let objects = Rights::of([&one]).exported("cluster-a", "cluster-a");
        assert!(objects.iter().all(|object| object.name == ROLE_EXPORTS));
        assert!(!objects[0].body.to_string().contains("secrets"));
    }

    #[test]
    fn without_exports_the_roles_are_there_and_empty() {
        let objects = Rights::of([]).objects("service-ns", "cluster-a");
        assert_eq!(objects[0].body["rules"], json!([]));
        assert_eq!(objects[1].body["rules"], json!([]));
        assert!(Rights::of([]).accesses("service-ns").is_empty());
    }

    #[test]
    fn a_claim_that_cannot_be_claimed_gives_no_right() {
        let sly = export(
            "sly",
            &["widgets.example.org"],
            &["clusterroles.rbac.authorization.k8s.io"],
        );
        assert_eq!(
            Rights::of([&sly]).objects("s", "c")[1].body["rules"],
            json!([])
        );
    }
}
