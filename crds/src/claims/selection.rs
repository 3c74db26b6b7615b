//! Which objects a claim selects (contract section 5.9). Pure: referring objects come in as a function.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{labels_match, reference_allowed, referenced};
use crate::api::{GroupResource, Isolation, NamedResource, Selector, SelectorReference};

/// What selection looks at, with the namespace on the consumer.
#[derive(Clone, Copy, Debug)]
pub struct ObjectRef<'a> {
    /// Namespace on the consumer.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Labels, if there are any.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// Most names for which each gets a watch of its own.
pub const MAX_NAMES: usize = 32;

/// The only objects that a selector can ever select: each is read by its name, without a right to read
/// others. `None` when the whole scope has to be read, because of a label selector, of references, or of
/// too many names.
pub fn names_only(selector: &Selector) -> Option<BTreeSet<&NamedResource>> {
    let Selector {
        label_selector,
        named_resources,
        references,
    } = selector;
    let names: BTreeSet<&NamedResource> = named_resources.iter().collect();
    (label_selector.is_none() && references.is_empty() && names.len() <= MAX_NAMES).then_some(names)
}

/// Whether an object is named.
pub fn is_named(named: &[NamedResource], namespace: &str, name: &str) -> bool {
    named.iter().any(|named| {
        named.name == name && (named.namespace.is_empty() || named.namespace == namespace)
    })
}

/// Whether the object is claimed. The parts of a selector are ORed and an empty one selects nothing.
/// `referrers` gives the consumer's objects that a reference looks at; it is not asked for kinds that
/// a reference may not look at. References go through the functions that an engine with an index of
/// referring objects is made of: [`reference_allowed`], [`referenced`] and [`Referenced::matches`](super::Referenced::matches).
pub fn selects(
    selector: &Selector,
    object: ObjectRef<'_>,
    referrers: &dyn Fn(&SelectorReference) -> Vec<Value>,
    isolation: Isolation,
    exported: &[GroupResource],
) -> bool {
    let Selector {
        label_selector,
        named_resources,
        references,
    } = selector;
    let no_labels = BTreeMap::new();
    let by_label = label_selector
        .as_ref()
        .is_some_and(|selector| labels_match(selector, object.labels.unwrap_or(&no_labels)));
    by_label
        || is_named(named_resources, object.namespace, object.name)
        || references
            .iter()
            .filter(|reference| reference_allowed(reference, isolation, exported))
            .any(|reference| {
                referrers(reference).iter().any(|referrer| {
                    referenced(reference, referrer, isolation)
                        .iter()
                        .any(|found| found.matches(object.namespace, object.name))
                })
            })
}
