//! What the engine remembers of an object: no body, some tens of bytes per side. Pure.

use std::fmt;

use kube_bind_crds::digest::Digest;

/// A uid. Kept as a number, because the text of a UUID takes four times the memory.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Uid {
    /// A UUID in its usual form. In halves: a whole one would have to lie at every sixteenth byte.
    Uuid([u64; 2]),
    /// Anything else that a server calls a uid.
    Text(Box<str>),
}

impl Uid {
    pub(super) fn parse(text: &str) -> Self {
        uuid(text).map_or_else(|| Self::Text(text.into()), Self::from)
    }
}

/// The number of a UUID whose text comes out the same again: lower case, with hyphens (RFC 9562, section 4).
fn uuid(text: &str) -> Option<u128> {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    if text.len() != 36 {
        return None;
    }
    text.bytes().enumerate().try_fold(0, |uuid, (at, byte)| {
        if HYPHENS.contains(&at) {
            return (byte == b'-').then_some(uuid);
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(uuid << 4 | u128::from(digit))
    })
}

impl From<u128> for Uid {
    fn from(uuid: u128) -> Self {
        Self::Uuid([(uuid >> 64) as u64, uuid as u64])
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid([high, low]) => write!(
                f,
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xffff,
                low >> 48,
                low & 0xffff_ffff_ffff
            ),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A resource version, comparable within one resource of one API server. A server whose versions
/// are not numbers gives 0 throughout: then whatever comes last counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u64);

impl Version {
    pub(super) fn parse(text: &str) -> Self {
        Self(text.parse().unwrap_or_default())
    }
}

/// A consumer object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consumer {
    pub(super) uid: Uid,
    pub(super) version: Version,
    /// Digest of the configuration that we would apply on the provider.
    pub(super) configuration: Digest,
    /// Digest of its status.
    pub(super) status: Digest,
    pub(super) terminating: bool,
    /// Whether it carries our finalizer.
    pub(super) finalizer: bool,
    /// The finalizers of others, which a release leaves as they are.
    pub(super) other_finalizers: Box<[Box<str>]>,
    /// Digest of the annotations that lead to the provider copy.
    pub(super) link: Digest,
    /// Digest of the annotation that tells its problem.
    pub(super) problem: Digest,
    /// Only its metadata is known: the digests of its content are of when it could be read last.
    pub(super) unreadable: bool,
}

/// Whose a provider object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Made for the consumer object with this uid, in our cluster namespace.
    Ours(Uid),
    /// No markers, or those of another consumer.
    Foreign,
}

/// A provider copy, or what is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) uid: Uid,
    pub(super) version: Version,
    /// Digest of the fields that we own.
    pub(super) owned: Digest,
    /// Digest of its status.
    pub(super) status: Digest,
    pub(super) terminating: bool,
    pub(super) owner: Owner,
    /// Not written as we write now, and to be taken over before it is changed: see `adopt`.
    pub(super) adopt: bool,
    /// Only its metadata is known: the digests of its content are of when it could be read last.
    pub(super) unreadable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_come_out_as_they_went_in() {
        for text in [
            "0b6e1f0a-0000-4c1d-9a3e-00000000000f",
            "not-a-uuid",
            "",
            "0B6E1F0A-0000-4C1D-9A3E-00000000000F",
            "0b6e1f0a00004c1d9a3e00000000000f",
            "0b6e1f0a-0000-4c1d-9a3e+00000000000f",
            "0b6e1f0a-0000-4c1d-9a3e-0000000000-f",
            "fffffffe-ffff-ffff-ffff-ffffffffffff",
        ] {
            assert_eq!(Uid::parse(text).to_string(), text);
        }
        assert!(matches!(
            Uid::parse("0b6e1f0a-0000-4c1d-9a3e-00000000000f"),
            Uid::Uuid(_)
        ));
    }
}
