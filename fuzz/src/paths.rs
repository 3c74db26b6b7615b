//! The paths of claims: from the provider, into objects from the consumer.

use kube_bind_crds::api::{GroupResource, Isolation, ReferencePath, SelectorReference};
use kube_bind_crds::claims::{NamespaceRule, Referrer};
use serde_json::{Value, json};

use crate::document::{recipe, text};

/// What paths are made of.
const PIECES: &[&str] = &[
    "spec",
    "name",
    "items",
    "a",
    ".",
    "|",
    "#",
    "#.",
    "*",
    "?",
    "\\",
    "@",
    "@this",
    "@reverse",
    "@ugly",
    "@pretty",
    "@flatten",
    "@join",
    "@valid",
    "@keys",
    ":",
    "(",
    ")",
    "#(",
    ")#",
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "%",
    "!%",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    "~true",
    "~false",
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "true",
    "null",
    "..",
    "!",
    "é",
    "\u{1F600}",
];

/// Looks for references in an object at a path. The input is the path, then a line with another one
/// for the namespace, then the object (or nothing for the usual one).
pub fn paths(input: &[u8]) {
    let cooked = recipe(input).map(|recipe| text(recipe, PIECES));
    let Some(document) = cooked
        .as_deref()
        .or_else(|| std::str::from_utf8(input).ok())
    else {
        return;
    };
    let mut parts = document.splitn(3, '\n');
    let name = parts.next().unwrap_or_default().to_owned();
    let namespace = parts.next().unwrap_or_default().to_owned();
    let given = parts
        .next()
        .and_then(|text| serde_json::from_str(text).ok());
    let referrer: Value = given.unwrap_or_else(usual);
    let reference = SelectorReference {
        group_resource: GroupResource {
            group: "example.org".to_owned(),
            resource: "sheriffs".to_owned(),
        },
        versions: Vec::new(),
        json_path: ReferencePath { name, namespace },
    };
    let size = referrer.to_string().len();
    for isolation in [Isolation::None, Isolation::Prefixed, Isolation::Namespaced] {
        let found = Referrer::new(&referrer).referenced(&reference, isolation);
        let mut total = 0;
        for one in &found {
            assert!(!one.name.is_empty() && one.name.trim() == one.name);
            total += one.name.len();
            if let NamespaceRule::OneOf(namespaces) = &one.namespaces {
                assert!(namespaces.iter().all(|ns| ns.trim() == ns));
                assert!(
                    namespaces.iter().any(|ns| one.matches(ns, &one.name)) || namespaces.is_empty()
                );
            }
        }
        // A path can repeat parts of an object, but not blow it up.
        assert!(total <= size * 300 + 1000, "{total} bytes of {size}");
    }
}

fn usual() -> Value {
    json!({
        "metadata": {"name": "woody", "namespace": "town"},
        "spec": {
            "name": " badge ",
            "a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab": 1,
            "items": [{"name": "one", "a": 1}, {"name": "zwei é", "a": [[1, 2], [3, [4]]]}, {"name": null}, "three"],
            "é\"\\": {"0": {"1": -1.5e300, "true": false}},
        },
    })
}
