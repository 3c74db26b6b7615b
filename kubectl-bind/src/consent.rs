//! What a person agrees to: the rights that the konnector gets, in words. Pure.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube_bind_crds::api::{APIServiceExportRequestSpec, GroupResource, PermissionClaim};
use kube_bind_crds::consumer_rights::role_name;

use crate::manifests::rules;

/// The text before the question.
pub fn text(binding: &str, spec: &APIServiceExportRequestSpec, from: &str) -> String {
    let mut lines = vec![format!(
        "Binding {binding:?} adds these kinds of {from} to your cluster:"
    )];
    lines.extend(
        spec.resources
            .iter()
            .map(|r| format!("  {}", display(&r.group_resource))),
    );
    if !spec.permission_claims.is_empty() {
        lines.push(String::new());
        lines.push("The provider also reads or writes these objects of your cluster:".to_owned());
        lines.extend(
            spec.permission_claims
                .iter()
                .map(|claim| format!("  {}", describe(claim))),
        );
    }
    lines.push(String::new());
    lines.push(format!(
        "For that, the konnector (ServiceAccount kube-bind/konnector) gets ClusterRole {}:",
        role_name(binding)
    ));
    lines.extend(
        rules(spec)
            .iter()
            .map(|rule| format!("  {}", describe_rule(rule))),
    );
    if spec
        .permission_claims
        .iter()
        .any(|claim| claim.group_resource == core("secrets"))
    {
        lines.push(String::new());
        lines.push(
            "WARNING: reading and writing Secrets in all namespaces is as powerful as being cluster-admin: \
             they hold the credentials of everything else. Continue only if you trust the konnector and \
             this provider that far."
                .to_owned(),
        );
    } else if spec
        .permission_claims
        .iter()
        .any(|claim| claim.group_resource == core("serviceaccounts"))
    {
        lines.push(String::new());
        lines.push(
            "WARNING: the konnector may create and delete ServiceAccounts in all namespaces."
                .to_owned(),
        );
    }
    lines.join("\n")
}

/// What of `asked` was not part of `agreed`: a server must not ask for more than it showed.
pub fn excess(
    agreed: &APIServiceExportRequestSpec,
    asked: &APIServiceExportRequestSpec,
) -> Option<String> {
    let resource = asked
        .resources
        .iter()
        .map(|r| &r.group_resource)
        .find(|r| !agreed.resources.iter().any(|a| a.group_resource == **r))
        .map(display);
    let claim = || {
        asked
            .permission_claims
            .iter()
            .find(|c| !agreed.permission_claims.contains(c))
            .map(describe)
    };
    let namespace = || {
        asked
            .namespaces
            .iter()
            .find(|n| !agreed.namespaces.contains(n))
            .map(|n| format!("namespace {}", n.name))
    };
    resource.or_else(claim).or_else(namespace)
}

fn describe(claim: &PermissionClaim) -> String {
    let selector = &claim.selector;
    let mut which = Vec::new();
    if let Some(labels) = &selector.label_selector {
        let simple = labels
            .match_labels
            .iter()
            .flatten()
            .map(|(key, value)| format!("{key}={value}"));
        let expressions = labels.match_expressions.iter().flatten().map(|e| {
            format!(
                "{} {} {}",
                e.key,
                e.operator,
                e.values.as_deref().unwrap_or_default().join(",")
            )
        });
        let all: Vec<String> = simple.chain(expressions).collect();
        which.push(if all.is_empty() {
            "all of them".to_owned()
        } else {
            format!("labelled {}", all.join(" and "))
        });
    }
    which.extend(selector.named_resources.iter().map(|named| {
        let namespace = if named.namespace.is_empty() {
            "any namespace"
        } else {
            &named.namespace
        };
        format!("{} in {namespace}", named.name)
    }));
    which.extend(selector.references.iter().map(|reference| {
        format!(
            "named by {} at {}",
            display(&reference.group_resource),
            reference.json_path.name
        )
    }));
    if which.is_empty() {
        which.push("none".to_owned());
    }
    format!("{}: {}", display(&claim.group_resource), which.join("; "))
}

fn describe_rule(rule: &PolicyRule) -> String {
    let group = rule
        .api_groups
        .iter()
        .flatten()
        .next()
        .map_or("", String::as_str);
    let resources: Vec<String> = rule
        .resources
        .iter()
        .flatten()
        .map(|plural| {
            display(&GroupResource {
                group: group.to_owned(),
                resource: plural.clone(),
            })
        })
        .collect();
    let names = rule
        .resource_names
        .as_deref()
        .map(|n| format!(" named {}", n.join(", ")))
        .unwrap_or_default();
    format!("{}: {}{names}", rule.verbs.join(", "), resources.join(", "))
}

fn display(resource: &GroupResource) -> String {
    if resource.group.is_empty() {
        return resource.resource.clone();
    }
    match resource.resource.split_once('/') {
        Some((plural, part)) => format!("{plural}.{}/{part}", resource.group),
        None => format!("{}.{}", resource.resource, resource.group),
    }
}

fn core(plural: &str) -> GroupResource {
    GroupResource {
        group: String::new(),
        resource: plural.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(claims: serde_json::Value) -> APIServiceExportRequestSpec {
        serde_json::from_value(json!({
            "resources": [{"group": "example.org", "resource": "widgets", "versions": ["v1"]}],
            "permissionClaims": claims,
            "namespaces": [{"name": "widget-system"}],
        }))
        .unwrap()
    }

    #[test]
    fn a_claim_on_secrets_is_called_what_it_is() {
        let claims = json!([
            {"group": "", "resource": "secrets", "selector": {
                "labelSelector": {"matchLabels": {"app": "widgets"}},
                "namedResources": [{"name": "ca", "namespace": "infra"}, {"name": "any"}],
                "references": [{"group": "example.org", "resource": "widgets", "jsonPath": {"name": "spec.secretRef.name"}}],
            }},
        ]);
        insta::assert_snapshot!(text("widgets", &spec(claims), "Example Corp"));
    }

    #[test]
    fn without_claims_there_is_no_warning() {
        let text = text("widgets", &spec(json!([])), "Example Corp");
        assert!(
            !text.contains("WARNING") && !text.contains("secrets"),
            "{text}"
        );
    }

    #[test]
    fn asking_for_more_than_was_shown_is_noticed() {
        let agreed = spec(
            json!([{"resource": "configmaps", "selector": {"namedResources": [{"name": "a"}]}}]),
        );
        assert_eq!(excess(&agreed, &agreed), None);
        assert_eq!(excess(&agreed, &spec(json!([]))), None);
        let more = spec(json!([{"resource": "secrets", "selector": {"labelSelector": {}}}]));
        assert_eq!(excess(&agreed, &more).unwrap(), "secrets: all of them");
        let wider = spec(json!([{"resource": "configmaps", "selector": {"labelSelector": {}}}]));
        assert!(excess(&agreed, &wider).is_some());
        let mut kinds = agreed.clone();
        kinds.resources[0].group_resource.resource = "gadgets".into();
        assert_eq!(excess(&agreed, &kinds).unwrap(), "gadgets.example.org");
    }
}
