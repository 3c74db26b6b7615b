//! Which rights outside of its service namespaces the exports of a consumer need, and which of them it
//! gets. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube_bind_crds::api::{APIServiceExport, GroupResource, Isolation, ResourceScope};
use kube_bind_crds::names::BINDER;
use serde_json::{Value, json};

use crate::controllers::rights;
use crate::provision::Settings;
use crate::provision::desired::Desired;
use crate::provision::names::{
    CLUSTER_ROLE_PREFIX, COMPONENT_ACCESS, LABEL_COMPONENT, VERB_NAME_FREELY,
};
use crate::provision::reach::Reach;

const READ: [&str; 3] = ["get", "list", "watch"];

/// What one consumer needs outside of its service namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// In its cluster namespace: kinds whose objects live there.
    pub own: BTreeSet<GroupResource>,
    /// Kinds that it lists cluster-wide.
    pub reads: BTreeSet<GroupResource>,
    /// Cluster-scoped kinds, which it writes too; and whether it may give their objects any name.
    pub writes: BTreeMap<GroupResource, bool>,
}

impl Access {
    /// The rights that these exports of one consumer need together. `scopes` are those of their bound
    /// schemas; a kind whose schema is not there yet gets nothing yet.
    pub fn of(
        exports: &[APIServiceExport],
        scopes: &BTreeMap<GroupResource, ResourceScope>,
        settings: &Settings,
    ) -> Self {
        let mut access = Self::default();
        for (export, resource) in resources(exports) {
            let isolation = export.spec.isolation;
            let Some(scope) = scopes.get(resource) else {
                continue;
            };
            if isolation == Isolation::Namespaced {
                access.own.insert(resource.clone());
            }
            match Reach::of(*scope, isolation, export.spec.informer_scope, settings) {
                Reach::Own => {}
                Reach::Reads => {
                    access.reads.insert(resource.clone());
                }
                Reach::Cluster => {
                    let free = isolation == Isolation::None;
                    *access.writes.entry(resource.clone()).or_default() |= free;
                }
            }
        }
        access
    }

    /// Whether no right reaches beyond the consumer's namespaces.
    pub fn is_narrow(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty()
    }

    /// Takes away what is somebody else's alone and returns it.
    pub fn without(&mut self, taken: &BTreeSet<GroupResource>) -> Vec<GroupResource> {
        let lost: Vec<_> = self
            .reads
            .iter()
            .chain(self.writes.keys())
            .filter(|resource| taken.contains(*resource))
            .cloned()
            .collect();
        self.reads.retain(|resource| !taken.contains(resource));
        self.writes.retain(|resource, _| !taken.contains(resource));
        lost
    }

    /// The role and what binds it, owned by the cluster namespace.
    pub fn cluster_role(&self, cluster_namespace: &str, uid: &str) -> [Desired; 2] {
        let name = role_name(cluster_namespace);
        let metadata = json!({
            "labels": { LABEL_COMPONENT: COMPONENT_ACCESS },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Namespace", "name": cluster_namespace, "uid": uid,
            }],
        });
        let writes = self.writes.iter().map(|(resource, free)| {
            let free = free.then_some(VERB_NAME_FREELY);
            rule(resource, rights::VERBS.into_iter().chain(free))
        });
        let reads = self.reads.iter().map(|resource| rule(resource, READ));
        let rules: Vec<Value> = reads.chain(writes).collect();
        [
            Desired::of::<ClusterRole>(
                None,
                &name,
                json!({ "metadata": metadata, "rules": rules }),
            ),
            Desired::of::<ClusterRoleBinding>(
                None,
                &name,
                json!({
                    "metadata": metadata,
                    "roleRef": {
                        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name,
                    },
                    "subjects": [
                        { "kind": "ServiceAccount", "name": BINDER, "namespace": cluster_namespace },
                    ],
                }),
            ),
        ]
    }
}

/// Name of the cluster-wide rights of a consumer.
pub fn role_name(cluster_namespace: &str) -> String {
    format!("{CLUSTER_ROLE_PREFIX}{cluster_namespace}")
}

/// The consumer whose rights have this name.
pub fn namespace_of(role: &str) -> Option<&str> {
    role.strip_prefix(CLUSTER_ROLE_PREFIX)
}

/// Kinds that another consumer had first, of those that nobody shares.
pub fn taken(
    all: &[APIServiceExport],
    cluster_namespace: &str,
    settings: &Settings,
) -> BTreeSet<GroupResource> {
    if settings.allow_shared_reads {
        return BTreeSet::new();
    }
    let mut first: BTreeMap<&GroupResource, (i64, &str)> = BTreeMap::new();
    for (export, resource) in resources(all) {
        let created = export.metadata.creation_timestamp.as_ref();
        let since = created.map_or(i64::MAX, |time| time.0.as_second());
        let namespace = export.metadata.namespace.as_deref().unwrap_or_default();
        let candidate = (since, namespace);
        let holder = first.entry(resource).or_insert(candidate);
        *holder = candidate.min(*holder);
    }
    first
        .into_iter()
        .filter(|(_, (_, holder))| *holder != cluster_namespace)
        .map(|(resource, _)| resource.clone())
        .collect()
}

fn resources(
    exports: &[APIServiceExport],
) -> impl Iterator<Item = (&APIServiceExport, &GroupResource)> {
    exports
        .iter()
        .filter(|export| export.metadata.deletion_timestamp.is_none())
        .flat_map(|export| {
            let resources = export.spec.resources.iter();
            resources.map(move |resource| (export, &resource.group_resource))
        })
}

fn rule<'a>(resource: &GroupResource, verbs: impl IntoIterator<Item = &'a str>) -> Value {
    let verbs: Vec<&str> = verbs.into_iter().collect();
    json!({ "apiGroups": [resource.group], "resources": [resource.resource], "verbs": verbs })
}

#[cfg(test)]
mod tests;
