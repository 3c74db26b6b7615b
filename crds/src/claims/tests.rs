//! Tests of the parent module: the table of contract section 5.9.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use proptest::prelude::{prop, prop_assert, proptest};
use serde_json::{Value, json};

use super::*;
use crate::api::{
    GroupResource, Isolation, NamedResource, ReferencePath, Selector, SelectorReference,
};

fn referenced(
    reference: &SelectorReference,
    object: &Value,
    isolation: Isolation,
) -> Vec<Referenced> {
    Referrer::new(object).referenced(reference, isolation)
}

fn resource(group: &str, resource: &str) -> GroupResource {
    GroupResource {
        group: group.to_owned(),
        resource: resource.to_owned(),
    }
}

fn reference(name: &str, namespace: &str) -> SelectorReference {
    SelectorReference {
        group_resource: resource("example.org", "sheriffs"),
        versions: Vec::new(),
        json_path: ReferencePath {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        },
    }
}

#[test]
fn only_three_core_kinds_can_be_claimed() {
    let names: Vec<&str> = CLAIMABLE.iter().map(|claimable| claimable.plural).collect();
    assert_eq!(names, ["configmaps", "secrets", "serviceaccounts"]);
    assert!(is_claimable(&resource("", "secrets")));
    assert!(!is_claimable(&resource("", "pods")));
    assert!(!is_claimable(&resource("example.org", "secrets")));
}

#[test]
fn references_to_kinds_that_are_not_exported_need_a_single_consumer() {
    let exported = [resource("example.org", "sheriffs")];
    let own = reference("spec.name", "");
    let foreign = SelectorReference {
        group_resource: resource("other.example.org", "outlaws"),
        ..own.clone()
    };
    for (reference, isolation, allowed) in [
        (&foreign, Isolation::None, true),
        (&foreign, Isolation::Namespaced, false),
        (&foreign, Isolation::Prefixed, false),
        (&own, Isolation::Prefixed, true),
        (&own, Isolation::Namespaced, true),
    ] {
        assert_eq!(
            reference_allowed(reference, isolation, &exported),
            allowed,
            "{reference:?} {isolation:?}"
        );
    }
}

#[test]
fn names_are_trimmed_and_empty_ones_refer_to_nothing() {
    let referrer = json!({ "spec": { "names": [" badge ", "", "  ", "hat\n"] } });
    let found = referenced(&reference("spec.names", ""), &referrer, Isolation::Prefixed);
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["badge", "hat"]);
}

#[test]
fn the_paths_are_gjson_paths() {
    let referrer = json!({
        "metadata": { "annotations": { "example.org/secret": "from-annotation" } },
        "spec": {
            "refs": [
                { "name": "one", "kind": "Secret" },
                { "name": "two", "kind": "ConfigMap" },
                { "name": "three", "kind": "Secret" },
            ],
            "first.last": "dotted",
        },
    });
    for (path, expected) in [
        ("spec.refs.#.name", vec!["one", "three", "two"]),
        ("spec.refs.1.name", vec!["two"]),
        (r#"spec.refs.#(kind=="Secret").name"#, vec!["one"]),
        (r#"spec.refs.#(kind=="Secret")#.name"#, vec!["one", "three"]),
        (
            r"metadata.annotations.example\.org/secret",
            vec!["from-annotation"],
        ),
        (r"spec.first\.last", vec!["dotted"]),
        ("spec.re*.0.name", vec!["one"]),
        ("spec.refs[*].name", vec![]),
        ("$.spec.refs", vec![]),
        ("", vec![]),
    ] {
        let found = referenced(&reference(path, ""), &referrer, Isolation::Prefixed);
        let names: Vec<String> = found.into_iter().map(|found| found.name).collect();
        assert_eq!(names, expected, "{path}");
    }
}

#[test]
fn a_path_that_is_too_long_refers_to_nothing() {
    let key = "k".repeat(MAX_PATH + 1);
    let referrer = json!({ key.clone(): "badge" });
    assert!(referenced(&reference(&key, ""), &referrer, Isolation::None).is_empty());
}

#[test]
fn a_namespace_path_that_costs_too_much_does_not_mean_all_namespaces() {
    let key = "a".repeat(2000);
    let referrer = json!({ "spec": { "name": "badge", key: "shop" } });
    let any = reference("spec.name", "spec.absent");
    let found = referenced(&any, &referrer, Isolation::Prefixed);
    assert_eq!(found[0].namespaces, NamespaceRule::Any);
    let costly = reference("spec.name", "spec.*a*a*a*a*b");
    assert!(referenced(&costly, &referrer, Isolation::Prefixed).is_empty());
}

proptest! {
    #[test]
    fn no_path_of_a_provider_can_stop_us(path in r#"[a-c.#*?\\@|(){}\[\]!=<>%~:,'" 0-9é]{0,24}"#) {
        let referrer = json!({
            "a": { "b": [{ "c": "é\"x" }, { "c": ["y", {}] }, 7, null, true], "c": {} },
            "b": ["x", "y"], "é": "ü",
        });
        for found in referenced(&reference(&path, &path), &referrer, Isolation::Prefixed) {
            prop_assert!(!found.name.is_empty());
        }
    }

    #[test]
    fn no_content_of_a_consumer_can_stop_us(text in "\\PC*", keys in prop::collection::vec("\\PC{0,4}", 0..3)) {
        let mut referrer = json!(text.clone());
        for key in keys {
            referrer = json!({ key: [referrer] });
        }
        let referrer = json!({ "spec": { "name": text.clone(), "more": referrer } });
        let found = referenced(&reference("spec.name", "spec.more"), &referrer, Isolation::None);
        prop_assert!(found.len() <= 1);
        prop_assert!(found.iter().all(|found| found.name == text.trim()));
    }
}

#[test]
fn label_selectors_have_the_semantics_of_kubernetes() {
    let labels = BTreeMap::from([("app".to_owned(), "sheriff".to_owned())]);
    let cases = [
        (json!({}), true),
        (json!({ "matchLabels": { "app": "sheriff" } }), true),
        (
            json!({ "matchLabels": { "app": "sheriff", "tier": "x" } }),
            false,
        ),
        (
            json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["a", "sheriff"] }] }),
            true,
        ),
        (
            json!({ "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["a"] }] }),
            false,
        ),
        (
            json!({ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["sheriff"] }] }),
            false,
        ),
        (
            json!({ "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["a"] }] }),
            true,
        ),
        (
            json!({ "matchExpressions": [{ "key": "app", "operator": "Exists" }] }),
            true,
        ),
        (
            json!({ "matchExpressions": [{ "key": "tier", "operator": "Exists" }] }),
            false,
        ),
        (
            json!({ "matchExpressions": [{ "key": "app", "operator": "DoesNotExist" }] }),
            false,
        ),
        (
            json!({ "matchExpressions": [{ "key": "tier", "operator": "DoesNotExist" }] }),
            true,
        ),
        (
            json!({ "matchExpressions": [{ "key": "app", "operator": "Like", "values": ["sheriff"] }] }),
            false,
        ),
    ];
    for (selector, expected) in cases {
        let parsed: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
        assert_eq!(labels_match(&parsed, &labels), expected, "{selector}");
    }
}

#[test]
fn ownership_follows_the_table() {
    use CopyState::{Absent, Labelled, Unlabelled};
    use Owner::{Consumer, Provider};
    for (provider, consumer, expected) in [
        (Labelled(Provider), Absent, Some(Provider)),
        (Labelled(Provider), Unlabelled, Some(Provider)),
        (Labelled(Provider), Labelled(Consumer), Some(Provider)),
        (Labelled(Consumer), Absent, Some(Consumer)),
        (Labelled(Consumer), Unlabelled, Some(Consumer)),
        (Labelled(Consumer), Labelled(Provider), Some(Consumer)),
        (Unlabelled, Absent, Some(Provider)),
        (Unlabelled, Labelled(Provider), Some(Provider)),
        (Unlabelled, Labelled(Consumer), Some(Consumer)),
        (Absent, Labelled(Provider), Some(Provider)),
        (Absent, Labelled(Consumer), Some(Consumer)),
        (Absent, Unlabelled, Some(Consumer)),
        (Unlabelled, Unlabelled, None),
        (Absent, Absent, None),
    ] {
        assert_eq!(
            owner(provider, consumer),
            expected,
            "{provider:?} {consumer:?}"
        );
    }
}

#[test]
fn the_owner_label_has_two_values() {
    let labelled =
        |value: &str| BTreeMap::from([("kube-bind.io/owner".to_owned(), value.to_owned())]);
    assert_eq!(
        CopyState::of(Some(&labelled("provider"))),
        CopyState::Labelled(Owner::Provider)
    );
    assert_eq!(
        CopyState::of(Some(&labelled(Owner::Consumer.label()))),
        CopyState::Labelled(Owner::Consumer)
    );
    assert_eq!(
        CopyState::of(Some(&labelled("somebody"))),
        CopyState::Unlabelled
    );
    assert_eq!(CopyState::of(None), CopyState::Absent);
}

#[test]
fn credentials_of_a_cluster_never_cross() {
    let (secrets, configmaps, accounts) = ("secrets", "configmaps", "serviceaccounts");
    let token = Some("kubernetes.io/service-account-token");
    for (plural, secret_type, namespace, name, expected) in [
        (secrets, Some("Opaque"), "shop", "badge", true),
        (configmaps, None, "shop", "settings", true),
        (secrets, Some("kubernetes.io/tls"), "default", "cert", true),
        (secrets, token, "shop", "token", false),
        (
            secrets,
            Some("bootstrap.kubernetes.io/token"),
            "shop",
            "token",
            false,
        ),
        (secrets, Some("Opaque"), "kube-system", "badge", false),
        (configmaps, None, "kube-public", "cluster-info", false),
        (secrets, Some("Opaque"), "kube-bind", "kubeconfig-x", false),
        (configmaps, None, "shop", "kube-root-ca.crt", false),
        (accounts, None, "shop", "default", false),
        (accounts, None, "shop", "robot", true),
        (configmaps, None, "shop", "default", true),
    ] {
        let object = ObjectRef {
            namespace,
            name,
            labels: None,
        };
        assert_eq!(
            may_cross(plural, secret_type, object),
            expected,
            "{secret_type:?} {plural} {namespace}/{name}"
        );
    }
}

#[test]
fn the_credential_of_a_provider_never_crosses_to_another() {
    let labels = BTreeMap::from([(
        "kube-bind.io/provider-kubeconfig".to_owned(),
        "true".to_owned(),
    )]);
    let object = ObjectRef {
        namespace: "shop",
        name: "kubeconfig",
        labels: Some(&labels),
    };
    assert!(!may_cross("secrets", Some("Opaque"), object));
}

#[test]
fn a_claim_is_limited_to_names_only_if_nothing_else_can_select() {
    let named = |names: &[&str]| Selector {
        named_resources: names
            .iter()
            .map(|name| NamedResource {
                name: (*name).to_owned(),
                namespace: String::new(),
            })
            .collect(),
        ..Selector::default()
    };
    let names = |selector: &Selector| -> Option<Vec<String>> {
        let only = names_only(selector)?;
        Some(only.iter().map(|named| named.name.clone()).collect())
    };
    assert_eq!(names(&Selector::default()), Some(vec![]));
    assert_eq!(
        names(&named(&["b", "a", "b"])),
        Some(vec!["a".into(), "b".into()])
    );
    let labelled = Selector {
        label_selector: Some(LabelSelector::default()),
        ..named(&["a"])
    };
    assert_eq!(names(&labelled), None);
    let referring = Selector {
        references: vec![reference("spec.name", "")],
        ..named(&["a"])
    };
    assert_eq!(names(&referring), None);
    let many: Vec<String> = (0..=MAX_NAMES).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(names(&named(&many)), None, "each name is a watch");
}
