//! What permission claims mean (contract section 5.9): which kinds can be claimed, which objects a
//! selector selects, who owns a claimed object, and what never crosses. Pure.

mod cost;
mod crossing;
mod labels;
mod ownership;
mod reference;
mod selection;

pub use crossing::may_cross;
pub use labels::labels_match;
pub use ownership::{CopyState, Owner, owner};
pub use reference::{
    MAX_PATH, MAX_REFERENCES, NamespaceRule, Referenced, Referrer, reference_allowed,
};
pub use selection::{MAX_NAMES, ObjectRef, is_named, names_only};

use crate::api::GroupResource;

/// A kind that can be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claimable {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version in which it is synced.
    pub version: &'static str,
    /// Plural, the name in claims.
    pub plural: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Singular, for listings.
    pub singular: &'static str,
}

/// All kinds that can be claimed; namespaced all of them.
pub const CLAIMABLE: &[Claimable] = &[
    Claimable {
        group: "",
        version: "v1",
        plural: "configmaps",
        kind: "ConfigMap",
        singular: "configmap",
    },
    Claimable {
        group: "",
        version: "v1",
        plural: "secrets",
        kind: "Secret",
        singular: "secret",
    },
    Claimable {
        group: "",
        version: "v1",
        plural: "serviceaccounts",
        kind: "ServiceAccount",
        singular: "serviceaccount",
    },
];

/// The claimable kind of that group and plural.
pub fn claimable(resource: &GroupResource) -> Option<&'static Claimable> {
    CLAIMABLE.iter().find(|claimable| {
        claimable.group == resource.group && claimable.plural == resource.resource
    })
}

/// Whether a claim on that kind is allowed at all.
pub fn is_claimable(resource: &GroupResource) -> bool {
    claimable(resource).is_some()
}

#[cfg(test)]
mod tests;
