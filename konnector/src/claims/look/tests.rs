//! The selection cases of contract section 10.3, one row each.

use kube_bind_crds::api::{GroupResource, Isolation, PermissionClaim};
use kube_bind_crds::claims::Referrer;
use serde_json::{Value, json};

use super::super::index::Origin;
use super::super::rules::Rule;
use super::*;

struct Case {
    rule: &'static str,
    selector: Value,
    /// Namespace, name, labels.
    object: (&'static str, &'static str, Value),
    referrers: Value,
    isolation: Isolation,
    selected: bool,
}

impl Case {
    fn new(rule: &'static str, selector: Value, selected: bool) -> Self {
        Self {
            rule,
            selector,
            object: ("wild-west", "badge", json!({ "app": "sheriff" })),
            referrers: json!([]),
            isolation: Isolation::Prefixed,
            selected,
        }
    }

    fn object(mut self, namespace: &'static str, name: &'static str, labels: Value) -> Self {
        self.object = (namespace, name, labels);
        self
    }

    fn referrers(mut self, referrers: Value) -> Self {
        self.referrers = referrers;
        self
    }

    fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }
}

fn label() -> Value {
    json!({ "labelSelector": { "matchLabels": { "app": "sheriff" } } })
}

fn named(name: &str, namespace: Option<&str>) -> Value {
    let mut entry = json!({ "name": name });
    if let Some(namespace) = namespace {
        entry["namespace"] = json!(namespace);
    }
    json!({ "namedResources": [entry] })
}

fn both(name: &str) -> Value {
    let mut selector = label();
    selector["namedResources"] = json!([{ "name": name }]);
    selector
}

fn reference(name: &str, namespace: Option<&str>) -> Value {
    let mut path = json!({ "name": name });
    if let Some(namespace) = namespace {
        path["namespace"] = json!(namespace);
    }
    json!({ "references": [{ "group": "example.org", "resource": "sheriffs", "jsonPath": path }] })
}

fn sheriff(spec: Value) -> Value {
    json!([{ "metadata": { "name": "bill", "namespace": "wild-west" }, "spec": spec }])
}

fn cases() -> Vec<Case> {
    let none = || json!({});
    let refs = || {
        sheriff(json!({ "refs": [
            { "name": "badge", "namespace": "wild-west" },
            { "name": "hat", "namespace": "saloon" },
        ] }))
    };
    let certificate = || {
        json!([{
            "apiVersion": "cert-manager.io/v1",
            "metadata": { "name": "web", "namespace": "wild-west" },
            "spec": { "secretName": "web-tls", "dnsNames": ["example.org"] },
        }])
    };
    vec![
        Case::new("an empty selector selects nothing", json!({}), false),
        Case::new("a label matches", label(), true),
        Case::new("another label does not", label(), false).object(
            "wild-west",
            "badge",
            json!({ "app": "outlaw" }),
        ),
        Case::new(
            "a name with its namespace matches",
            named("badge", Some("wild-west")),
            true,
        ),
        Case::new(
            "a name without namespace matches anywhere",
            named("badge", Some("")),
            true,
        ),
        Case::new(
            "another name does not match",
            named("hat", Some("wild-west")),
            false,
        ),
        Case::new(
            "another namespace does not match",
            named("badge", Some("saloon")),
            false,
        ),
        Case::new(
            "one name of several matches",
            json!({ "namedResources": [{ "name": "hat" }, { "name": "badge", "namespace": "wild-west" }] }),
            true,
        ),
        Case::new("an object without labels matches no label", label(), false).object(
            "wild-west",
            "badge",
            none(),
        ),
        Case::new("label and name both match", both("badge"), true),
        Case::new(
            "of label and name only the name matches",
            both("badge"),
            true,
        )
        .object("wild-west", "badge", none()),
        Case::new(
            "of label and name only the label matches",
            both("hat"),
            true,
        ),
        Case::new("a Secret with nothing but labels matches", label(), true).object(
            "saloon",
            "till",
            json!({ "app": "sheriff", "tier": "db" }),
        ),
        Case::new(
            "a reference by name matches",
            reference("spec.secret", None),
            true,
        )
        .referrers(sheriff(json!({ "secret": "badge" }))),
        Case::new(
            "a reference by name and namespace matches",
            reference("spec.secret", Some("spec.ns")),
            true,
        )
        .referrers(sheriff(json!({ "secret": "badge", "ns": "wild-west" }))),
        Case::new(
            "a reference to another name does not match",
            reference("spec.secret", None),
            false,
        )
        .referrers(sheriff(json!({ "secret": "hat" }))),
        Case::new(
            "a reference to another namespace does not match",
            reference("spec.secret", Some("spec.ns")),
            false,
        )
        .referrers(sheriff(json!({ "secret": "badge", "ns": "saloon" }))),
        Case::new(
            "a reference to several names matches each",
            reference("spec.refs.#.name", None),
            true,
        )
        .referrers(refs()),
        Case::new(
            "several names and namespaces are not paired",
            reference("spec.refs.#.name", Some("spec.refs.#.namespace")),
            true,
        )
        .object("saloon", "badge", none())
        .referrers(refs()),
        Case::new(
            "a wildcard in brackets is not a gjson path",
            reference("spec.refs[*].name", None),
            false,
        )
        .referrers(refs()),
        Case::new(
            "a reference without referring objects selects nothing",
            reference("spec.secret", None),
            false,
        ),
        Case::new(
            "a path that leads nowhere selects nothing",
            reference("spec.absent", None),
            false,
        )
        .referrers(sheriff(json!({ "secret": "badge" }))),
        Case::new(
            "the owner label alone is not the label that was asked for",
            label(),
            false,
        )
        .object(
            "wild-west",
            "badge",
            json!({ "kube-bind.io/owner": "provider" }),
        ),
        Case::new(
            "the Secret of a certificate matches",
            reference("spec.secretName", None),
            true,
        )
        .object("wild-west", "web-tls", none())
        .referrers(certificate()),
        Case::new(
            "another Secret beside a certificate does not",
            reference("spec.secretName", None),
            false,
        )
        .object("wild-west", "other-tls", none())
        .referrers(certificate()),
        Case::new(
            "without a namespace path it matches in any namespace",
            reference("spec.secretName", None),
            true,
        )
        .object("saloon", "web-tls", none())
        .referrers(certificate()),
        Case::new(
            "under isolation Namespaced the referrer's namespace counts",
            reference("spec.secretName", None),
            true,
        )
        .object("wild-west", "web-tls", none())
        .referrers(certificate())
        .isolation(Isolation::Namespaced),
        Case::new(
            "and no other one",
            reference("spec.secretName", None),
            false,
        )
        .object("saloon", "web-tls", none())
        .referrers(certificate())
        .isolation(Isolation::Namespaced),
        // Beyond the original's cases.
        Case::new(
            "an empty label selector matches everything",
            json!({ "labelSelector": {} }),
            true,
        )
        .object("saloon", "till", none()),
        Case::new(
            "a namespace path that leads nowhere matches in any namespace",
            reference("spec.secret", Some("spec.ns")),
            true,
        )
        .referrers(sheriff(json!({ "secret": "badge" })))
        .isolation(Isolation::Namespaced),
        Case::new(
            "a list without namespaces matches in none",
            reference("spec.secret", Some("spec.nss")),
            false,
        )
        .referrers(sheriff(json!({ "secret": "badge", "nss": [] }))),
    ]
}

/// Whether an object is claimed, as the engine finds out: by rules, labels and the index of references.
fn is_claimed(case: &Case) -> bool {
    let resource = json!({ "group": "", "resource": "secrets", "selector": case.selector });
    let claim: PermissionClaim = serde_json::from_value(resource).unwrap();
    let origin = Origin {
        binding: "sheriffs".into(),
        resource: GroupResource {
            group: "example.org".into(),
            resource: "sheriffs".into(),
        },
    };
    let mut rules = Rules::default();
    rules.set(&origin.binding, Rule::new(&claim, None));
    let mut index = Index::default();
    index.expect(origin.clone());
    for body in case.referrers.as_array().unwrap() {
        let referrer = Referrer::new(body);
        let references = claim.selector.references.iter();
        let found = references.flat_map(|r| referrer.referenced(r, case.isolation));
        let text = |path: &str| {
            body.pointer(path)
                .and_then(Value::as_str)
                .unwrap()
                .to_owned()
        };
        let object = ObjectRef {
            api_version: "example.org/v1".into(),
            kind: "Sheriff".into(),
            key: Key::new(text("/metadata/namespace"), text("/metadata/name")),
            uid: "u-1".into(),
        };
        index.set(&origin, object, found.collect(), 1);
    }
    let (namespace, name, labels) = &case.object;
    let labels = serde_json::from_value(labels.clone()).unwrap();
    let copy = Copy {
        labelled: rules.labelled(&labels),
        ..Copy::default()
    };
    let key = Key::new(*namespace, *name);
    let found = claimants(&rules, &index, &key, &[&copy]);
    found.contains_key("sheriffs")
}

#[test]
fn selectors_select_what_the_contract_says() {
    for case in cases() {
        assert_eq!(is_claimed(&case), case.selected, "{}", case.rule);
    }
}
