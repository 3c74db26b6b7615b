//! Which objects a claim can select (contract section 5.9). Pure. Whether it does is decided where the
//! labels and the references are known: by the konnector's engine of claims.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{NamedResource, Selector};

/// An object that may cross, with the namespace on the consumer.
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
