//! The rights of a konnector on the consumer cluster: small fixed ones, and those of one binding.
//! Pure. The plugin grants them, the konnector checks them.
//!
//! No rule holds a wildcard. Objects that a konnector makes by server-side apply need `patch` *and*
//! `create` on their name: the API server asks for `create` when the applied object is missing, and
//! (unlike for POST) it knows the name then, so `resourceNames` can limit both.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::api::{GroupResource, NamespaceName, PermissionClaim};
use crate::claims::names_only;
use crate::names::GROUP;
use crate::schema;

/// ClusterRole and ClusterRoleBinding of the fixed rights, and Role and RoleBinding in the
/// konnector's namespace.
pub const FIXED_ROLE: &str = "kube-bind-konnector";

/// The two CRDs that a konnector installs itself when it starts.
pub const OWN_CRDS: [&str; 2] = [
    "apiservicebindingbundles.kube-bind.io",
    "apiservicebindings.kube-bind.io",
];

const READ: [&str; 3] = ["get", "list", "watch"];

/// Name of the ClusterRole and ClusterRoleBinding that hold the rights of one binding.
pub fn role_name(binding: &str) -> String {
    format!("{FIXED_ROLE}-{binding}")
}

/// What every konnector may do cluster-wide, whatever is bound.
pub fn fixed_cluster_rules() -> Vec<PolicyRule> {
    let crds = "customresourcedefinitions";
    vec![
        rule("", &["namespaces"], &READ),
        rule("apiextensions.k8s.io", &[crds], &["list", "watch"]),
        named(
            rule("apiextensions.k8s.io", &[crds], &["create", "get", "patch"]),
            OWN_CRDS,
        ),
        rule(
            GROUP,
            &["apiservicebindings"],
            // create and delete: a bundle's bindings come and go with the provider's exports.
            &["create", "delete", "get", "list", "patch", "watch"],
        ),
        rule(
            GROUP,
            &["apiservicebindingbundles"],
            &["get", "list", "patch", "watch"],
        ),
        rule(
            GROUP,
            &[
                "apiservicebindingbundles/status",
                "apiservicebindings/status",
            ],
            &["get", "patch", "update"],
        ),
        rule(
            GROUP,
            &[
                "apiservicebindingbundles/finalizers",
                "apiservicebindings/finalizers",
            ],
            &["update"],
        ),
        rule("", &["events"], &["create", "patch"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ]
}

/// What every konnector may do in its own namespace: the provider kubeconfigs and its lease.
pub fn fixed_namespace_rules() -> Vec<PolicyRule> {
    vec![
        rule(
            "",
            &["secrets"],
            // create: a provider kubeconfig that was deleted comes back. The only ServiceAccount
            // here whose token could be minted that way is the konnector's own.
            &["create", "get", "list", "patch", "update", "watch"],
        ),
        rule(
            "coordination.k8s.io",
            &["leases"],
            &["create", "get", "list", "patch", "update", "watch"],
        ),
    ]
}

/// What a konnector may do for the sake of one binding: its CRDs by name, its kinds, its claims.
///
/// Bound kinds get no `create`: what users make is never made by the konnector, and without the
/// right a stray apply is harmless. Kinds that claims merely refer to get nothing, because only
/// exported kinds count as referrers and those are readable already.
pub fn binding_rules(resources: &[GroupResource], claims: &[PermissionClaim]) -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    let resources: BTreeSet<&GroupResource> = resources.iter().collect();
    if !resources.is_empty() {
        rules.push(named(
            rule(
                "apiextensions.k8s.io",
                &["customresourcedefinitions"],
                &["create", "delete", "get", "patch"],
            ),
            resources.iter().copied().map(schema::name),
        ));
    }
    for (group, plurals) in by_group(resources.iter().copied()) {
        rules.push(rule(group, &plurals, &["get", "list", "patch", "watch"]));
        let status: Vec<String> = plurals.iter().map(|p| format!("{p}/status")).collect();
        rules.push(rule(group, &status, &["patch"]));
    }
    rules.extend(claim_rules(claims));
    rules
}

/// What a konnector may do with claimed objects, in each of the namespaces of a claim or in all.
///
/// A claim by label or by reference reads everything in its scope, because that is what watching is.
/// A claim by name reads those names; only its `create` cannot be limited, as a POST names no object to
/// RBAC, and the admission policy that comes with the rules has to.
pub fn claim_rules(claims: &[PermissionClaim]) -> Vec<PolicyRule> {
    let mut whole = BTreeSet::new();
    let mut by_name: BTreeMap<&GroupResource, BTreeSet<&str>> = BTreeMap::new();
    for claim in claims {
        match names_only(&claim.selector) {
            None => {
                whole.insert(&claim.group_resource);
            }
            Some(names) => by_name
                .entry(&claim.group_resource)
                .or_default()
                .extend(names.iter().map(|named| named.name.as_str())),
        }
    }
    by_name.retain(|resource, names| !whole.contains(resource) && !names.is_empty());
    let mut rules = Vec::new();
    for (group, plurals) in by_group(whole.iter().copied()) {
        rules.push(rule(
            group,
            &plurals,
            &[
                "create", "delete", "get", "list", "patch", "update", "watch",
            ],
        ));
    }
    for (resource, names) in by_name {
        let (group, plural) = (&resource.group, [&resource.resource]);
        rules.push(rule(group, &plural, &["create"]));
        let verbs = ["delete", "get", "list", "patch", "update", "watch"];
        rules.push(named(rule(group, &plural, &verbs), names));
    }
    rules
}

/// The right to make the namespaces that an offering brings along, by name (so by apply, not POST).
pub fn namespace_rules(namespaces: &[NamespaceName]) -> Vec<PolicyRule> {
    if namespaces.is_empty() {
        return Vec::new();
    }
    let names: BTreeSet<String> = namespaces.iter().map(|n| n.name.clone()).collect();
    vec![named(
        rule("", &["namespaces"], &["create", "patch"]),
        names,
    )]
}

fn by_group<'a>(
    resources: impl Iterator<Item = &'a GroupResource>,
) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for resource in resources {
        match groups.last_mut() {
            Some((group, plurals)) if *group == resource.group => plurals.push(&resource.resource),
            _ => groups.push((&resource.group, vec![&resource.resource])),
        }
    }
    groups
}

fn rule(group: &str, resources: &[impl AsRef<str>], verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources.iter().map(|r| r.as_ref().to_owned()).collect()),
        verbs: verbs.iter().map(|&v| v.to_owned()).collect(),
        ..PolicyRule::default()
    }
}

fn named(rule: PolicyRule, names: impl IntoIterator<Item = impl Into<String>>) -> PolicyRule {
    PolicyRule {
        resource_names: Some(names.into_iter().map(Into::into).collect()),
        ..rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gr(resource: &str, group: &str) -> GroupResource {
        GroupResource {
            group: group.into(),
            resource: resource.into(),
        }
    }

    /// A claim on all objects of a kind.
    fn claim(resource: &str) -> PermissionClaim {
        let mut claim = PermissionClaim {
            group_resource: gr(resource, ""),
            ..PermissionClaim::default()
        };
        claim.selector.label_selector = Some(Default::default());
        claim
    }

    fn named_claim(resource: &str, names: &[&str]) -> PermissionClaim {
        let mut claim = claim(resource);
        claim.selector.label_selector = None;
        claim.selector.named_resources = names
            .iter()
            .map(|name| crate::api::NamedResource {
                name: (*name).to_owned(),
                namespace: String::new(),
            })
            .collect();
        claim
    }

    fn find<'a>(rules: &'a [PolicyRule], group: &str, resource: &str) -> Vec<&'a PolicyRule> {
        rules
            .iter()
            .filter(|r| {
                r.api_groups.as_ref().unwrap().iter().any(|g| g == group)
                    && r.resources.as_ref().unwrap().iter().any(|p| p == resource)
            })
            .collect()
    }

    #[test]
    fn no_rule_holds_a_wildcard() {
        let mut rules = fixed_cluster_rules();
        rules.extend(fixed_namespace_rules());
        rules.extend(binding_rules(
            &[gr("widgets", "example.org")],
            &[claim("secrets")],
        ));
        let text = serde_json::to_string(&rules).unwrap();
        assert!(!text.contains('*'), "{text}");
    }

    #[test]
    fn secrets_are_readable_cluster_wide_only_when_claimed() {
        assert!(find(&fixed_cluster_rules(), "", "secrets").is_empty());
        assert!(
            find(
                &binding_rules(&[gr("widgets", "example.org")], &[]),
                "",
                "secrets"
            )
            .is_empty()
        );
        assert_eq!(
            find(&binding_rules(&[], &[claim("secrets")]), "", "secrets").len(),
            1
        );
    }

    #[test]
    fn claims_by_name_read_only_these_names() {
        let rules = claim_rules(&[named_claim("secrets", &["b", "a"])]);
        let limited: Vec<_> = rules
            .iter()
            .filter(|rule| rule.resource_names.is_some())
            .collect();
        assert_eq!(limited.len(), 1);
        assert_eq!(limited[0].resource_names.as_deref().unwrap(), ["a", "b"]);
        for rule in find(&rules, "", "secrets") {
            assert!(
                rule.resource_names.is_some() || rule.verbs == ["create"],
                "{rule:?}"
            );
        }
        let both = [named_claim("secrets", &["a"]), claim("secrets")];
        assert_eq!(claim_rules(&both), claim_rules(&both[1..]));
    }

    #[test]
    fn a_claim_that_selects_nothing_needs_nothing() {
        assert!(claim_rules(&[named_claim("secrets", &[])]).is_empty());
    }

    #[test]
    fn bound_kinds_can_be_patched_but_not_created_or_deleted() {
        let rules = binding_rules(
            &[
                gr("widgets", "example.org"),
                gr("gadgets", "example.org"),
                gr("widgets", "example.org"),
            ],
            &[],
        );
        let kinds = find(&rules, "example.org", "widgets");
        assert_eq!(kinds.len(), 1);
        assert_eq!(
            kinds[0].resources.as_ref().unwrap(),
            &["gadgets", "widgets"]
        );
        assert_eq!(kinds[0].verbs, ["get", "list", "patch", "watch"]);
        let status = find(&rules, "example.org", "gadgets/status");
        assert_eq!(status[0].verbs, ["patch"]);
    }

    #[test]
    fn crds_are_writable_by_name_only() {
        let rules = binding_rules(&[gr("widgets", "example.org")], &[]);
        let mut all = fixed_cluster_rules();
        all.extend(rules.clone());
        for rule in find(&all, "apiextensions.k8s.io", "customresourcedefinitions") {
            let writes = rule.verbs.iter().any(|v| v != "list" && v != "watch");
            assert_eq!(writes, rule.resource_names.is_some(), "{rule:?}");
        }
        let own = find(&rules, "apiextensions.k8s.io", "customresourcedefinitions")[0];
        assert_eq!(
            own.resource_names.as_deref().unwrap(),
            ["widgets.example.org"]
        );
    }

    #[test]
    fn kinds_that_claims_refer_to_give_no_rights() {
        let mut refers = claim("secrets");
        refers.selector.references.push(Default::default());
        refers.selector.references[0].group_resource = gr("pods", "");
        assert!(find(&binding_rules(&[], &[refers]), "", "pods").is_empty());
    }

    #[test]
    fn nothing_bound_means_no_rules_at_all() {
        assert!(binding_rules(&[], &[]).is_empty());
        assert!(namespace_rules(&[]).is_empty());
    }

    #[test]
    fn namespaces_are_made_by_name_only() {
        let rules = namespace_rules(&[NamespaceName {
            name: "team-a".into(),
        }]);
        assert_eq!(rules[0].resource_names.as_deref().unwrap(), ["team-a"]);
    }
}
