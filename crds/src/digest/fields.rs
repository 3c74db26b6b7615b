//! `managedFields`: which fields a manager owns.

use std::collections::BTreeMap;

use serde_json::Value;

use super::canonical::atomic;
use super::write::line;

/// The operation of server-side apply in `managedFields`.
const APPLY: &str = "Apply";

/// A set of owned fields, as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// The value at this place is owned itself, or as presence when it merges.
    pub(super) member: bool,
    /// By path element: `f:name`, `k:` or `v:` with the canonical key, `i:` with the position.
    pub(super) children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// Parses a `fieldsV1` value.
    pub fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        let Some(map) = fields.as_object() else {
            return set;
        };
        for (element, inner) in map {
            if element == "." {
                set.member = true;
                continue;
            }
            let mut child = Self::parse(inner);
            // An element with nothing inside is owned itself.
            child.member |= child.children.is_empty();
            set.children.insert(normalise(element), child);
        }
        set
    }

    /// What this manager owns on the main resource by apply; empty when it owns nothing.
    pub fn applied_by(body: &Value, manager: &str) -> Self {
        let mut set = Self::default();
        for entry in entries(body) {
            if entry["operation"] == APPLY
                && entry["manager"] == manager
                && entry["subresource"].as_str().is_none_or(str::is_empty)
            {
                set.merge(Self::parse(&entry["fieldsV1"]));
            }
        }
        set
    }

    /// What everybody owns except this manager's apply.
    pub fn of_others(body: &Value, manager: &str) -> Self {
        let mut set = Self::default();
        for entry in entries(body) {
            let ours = entry["operation"] == APPLY
                && entry["manager"] == manager
                && entry["subresource"].as_str().is_none_or(str::is_empty);
            if !ours {
                set.merge(Self::parse(&entry["fieldsV1"]));
            }
        }
        set
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: Self) {
        self.member |= other.member;
        for (element, child) in other.children {
            self.children.entry(element).or_default().merge(child);
        }
    }

    /// Whether nothing is owned.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    pub(super) fn child(&self, element: &str) -> Option<&Self> {
        self.children.get(element)
    }

    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.child(&format!("f:{name}"))
    }
}

fn entries(body: &Value) -> impl Iterator<Item = &Value> {
    body["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
}

/// Keys and values are JSON inside of a string, written by someone else's encoder.
fn normalise(element: &str) -> String {
    let Some((kind @ ("k" | "v"), text)) = element.split_once(':') else {
        return element.to_owned();
    };
    match serde_json::from_str::<Value>(text) {
        Ok(value) => format!("{kind}:{}", line(&atomic(&value))),
        Err(_) => element.to_owned(),
    }
}
