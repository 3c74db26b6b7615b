//! What a person agrees to: the rights that the konnector gets, in words. Pure.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube_bind_crds::api::{APIServiceExportRequestSpec, GroupResource, PermissionClaim};
use kube_bind_crds::claims::names_only;
use kube_bind_crds::consumer_rights::{claim_rules, role_name};
use kube_bind_crds::schema;

use crate::binder::Wanted;
use crate::manifests::rules;

/// The text before the question.
pub fn text(wanted: &Wanted, from: &str) -> String {
    let Wanted {
        name,
        spec,
        claim_namespaces,
    } = wanted;
    let mut lines = vec![format!(
        "Binding {name:?} adds these kinds of {from} to your cluster:"
    )];
    lines.extend(
        spec.resources
            .iter()
            .map(|r| format!("  {}", display(&r.group_resource))),
    );
    let here = claim_namespaces
        .iter()
        .map(|namespaces| {
            let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
            names.join(", ")
        })
        .next();
    if !spec.permission_claims.is_empty() {
        lines.push(String::new());
        lines.push(match &here {
            None => "The provider also reads or writes these objects of your cluster:".to_owned(),
            Some(here) => format!(
                "The provider also reads or writes these objects, in namespaces {here} only:"
            ),
        });
        lines.extend(
            spec.permission_claims
                .iter()
                .map(|claim| format!("  {}", describe(claim))),
        );
    }
    lines.push(String::new());
    lines.push(format!(
        "For that, the konnector (ServiceAccount kube-bind/konnector) gets ClusterRole {}:",
        role_name(name)
    ));
    let in_words = |rule: &PolicyRule| format!("  {}", describe_rule(rule));
    lines.extend(rules(wanted).iter().map(in_words));
    if let Some(here) = &here {
        lines.push(format!("and a Role of that name in namespaces {here}:"));
        let rules = claim_rules(&spec.permission_claims);
        lines.extend(rules.iter().map(in_words));
    }
    lines.extend(warning(&spec.permission_claims, here.as_deref()));
    lines.join("\n")
}

/// What the rights amount to, if they amount to much.
fn warning(claims: &[PermissionClaim], here: Option<&str>) -> Vec<String> {
    let claims_all = |plural: &str| {
        claims.iter().any(|claim| {
            claim.group_resource == core(plural) && names_only(&claim.selector).is_none()
        })
    };
    let text = match (claims_all("secrets"), claims_all("serviceaccounts"), here) {
        (true, _, None) => {
            "WARNING: reading and writing Secrets in all namespaces is as powerful as being cluster-admin: \
             they hold the credentials of everything else. Continue only if you trust the konnector and \
             this provider that far."
                .to_owned()
        }
        (true, _, Some(here)) => format!(
            "WARNING: the konnector may read and write all Secrets in namespaces {here}, which hold the \
             credentials of everything that runs there. Continue only if you trust it and this provider that far."
        ),
        (false, true, here) => format!(
            "WARNING: the konnector may create and delete ServiceAccounts in {}.",
            here.map_or("all namespaces".to_owned(), |here| format!("namespaces {here}"))
        ),
        (false, false, _) => return Vec::new(),
    };
    vec![String::new(), text]
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
        None => schema::name(resource),
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

    fn wanted(claims: serde_json::Value) -> Wanted {
        Wanted {
            name: "widgets".to_owned(),
            spec: spec(claims),
            claim_namespaces: None,
        }
    }

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
        insta::assert_snapshot!(text(&wanted(claims), "Example Corp"));
    }

    #[test]
    fn without_claims_there_is_no_warning() {
        let text = text(&wanted(json!([])), "Example Corp");
        assert!(
            !text.contains("WARNING") && !text.contains("secrets"),
            "{text}"
        );
    }

    #[test]
    fn limits_are_part_of_what_is_agreed_to() {
        let claims = json!([{"resource": "secrets", "selector": {"labelSelector": {}}}]);
        let mut wanted = wanted(claims);
        wanted.claim_namespaces = Some(["shop".to_owned()].into());
        let text = text(&wanted, "Example Corp");
        assert!(text.contains("in namespaces shop only"), "{text}");
        assert!(!text.contains("all namespaces"), "{text}");
    }

    #[test]
    fn claims_by_name_are_not_warned_of_as_if_they_were_on_everything() {
        let claims =
            json!([{"resource": "secrets", "selector": {"namedResources": [{"name": "a"}]}}]);
        let text = text(&wanted(claims), "Example Corp");
        assert!(!text.contains("WARNING"), "{text}");
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
