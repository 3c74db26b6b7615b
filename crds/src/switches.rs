//! The annotations by which a person steers a binding or a bundle (`docs/ANNOTATIONS.md`), each read
//! in one place. Annotations, because the original's CRDs would prune new fields. No IO.
//!
//! A value that is not known is an error and never the default: whoever mistypes `Orphan` must not
//! lose objects.

use std::collections::{BTreeMap, BTreeSet};

/// What happens to the objects when a binding is deleted: [`DeletionPolicy`].
pub const DELETION_POLICY: &str = "kube-bind.io/deletion-policy";
/// Whether new exports and claims wait for a person: [`Acceptance`].
pub const ACCEPTANCE: &str = "kube-bind.io/acceptance";
/// The [`digest`] of the offer that a person accepts, copied from the message that asks for it. Taken off
/// by the konnector once it has taken effect.
pub const ACCEPT: &str = "kube-bind.io/accept";
/// `true` stops all writes of a binding to both sides.
pub const SUSPEND: &str = "kube-bind.io/suspend";
/// `true` lets the copies go of objects that vanished all at once, for as long as it is there.
pub const RELEASE_DELETES: &str = "kube-bind.io/release-deletes";

/// Namespaces, separated by commas, outside of which the claims of a binding neither read nor write.
/// Absent: all namespaces.
pub const CLAIM_NAMESPACES: &str = "kube-bind.io/claim-namespaces";

/// Most namespaces that claims can be limited to: each costs a watch.
const MAX_CLAIM_NAMESPACES: usize = 100;

/// A value that means nothing; shown in a condition, and nothing happens until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key} has the value {value:?}, allowed are {allowed}")]
pub struct Invalid {
    /// The annotation.
    pub key: &'static str,
    /// Its value, shortened.
    pub value: String,
    /// What it may say.
    pub allowed: &'static str,
}

/// Annotations as `ObjectMeta` has them.
pub type Annotations = BTreeMap<String, String>;

/// What happens to the objects when a binding is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Provider copies, consumer objects and CRDs are gone when the binding is gone.
    #[default]
    Delete,
    /// Objects and CRDs stay on both sides, without our finalizers, markers and owner references.
    Orphan,
}

/// Whether exports and claims that appear after the binding take effect by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceptance {
    /// They do, as with the original.
    #[default]
    Automatic,
    /// They wait until [`ACCEPT`] names their digest.
    Manual,
}

/// The deletion policy of a binding.
///
/// # Errors
/// A value other than `Delete` and `Orphan`.
pub fn deletion_policy(annotations: &Annotations) -> Result<DeletionPolicy, Invalid> {
    match value(annotations, DELETION_POLICY) {
        None | Some("Delete") => Ok(DeletionPolicy::Delete),
        Some("Orphan") => Ok(DeletionPolicy::Orphan),
        Some(other) => Err(invalid(DELETION_POLICY, other, "Delete and Orphan")),
    }
}

/// Whether what is new waits for a person.
///
/// # Errors
/// A value other than `Automatic` and `Manual`.
pub fn acceptance(annotations: &Annotations) -> Result<Acceptance, Invalid> {
    match value(annotations, ACCEPTANCE) {
        None | Some("Automatic") => Ok(Acceptance::Automatic),
        Some("Manual") => Ok(Acceptance::Manual),
        Some(other) => Err(invalid(ACCEPTANCE, other, "Automatic and Manual")),
    }
}

/// Whether all writes stop.
///
/// # Errors
/// A value other than `true` and `false`.
pub fn suspended(annotations: &Annotations) -> Result<bool, Invalid> {
    truth(annotations, SUSPEND)
}

/// Whether held deletions go on.
///
/// # Errors
/// A value other than `true` and `false`.
pub fn releases_deletes(annotations: &Annotations) -> Result<bool, Invalid> {
    truth(annotations, RELEASE_DELETES)
}

/// The namespaces that the claims of a binding are limited to; `None` for no limit.
///
/// # Errors
/// A list that is empty, too long, or names what cannot be a namespace.
pub fn claim_namespaces(annotations: &Annotations) -> Result<Option<BTreeSet<String>>, Invalid> {
    value(annotations, CLAIM_NAMESPACES)
        .map(parse_claim_namespaces)
        .transpose()
}

/// Reads a list of namespaces as [`CLAIM_NAMESPACES`] holds it.
///
/// # Errors
/// A list that is empty, too long, or names what cannot be a namespace.
pub fn parse_claim_namespaces(text: &str) -> Result<BTreeSet<String>, Invalid> {
    let names: BTreeSet<String> = text.split(',').map(|n| n.trim().to_owned()).collect();
    let is_name = |name: &String| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-')
    };
    if names.len() <= MAX_CLAIM_NAMESPACES && names.iter().all(is_name) {
        return Ok(names);
    }
    let allowed = "at most 100 names of namespaces, separated by commas";
    Err(invalid(CLAIM_NAMESPACES, text, allowed))
}

/// Whether a person accepted the offer with this digest.
pub fn accepts(annotations: &Annotations, digest: &str) -> bool {
    value(annotations, ACCEPT).is_some_and(|accepted| accepted == digest)
}

/// Names an offer: who accepts it accepts exactly what was shown, not what it has become since.
/// The order of the parts does not matter.
pub fn digest<I: AsRef<str>>(parts: impl IntoIterator<Item = I>) -> String {
    use sha2::{Digest as _, Sha256};
    let mut parts: Vec<String> = parts.into_iter().map(|p| p.as_ref().to_owned()).collect();
    parts.sort_unstable();
    parts.dedup();
    let mut hash = Sha256::new();
    for part in &parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut name = crate::hex::encode(&hash.finalize());
    name.truncate(12);
    name
}

fn truth(annotations: &Annotations, key: &'static str) -> Result<bool, Invalid> {
    match value(annotations, key) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(invalid(key, other, "true and false")),
    }
}

fn value<'a>(annotations: &'a Annotations, key: &str) -> Option<&'a str> {
    annotations.get(key).map(|value| value.trim())
}

fn invalid(key: &'static str, value: &str, allowed: &'static str) -> Invalid {
    let value = value.chars().take(40).collect();
    Invalid {
        key,
        value,
        allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Annotations {
        Annotations::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn each_switch_has_a_default_and_knows_its_values() {
        let none = Annotations::new();
        assert_eq!(deletion_policy(&none), Ok(DeletionPolicy::Delete));
        assert_eq!(acceptance(&none), Ok(Acceptance::Automatic));
        assert_eq!(suspended(&none), Ok(false));
        assert_eq!(releases_deletes(&none), Ok(false));
        let orphan = with(DELETION_POLICY, " Orphan\n");
        assert_eq!(deletion_policy(&orphan), Ok(DeletionPolicy::Orphan));
        assert_eq!(
            acceptance(&with(ACCEPTANCE, "Manual")),
            Ok(Acceptance::Manual)
        );
        assert_eq!(suspended(&with(SUSPEND, "true")), Ok(true));
        assert_eq!(releases_deletes(&with(RELEASE_DELETES, "false")), Ok(false));
    }

    #[test]
    fn a_mistyped_value_is_never_the_default() {
        let error = deletion_policy(&with(DELETION_POLICY, "orphan")).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"annotation kube-bind.io/deletion-policy has the value "orphan", allowed are Delete and Orphan"#
        );
        assert!(acceptance(&with(ACCEPTANCE, "")).is_err());
        assert!(suspended(&with(SUSPEND, "yes")).is_err());
    }

    #[test]
    fn claims_are_limited_to_a_list_of_namespaces() {
        assert_eq!(claim_namespaces(&Annotations::new()), Ok(None));
        let limited = claim_namespaces(&with(CLAIM_NAMESPACES, "shop, team-a,shop"));
        let expected = BTreeSet::from(["shop".to_owned(), "team-a".to_owned()]);
        assert_eq!(limited, Ok(Some(expected)));
        for wrong in ["", "shop,", "Shop", "a/b", "-a", "*"] {
            assert!(
                claim_namespaces(&with(CLAIM_NAMESPACES, wrong)).is_err(),
                "{wrong:?} must not mean all namespaces"
            );
        }
    }

    #[test]
    fn an_accepted_offer_is_exactly_the_one_that_was_shown() {
        let shown = digest(["secrets", "configmaps"]);
        assert_eq!(shown, digest(["configmaps", "secrets", "secrets"]));
        assert_ne!(shown, digest(["configmapssecrets"]));
        assert!(accepts(&with(ACCEPT, &shown), &shown));
        assert!(!accepts(&with(ACCEPT, &shown), &digest(["secrets"])));
        assert!(!accepts(&Annotations::new(), &shown));
    }
}
