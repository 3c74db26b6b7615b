//! Which objects a claim selects (contract section 5.9). Pure: referring objects come in as a function.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{labels_match, reference_allowed, referenced};
use crate::api::{GroupResource, Isolation, Selector, SelectorReference};

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
        || named_resources.iter().any(|named| {
            named.name == object.name
                && (named.namespace.is_empty() || named.namespace == object.namespace)
        })
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
