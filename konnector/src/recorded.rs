//! What a binding has on record of itself: the kinds that it may have installed, and the claims by which it
//! may have made copies. Its status says both, but only after they were made; an annotation says before
//! which kinds they are of. No IO.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceBindingStatus, APIServiceExport, GroupResource, PermissionClaim,
    Selector,
};
use kube_bind_crds::claims::is_claimable;
use kube_bind_crds::names::ANNOTATION_RESOURCES;
use kube_bind_crds::schema;

/// The annotation for what an export binds and claims: claimed kinds have no group.
pub fn mark(export: &APIServiceExport) -> String {
    let kinds = export.spec.resources.iter().map(|r| &r.group_resource);
    let claims = export.spec.permission_claims.iter();
    let claimed = claims.map(|claim| &claim.group_resource);
    // In one order always: another order of the same kinds is no reason to write.
    let names: BTreeSet<String> = kinds
        .map(schema::name)
        .chain(
            claimed
                .filter(|kind| is_claimable(kind))
                .map(|kind| kind.resource.clone()),
        )
        .collect();
    let names: Vec<String> = names.into_iter().collect();
    names.join(",")
}

/// The kinds that a binding may have installed.
pub fn bound(binding: &APIServiceBinding) -> Vec<GroupResource> {
    let status = binding.status.iter();
    let status = status.flat_map(|status| status.bound_schemas.clone());
    let marked = marked(binding).filter_map(|name| {
        let (resource, group) = name.split_once('.')?;
        (is_plain(resource) && is_plain(group)).then(|| GroupResource {
            group: group.to_owned(),
            resource: resource.to_owned(),
        })
    });
    status.chain(marked).collect()
}

/// The claims that its status says are in force, or were in force last: the first one on each kind.
pub fn in_force(status: &APIServiceBindingStatus) -> Vec<&PermissionClaim> {
    let mut kinds = BTreeSet::new();
    let claims = status.permission_claims.iter();
    claims
        .filter(|claim| kinds.insert(&claim.group_resource))
        .collect()
}

/// Earlier claims on a kind, of which something may be left.
pub fn former<'a>(
    binding: &'a APIServiceBinding,
    kind: &'a GroupResource,
) -> impl Iterator<Item = &'a PermissionClaim> {
    let status = binding.status.iter();
    let claims = status.flat_map(|status| &status.permission_claims);
    claims
        .filter(move |claim| claim.group_resource == *kind)
        .skip(1)
}

/// The claims by which a binding may have made copies, one on each kind. One of which only the kind is
/// known selects nothing: what it made is found by its marks.
pub fn claims(binding: &APIServiceBinding) -> Vec<PermissionClaim> {
    let status = binding.status.iter();
    let mut claims: Vec<PermissionClaim> = status.flat_map(in_force).cloned().collect();
    for name in marked(binding) {
        let group_resource = GroupResource {
            group: String::new(),
            resource: name.to_owned(),
        };
        let is_known = claims.iter().any(|c| c.group_resource == group_resource);
        if is_claimable(&group_resource) && !is_known {
            claims.push(PermissionClaim {
                group_resource,
                selector: Selector::default(),
            });
        }
    }
    claims
}

/// Anybody may have written there.
fn marked(binding: &APIServiceBinding) -> impl Iterator<Item = &str> {
    let marked = binding.annotations().get(ANNOTATION_RESOURCES);
    marked.into_iter().flat_map(|all| all.split(','))
}

fn is_plain(part: &str) -> bool {
    let mut bytes = part.bytes();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    !part.is_empty() && bytes.all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn with(annotation: &str) -> APIServiceBinding {
        let mut binding = APIServiceBinding::new("b", Default::default());
        let annotations = binding.annotations_mut();
        annotations.insert(ANNOTATION_RESOURCES.to_owned(), annotation.to_owned());
        binding
    }

    #[test]
    fn what_somebody_else_wrote_there_names_no_kind() {
        for nonsense in [
            "",
            "widgets",
            "../secrets.example.org",
            "a b.c",
            ".x",
            "x.",
            "pods,nodes",
        ] {
            let binding = with(nonsense);
            assert!(bound(&binding).is_empty(), "{nonsense}");
            assert!(claims(&binding).is_empty(), "{nonsense}");
        }
    }

    #[test]
    fn before_the_first_status_the_annotation_says_what_is_bound_and_claimed() {
        let claim = |plural: &str| json!({"group": "", "resource": plural, "selector": {"labelSelector": {}}});
        let export = json!({
            "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExport",
            "metadata": {"name": "b"},
            "spec": {
                "resources": [{"group": "example.org", "resource": "widgets", "versions": ["v1"]}],
                "permissionClaims": [claim("secrets"), claim("configmaps"), claim("pods")],
                "informerScope": "Namespaced", "isolation": "Prefixed",
            },
        });
        let export: APIServiceExport = from_value(export).unwrap();
        let mark = mark(&export);
        assert_eq!(mark, "configmaps,secrets,widgets.example.org");
        let mut binding = with(&mark);
        let kinds: Vec<String> = bound(&binding).iter().map(schema::name).collect();
        assert_eq!(kinds, ["widgets.example.org"]);
        let resources = |binding: &APIServiceBinding| -> Vec<String> {
            let claims = claims(binding).into_iter();
            claims.map(|c| c.group_resource.resource).collect()
        };
        assert_eq!(resources(&binding), ["configmaps", "secrets"]);

        let status = json!({"permissionClaims": [claim("secrets")]});
        binding.status = Some(from_value(status).unwrap());
        assert_eq!(resources(&binding), ["secrets", "configmaps"]);
        assert!(claims(&binding)[0].selector.label_selector.is_some());
    }

    #[test]
    fn of_several_claims_on_a_kind_the_first_one_is_in_force_and_the_others_were() {
        let claim = |name: &str| json!({"resource": "secrets", "selector": {"namedResources": [{"name": name}]}});
        let status = json!({"permissionClaims": [claim("now"), claim("before")]});
        let mut binding = with("secrets");
        binding.status = Some(from_value(status).unwrap());
        let all = &binding.status.as_ref().unwrap().permission_claims;
        assert_eq!(claims(&binding), [all[0].clone()]);
        let before: Vec<_> = former(&binding, &all[0].group_resource).collect();
        assert_eq!(before, [&all[1]]);
    }
}
