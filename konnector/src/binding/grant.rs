//! The role that a person has to apply when rights are missing, in the log. The manifest is made purely;
//! IO: one review of who we are, when there is something to show.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceExport, GroupResource, NamespaceName, PermissionClaim,
};
use kube_bind_crds::consumer_rights::{binding_rules, claim_rules, namespace_rules, role_name};
use kube_bind_crds::switches;
use kube_bind_runtime::apply;
use serde_json::{Value, json};

use super::facts::{ClaimState, Facts, KindState};
use super::subtree::Subtree;

/// Everything that is missing, in words.
fn missing(facts: &Facts) -> Vec<String> {
    let kinds = facts.kinds.iter().filter_map(|kind| match &kind.state {
        KindState::MissingRights(missing) => Some(missing),
        _ => None,
    });
    let claims = facts.claims.iter().filter_map(|claim| match &claim.state {
        ClaimState::MissingRights(missing) => Some(missing),
        _ => None,
    });
    let namespaces = std::iter::once(&facts.namespaces.missing);
    let all = kinds.chain(claims).chain(namespaces);
    all.flatten().cloned().collect()
}

/// Logs the role once for each change of what is missing.
pub(super) async fn show(
    client: &Client,
    binding: &APIServiceBinding,
    export: &APIServiceExport,
    facts: &Facts,
    subtree: &mut Subtree,
) {
    let missing = missing(facts);
    if missing == subtree.shown {
        return;
    }
    subtree.shown = missing;
    if subtree.shown.is_empty() {
        return;
    }
    // A list that cannot be read is told as such, and needs no rights yet.
    let limit = switches::claim_namespaces(binding.annotations()).unwrap_or_default();
    let resources: Vec<GroupResource> = export
        .spec
        .resources
        .iter()
        .map(|resource| resource.group_resource.clone())
        .collect();
    let binding = &binding.name_any();
    let claims = &export.spec.permission_claims;
    let me = me(client).await;
    let everywhere = |claims| cluster_rules(&resources, claims, &facts.namespaces.names);
    let manifest = match limit {
        None => manifest(binding, &everywhere(claims), None, &me),
        Some(namespaces) => {
            let rules = claim_rules(claims);
            let of_claims = namespaces.iter();
            let of_claims = of_claims.map(|n| manifest(binding, &rules, Some(n), &me));
            let cluster = manifest(binding, &everywhere(&[]), None, &me);
            let all: Vec<String> = std::iter::once(cluster).chain(of_claims).collect();
            all.join("---\n")
        }
    };
    tracing::warn!(
        binding.name = %binding,
        missing = subtree.shown.join(", "),
        "rights are missing for APIServiceBinding {binding}; they are in this role, to be applied with \
         kubectl apply --server-side -f -\n{manifest}"
    );
}

/// What a binding needs in the whole cluster.
fn cluster_rules(
    resources: &[GroupResource],
    claims: &[PermissionClaim],
    namespaces: &[String],
) -> Vec<PolicyRule> {
    let mut rules = binding_rules(resources, claims);
    rules.extend(of_namespaces(namespaces));
    rules
}

/// What is needed to make namespaces of these names.
pub(super) fn of_namespaces(names: &[String]) -> Vec<PolicyRule> {
    let named = |name: &String| NamespaceName { name: name.clone() };
    let names: Vec<NamespaceName> = names.iter().map(named).collect();
    namespace_rules(&names)
}

/// The name by which the consumer's API server knows us.
async fn me(client: &Client) -> String {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = SelfSubjectReview::default();
    let answer = apply::timed(api.create(&PostParams::default(), &review)).await;
    let user = answer.ok().and_then(|a| a.status?.user_info?.username);
    user.unwrap_or_else(|| "<user of the konnector>".to_owned())
}

/// A role with its binding, in the whole cluster or in one namespace.
fn manifest(binding: &str, rules: &[PolicyRule], namespace: Option<&str>, user: &str) -> String {
    let name = role_name(binding);
    let api_version = "rbac.authorization.k8s.io/v1";
    let (kind, metadata) = match namespace {
        None => ("ClusterRole", json!({"name": name})),
        Some(namespace) => ("Role", json!({"name": name, "namespace": namespace})),
    };
    let role = json!({
        "apiVersion": api_version, "kind": kind, "metadata": metadata, "rules": rules,
    });
    let role_binding = json!({
        "apiVersion": api_version, "kind": format!("{kind}Binding"), "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [subject(user)],
    });
    let yaml =
        |object: &Value| serde_saphyr::to_string(object).unwrap_or_else(|_| object.to_string());
    format!("{}---\n{}", yaml(&role), yaml(&role_binding))
}

fn subject(user: &str) -> Value {
    let account = user.strip_prefix("system:serviceaccount:");
    match account.and_then(|account| account.split_once(':')) {
        Some((namespace, name)) => {
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        None => json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_can_be_applied_as_it_is_shown() {
        let widgets = GroupResource {
            group: "example.org".into(),
            resource: "widgets".into(),
        };
        let rules = binding_rules(&[widgets], &[]);
        let user = "system:serviceaccount:kube-bind:konnector";
        let text = manifest("widgets", &rules, None, user);
        let (role, role_binding) = text.split_once("---\n").unwrap();
        let role: Value = serde_saphyr::from_str(role).unwrap();
        assert_eq!(role["kind"], "ClusterRole");
        assert_eq!(role["rules"], json!(rules));
        let role_binding: Value = serde_saphyr::from_str(role_binding).unwrap();
        assert_eq!(role_binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(
            role_binding["subjects"],
            json!([{"kind": "ServiceAccount", "namespace": "kube-bind", "name": "konnector"}])
        );
    }

    #[test]
    fn namespaces_that_the_provider_brings_are_in_the_role_by_name() {
        let names = ["team-a".to_owned(), "team-b".to_owned()];
        let rules = cluster_rules(&[], &[], &names);
        let of_names = |rule: &&PolicyRule| rule.resource_names.as_deref() == Some(&names[..]);
        let rule = rules.iter().find(of_names).expect("they are named");
        assert!(rule.verbs.contains(&"patch".to_owned()), "{rule:?}");
    }

    #[test]
    fn limited_claims_are_granted_in_their_namespaces() {
        let text = manifest("widgets", &[], Some("shop"), "admin");
        for part in text.split("---\n") {
            let part: Value = serde_saphyr::from_str(part).unwrap();
            assert_eq!(part["metadata"]["namespace"], "shop");
            assert!(part["kind"].as_str().unwrap().starts_with("Role"), "{part}");
        }
    }
}
