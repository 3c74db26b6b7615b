//! Holds the generated CRDs against a fixture that was written by hand from the contract, in both
//! directions: what the fixture has and we do not fails, and so does what we have and it does not.

use std::collections::{BTreeMap, BTreeSet};

use kube_bind_crds::manifests;
use serde_json::{Map, Value, json};

/// Path of a field to everything that its schema says.
type Fields = BTreeMap<String, Value>;

fn fixture() -> Value {
    serde_saphyr::from_str(include_str!("fixtures/contract.yaml")).expect("the fixture is YAML")
}

fn generated(kind: &str) -> Value {
    manifests::all()
        .into_iter()
        .find(|crd| crd["spec"]["names"]["kind"] == kind)
        .unwrap_or_else(|| panic!("{kind} is not generated"))
}

#[test]
fn the_kinds_are_those_of_the_contract() {
    let fixture = fixture();
    let expected: BTreeSet<&String> = fixture["kinds"].as_object().unwrap().keys().collect();
    let generated = manifests::all();
    let actual: BTreeSet<&str> = generated
        .iter()
        .map(|crd| crd["spec"]["names"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        expected,
        actual
            .iter()
            .map(|kind| (*kind).to_owned())
            .collect::<BTreeSet<String>>()
            .iter()
            .collect()
    );
    assert_eq!(generated.len(), 11);
}

#[test]
fn names_scope_versions_and_columns_are_those_of_the_contract() {
    for (kind, expected) in fixture()["kinds"].as_object().unwrap() {
        let plural = expected["plural"].as_str().unwrap();
        let mut names = json!({
            "kind": kind,
            "plural": plural,
            "singular": kind.to_lowercase(),
            "listKind": format!("{kind}List"),
            "categories": expected["categories"],
        });
        if let Some(short) = expected.get("shortNames") {
            names["shortNames"] = short.clone();
        }
        let versions: Vec<Value> = ["v1alpha1", "v1alpha2"]
            .into_iter()
            .filter(|version| expected.get(*version).is_some())
            .map(|version| {
                json!({
                    "name": version,
                    "served": true,
                    "storage": version == "v1alpha2",
                    "subresources": { "status": {} },
                    "additionalPrinterColumns": expected["columns"],
                    "schema": {},
                })
            })
            .collect();
        let mut actual = generated(kind);
        for version in actual["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"]
                .as_object_mut()
                .unwrap()
                .remove("openAPIV3Schema")
                .unwrap();
        }
        assert_eq!(
            actual,
            json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": { "name": format!("{plural}.kube-bind.io") },
                "spec": {
                    "group": "kube-bind.io",
                    "names": names,
                    "scope": expected["scope"],
                    "conversion": { "strategy": "None" },
                    "versions": versions,
                },
            }),
            "{kind}"
        );
    }
}

#[test]
fn every_field_is_that_of_the_contract() {
    let fixture = fixture();
    let mut differences = Vec::new();
    for (kind, expected) in fixture["kinds"].as_object().unwrap() {
        let crd = generated(kind);
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let name = version["name"].as_str().unwrap();
            let mut wanted = Fields::new();
            expand(&fixture["shared"], &expected[name], "", &mut wanted);
            let mut actual = Fields::new();
            flatten(
                &version["schema"]["openAPIV3Schema"],
                ".",
                false,
                &mut actual,
            );
            let paths: BTreeSet<&String> = wanted.keys().chain(actual.keys()).collect();
            for path in paths {
                if wanted.get(path) != actual.get(path) {
                    differences.push(format!(
                        "{kind} {name} {path}: contract {}, ours {}",
                        shown(wanted.get(path)),
                        shown(actual.get(path)),
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[test]
fn every_schema_says_what_it_is_for() {
    fn check(schema: &Value, path: &str) {
        let described = schema["description"].as_str().unwrap_or_default();
        assert!(!described.is_empty(), "{path} has no description");
        assert!(!described.contains("Auto-generated"), "{path}: {described}");
        assert!(!described.contains('\n'), "{path}: {described}");
        for (name, child) in schema["properties"].as_object().into_iter().flatten() {
            check(child, &format!("{path}.{name}"));
        }
        if let Some(items) = schema
            .get("items")
            .filter(|items| items["type"] == "object")
        {
            check(items, &format!("{path}[]"));
        }
    }
    for crd in manifests::all() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            check(&version["schema"]["openAPIV3Schema"], &kind);
        }
    }
}

fn shown(fields: Option<&Value>) -> String {
    fields.map_or_else(|| "has none".to_owned(), ToString::to_string)
}

/// The fixture's notation as fields.
fn expand(shared: &Value, fields: &Value, prefix: &str, out: &mut Fields) {
    for (path, attributes) in fields.as_object().expect("fields of a type in the fixture") {
        if path == "include" {
            include(shared, attributes, prefix, out);
            continue;
        }
        let full = format!("{prefix}{path}");
        let mut attributes: Map<String, Value> = attributes
            .as_object()
            .expect("attributes of a field in the fixture")
            .clone();
        if let Some(included) = attributes.remove("include") {
            include(shared, &included, &format!("{full}."), out);
        }
        if attributes.remove("immutable").is_some() {
            attributes.insert("rules".to_owned(), json!(["self == oldSelf"]));
        }
        sort_enum(&mut attributes);
        let before = out.insert(full.clone(), Value::Object(attributes));
        assert!(before.is_none(), "{full} is in the fixture twice");
    }
}

fn include(shared: &Value, name: &Value, prefix: &str, out: &mut Fields) {
    let name = name.as_str().expect("name of a shared type");
    expand(shared, &shared[name], prefix, out);
}

/// A schema as fields: all its keywords except descriptions, so that no keyword goes unnoticed.
fn flatten(schema: &Value, path: &str, required: bool, out: &mut Fields) {
    let mut attributes = schema.as_object().expect("a schema is an object").clone();
    attributes.remove("description");
    let child = |name: &str| {
        if path == "." {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    let needed: Vec<Value> = match attributes.remove("required") {
        Some(Value::Array(needed)) => needed,
        _ => Vec::new(),
    };
    if let Some(Value::Object(properties)) = attributes.remove("properties") {
        for name in &needed {
            assert!(
                properties.contains_key(name.as_str().expect("names are strings")),
                "{path} requires {name}"
            );
        }
        for (name, property) in &properties {
            flatten(property, &child(name), needed.contains(&json!(name)), out);
        }
    }
    if let Some(items) = attributes.remove("items") {
        flatten(&items, &format!("{path}[]"), false, out);
    }
    if let Some(values) = attributes.remove("additionalProperties") {
        flatten(&values, &format!("{path}{{}}"), false, out);
    }
    if let Some(Value::Array(rules)) = attributes.remove("x-kubernetes-validations") {
        let rules: Vec<&Value> = rules.iter().map(|rule| &rule["rule"]).collect();
        attributes.insert("rules".to_owned(), json!(rules));
    }
    if required {
        attributes.insert("required".to_owned(), json!(true));
    }
    sort_enum(&mut attributes);
    out.insert(path.to_owned(), Value::Object(attributes));
}

/// The order of an enum means nothing.
fn sort_enum(attributes: &mut Map<String, Value>) {
    if let Some(values) = attributes.get_mut("enum").and_then(Value::as_array_mut) {
        values.sort_by_key(ToString::to_string);
    }
}
