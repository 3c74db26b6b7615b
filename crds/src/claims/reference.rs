//! References from exported objects to claimed ones, by gjson paths (contract section 5.9). Pure.
//!
//! The paths come from the provider and the objects from the consumer. The path library works on
//! text and trusts it, so it is fed only with what `serde_json` wrote, and with paths of limited length and cost.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cost::Budget;
use crate::api::{GroupResource, Isolation, SelectorReference};

/// Longest path that is looked at; longer ones refer to nothing.
pub const MAX_PATH: usize = 256;
/// Most references of one claim: each is looked for in every object of its kind.
pub const MAX_REFERENCES: usize = 32;

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

/// A whole object that may refer to others. All references are looked for in the same one, because what
/// may be spent on it is limited.
pub struct Referrer<'a> {
    object: &'a Value,
    json: String,
    budget: Budget,
}

impl<'a> Referrer<'a> {
    /// This object.
    pub fn new(object: &'a Value) -> Self {
        Self {
            object,
            json: object.to_string(),
            budget: Budget::new(),
        }
    }

    /// All objects that it refers to. They can be kept as an index instead of it.
    pub fn referenced(
        &self,
        reference: &SelectorReference,
        isolation: Isolation,
    ) -> Vec<Referenced> {
        let path = &reference.json_path;
        let Some(Some(names)) = self.values_at(&path.name) else {
            return Vec::new();
        };
        let Some(namespaces) = self.namespace_rule(&path.namespace, isolation) else {
            return Vec::new();
        };
        let referenced = names.into_iter().map(|name| Referenced {
            name,
            namespaces: namespaces.clone(),
        });
        referenced.collect()
    }

    /// `None` if the path is not worth evaluating: it must not come to mean all namespaces.
    fn namespace_rule(&self, path: &str, isolation: Isolation) -> Option<NamespaceRule> {
        if !path.is_empty() {
            let found = self.values_at(path)?;
            return Some(found.map_or(NamespaceRule::Any, NamespaceRule::OneOf));
        }
        let own = self.object.pointer("/metadata/namespace");
        Some(match isolation {
            Isolation::Namespaced => {
                let own = own.and_then(Value::as_str).map(str::to_owned);
                NamespaceRule::OneOf(own.into_iter().collect())
            }
            Isolation::Prefixed | Isolation::None => NamespaceRule::Any,
        })
    }

    /// The value or the values at a path, trimmed, without empty ones; `Some(None)` when the path leads
    /// nowhere, `None` when it is not worth evaluating.
    fn values_at(&self, path: &str) -> Option<Option<BTreeSet<String>>> {
        if path.is_empty() || path.len() > MAX_PATH || !self.budget.affords(path, &self.json) {
            return None;
        }
        let found = gjson::get(&self.json, path);
        if !found.exists() {
            return Some(None);
        }
        let texts = match found.kind() {
            gjson::Kind::Array => found
                .array()
                .iter()
                .map(|value| value.str().trim().to_owned())
                .collect(),
            _ => vec![found.str().trim().to_owned()],
        };
        let texts = texts.into_iter().filter(|text| !text.is_empty());
        Some(Some(texts.collect()))
    }
}
