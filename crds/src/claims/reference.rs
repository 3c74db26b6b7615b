//! References from exported objects to claimed ones, by gjson paths (contract section 5.9). Pure.
//!
//! The paths come from the provider and the objects from the consumer. The path library works on
//! text and trusts it, so it is fed only with what `serde_json` wrote, and with paths of limited length and cost.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cost::is_affordable;
use crate::api::{GroupResource, Isolation, SelectorReference};

/// Longest path that is looked at; longer ones refer to nothing.
pub const MAX_PATH: usize = 256;

/// A claimed object that an exported object refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referenced {
    /// Its name.
    pub name: String,
    /// Where it may be.
    pub namespaces: NamespaceRule,
}

impl Referenced {
    /// Whether that object is meant.
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespaces.allows(namespace)
    }
}

/// In which consumer namespaces a referenced object may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceRule {
    /// In any.
    Any,
    /// In one of these; names and namespaces are not paired.
    OneOf(BTreeSet<String>),
}

impl NamespaceRule {
    /// Whether an object in that namespace is meant.
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(namespaces) => namespaces.contains(namespace),
        }
    }
}

/// Whether objects of the reference's kind are looked at: only exported kinds, unless the provider
/// has a single consumer.
pub fn reference_allowed(
    reference: &SelectorReference,
    isolation: Isolation,
    exported: &[GroupResource],
) -> bool {
    isolation == Isolation::None || exported.contains(&reference.group_resource)
}

/// All objects that `referrer`, a whole object, refers to. They can be kept as an index instead of
/// the referring object.
pub fn referenced(
    reference: &SelectorReference,
    referrer: &Value,
    isolation: Isolation,
) -> Vec<Referenced> {
    let json = referrer.to_string();
    let Some(names) = values_at(&json, &reference.json_path.name) else {
        return Vec::new();
    };
    let namespaces = namespace_rule(reference, referrer, &json, isolation);
    names
        .into_iter()
        .map(|name| Referenced {
            name,
            namespaces: namespaces.clone(),
        })
        .collect()
}

fn namespace_rule(
    reference: &SelectorReference,
    referrer: &Value,
    json: &str,
    isolation: Isolation,
) -> NamespaceRule {
    if !reference.json_path.namespace.is_empty() {
        return values_at(json, &reference.json_path.namespace)
            .map_or(NamespaceRule::Any, NamespaceRule::OneOf);
    }
    match isolation {
        Isolation::Namespaced => NamespaceRule::OneOf(
            referrer
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .map(str::to_owned)
                .into_iter()
                .collect(),
        ),
        Isolation::Prefixed | Isolation::None => NamespaceRule::Any,
    }
}

/// The value or the values at a path, trimmed, without empty ones; `None` when the path leads nowhere.
fn values_at(json: &str, path: &str) -> Option<BTreeSet<String>> {
    if path.is_empty() || path.len() > MAX_PATH || !is_affordable(path, json) {
        return None;
    }
    let found = gjson::get(json, path);
    if !found.exists() {
        return None;
    }
    let texts = match found.kind() {
        gjson::Kind::Array => found
            .array()
            .iter()
            .map(|value| value.str().trim().to_owned())
            .collect(),
        _ => vec![found.str().trim().to_owned()],
    };
    Some(texts.into_iter().filter(|text| !text.is_empty()).collect())
}
