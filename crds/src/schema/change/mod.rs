//! Whether a changed schema could make objects invalid that exist, and which of them it does. Pure.
//!
//! [`breaking_changes`] compares two CRDs without any object; what it says nothing about is safe for all
//! objects. Where it says something, [`Judge`] asks a single object.

mod compare;
mod violations;

pub use violations::Judge;

use serde_json::Value;

/// Findings that are told; more help nobody.
const MOST: usize = 20;
/// Schemas and objects nested deeper are not followed.
const DEEPEST: usize = 64;

/// A version that becomes narrower.
#[derive(Clone, Debug, PartialEq)]
pub struct Narrowed {
    /// The version in which existing objects can be read now.
    pub version: String,
    /// The schema that they will have to satisfy.
    pub schema: Value,
    /// What becomes narrower: which field, and how.
    pub changes: Vec<String>,
}

/// What a changed CRD would break.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breaking {
    /// Impossible while the CRD exists, whatever objects there are.
    pub impossible: Vec<String>,
    /// Depends on the objects.
    pub narrowed: Vec<Narrowed>,
}

/// Compares the `spec` of an installed CRD with the one that is to replace it. `stored` are the versions
/// in which objects may be stored.
pub fn breaking_changes(old: &Value, new: &Value, stored: &[String]) -> Breaking {
    let mut found = Breaking::default();
    for (what, pointer) in [("scope", "/scope"), ("kind", "/names/kind")] {
        let (old, new) = (old.pointer(pointer), new.pointer(pointer));
        if old != new {
            let text = |value: Option<&Value>| {
                let text = value.and_then(Value::as_str);
                text.unwrap_or_default().to_owned()
            };
            let (old, new) = (text(old), text(new));
            found
                .impossible
                .push(format!("the {what} changes from {old} to {new}"));
        }
    }
    for version in stored {
        if version_of(new, version).is_none() {
            found.impossible.push(format!(
                "version {version} goes, in which objects may be stored"
            ));
        }
    }
    let storage = versions(new).find(|version| version["storage"] == true);
    for version in versions(old).filter(|version| version["served"] == true) {
        let name = version["name"].as_str().unwrap_or_default();
        let same = version_of(new, name).filter(|version| version["served"] == true);
        let Some((before, after)) = schema_of(version).zip(same.or(storage).and_then(schema_of))
        else {
            continue;
        };
        let changes = compare::narrower(before, after);
        if !changes.is_empty() {
            found.narrowed.push(Narrowed {
                version: name.to_owned(),
                schema: after.clone(),
                changes,
            });
        }
    }
    found
}

fn versions(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["versions"].as_array().into_iter().flatten()
}

fn version_of<'a>(spec: &'a Value, name: &str) -> Option<&'a Value> {
    versions(spec).find(|version| version["name"] == name)
}

fn schema_of(version: &Value) -> Option<&Value> {
    version.pointer("/schema/openAPIV3Schema")
}

/// `spec.size` from `spec` and `size`.
fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Fields that every object has, whatever its schema says.
fn is_of_every_object(path: &str, key: &str) -> bool {
    path.is_empty() && matches!(key, "apiVersion" | "kind" | "metadata")
}

/// Bounds, each with how a greater one reads.
const UPPER: [(&str, &str); 4] = [
    ("maximum", "value"),
    ("maxLength", "length"),
    ("maxItems", "number of items"),
    ("maxProperties", "number of fields"),
];
const LOWER: [(&str, &str); 4] = [
    ("minimum", "value"),
    ("minLength", "length"),
    ("minItems", "number of items"),
    ("minProperties", "number of fields"),
];

#[cfg(test)]
mod tests;
