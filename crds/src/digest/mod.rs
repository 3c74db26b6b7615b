//! Digests by which the sync engine decides whether two copies of an object agree. Pure.
//!
//! `applied` is the digest of an apply configuration; `owned` is the same digest over the fields
//! that one field manager owns on a live object. They are equal when applying that configuration
//! again would change nothing. Both use one canonical form made with the kind's schema: sets and
//! associative lists by key and not by position, empty ones dropped, numbers normalised, an owned
//! empty map as presence only.

mod canonical;
mod fields;
mod prune;
mod record;
mod schema;
mod shrink;
mod text;
mod write;

pub use fields::FieldSet;
pub use schema::Schema;
pub use text::to_apply;

use serde_json::Value;

/// A digest. Equal content gives equal digests on any machine and in any version of this crate
/// that is running at the same time; nothing stores them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u64);

/// Digest of a whole value, such as a status; the order of keys and the spelling of numbers do not
/// matter. An absent value and `null` are the same.
pub fn whole(value: Option<&Value>) -> Digest {
    match value {
        None | Some(Value::Null) => Digest::default(),
        Some(value) => hash(&canonical::atomic(value)),
    }
}

/// Digest of some text.
pub fn text(parts: &[&str]) -> Digest {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    Digest(xxhash_rust::xxh3::xxh3_64(&bytes))
}

fn hash(canonical: &Value) -> Digest {
    let mut bytes = Vec::with_capacity(512);
    write::canonical(canonical, &mut bytes);
    Digest(xxhash_rust::xxh3::xxh3_64(&bytes))
}

impl Schema {
    /// Digest of an apply configuration; names, uid and version in its metadata do not count.
    pub fn applied(&self, configuration: &Value) -> Digest {
        hash(&self.canonical_applied(configuration))
    }

    /// The same digest over the owned fields of a live object.
    pub fn owned(&self, body: &Value, owned: &FieldSet) -> Digest {
        hash(&self.canonical_owned(body, owned))
    }
}

#[cfg(test)]
mod tests;
