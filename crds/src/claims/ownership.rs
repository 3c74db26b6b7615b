//! Who owns a claimed object, and so in which direction it is copied (contract section 5.9). Pure.

use std::collections::BTreeMap;

use crate::names::{LABEL_OWNER, OWNER_CONSUMER, OWNER_PROVIDER};

/// The side whose copy is the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The provider's copy is the source.
    Provider,
    /// The consumer's copy is the source.
    Consumer,
}

impl Owner {
    /// Value of the owner label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Provider => OWNER_PROVIDER,
            Self::Consumer => OWNER_CONSUMER,
        }
    }

    /// The owner that the labels of an object name.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        match labels.get(LABEL_OWNER).map(String::as_str) {
            Some(OWNER_PROVIDER) => Some(Self::Provider),
            Some(OWNER_CONSUMER) => Some(Self::Consumer),
            _ => None,
        }
    }
}

/// What is known of one of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyState {
    /// There is none.
    Absent,
    /// There is one, without owner label or with one that means nothing.
    Unlabelled,
    /// There is one that names its owner.
    Labelled(Owner),
}

impl CopyState {
    /// The state of a copy with those labels; `None` for a copy that is not there.
    pub fn of(labels: Option<&BTreeMap<String, String>>) -> Self {
        match labels.map(Owner::from_labels) {
            None => Self::Absent,
            Some(None) => Self::Unlabelled,
            Some(Some(owner)) => Self::Labelled(owner),
        }
    }
}

/// The owner, or `None` when nothing may happen: two copies that both existed before anybody synced
/// them, or no copy at all. The provider's label wins, because only the provider side is out of the
/// reach of the consumer's users.
pub fn owner(provider: CopyState, consumer: CopyState) -> Option<Owner> {
    use CopyState::{Absent, Labelled, Unlabelled};
    match (provider, consumer) {
        (Labelled(owner), _) | (Unlabelled | Absent, Labelled(owner)) => Some(owner),
        (Unlabelled, Absent) => Some(Owner::Provider),
        (Absent, Unlabelled) => Some(Owner::Consumer),
        (Unlabelled, Unlabelled) | (Absent, Absent) => None,
    }
}
