//! What both sides have of one claimed kind, without bodies. No IO.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::copy::Copy;
use crate::sync::Key;

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Keys have consumer namespaces.
    Consumer,
    /// Keys have service namespaces.
    Provider,
}

/// Copies of one side, sorted by name first, because references name names.
#[derive(Debug, Default)]
pub struct Copies {
    by_name: BTreeMap<(String, String), Copy>,
}

impl Copies {
    /// The copy of that key.
    pub fn get(&self, key: &Key) -> Option<&Copy> {
        self.by_name.get(&(key.name.clone(), key.namespace.clone()))
    }

    /// Files a copy unless a newer one is known.
    pub fn file(&mut self, key: &Key, copy: Copy) {
        let slot = (key.name.clone(), key.namespace.clone());
        match self.by_name.get(&slot) {
            Some(known) if known.uid == copy.uid && copy.is_older_than(known) => {}
            _ => {
                self.by_name.insert(slot, copy);
            }
        }
    }

    /// Forgets a copy; a newer object of the same name stays.
    pub fn remove(&mut self, key: &Key, uid: &str) -> Option<Copy> {
        let slot = (key.name.clone(), key.namespace.clone());
        let same = self
            .by_name
            .get(&slot)
            .is_some_and(|known| known.uid == uid);
        same.then(|| self.by_name.remove(&slot)).flatten()
    }

    /// Keys of that name.
    pub fn named(&self, name: &str) -> Vec<Key> {
        self.by_name
            .range((name.to_owned(), String::new())..)
            .take_while(|((found, _), _)| found == name)
            .map(|((name, namespace), _)| Key::new(namespace, name))
            .collect()
    }

    /// All copies.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Copy)> {
        self.by_name
            .iter()
            .map(|((name, namespace), copy)| (Key::new(namespace, name), copy))
    }

    /// Forgets what a complete list of a namespace (or of all) did not name; returns those keys.
    pub fn retain_listed(&mut self, namespace: Option<&str>, listed: &HashSet<Key>) -> Vec<Key> {
        let gone: Vec<Key> = self
            .iter()
            .map(|(key, _)| key)
            .filter(|key| namespace.is_none_or(|namespace| key.namespace == namespace))
            .filter(|key| !listed.contains(key))
            .collect();
        for key in &gone {
            self.by_name
                .remove(&(key.name.clone(), key.namespace.clone()));
        }
        gone
    }
}

/// Both sides.
#[derive(Debug, Default)]
pub struct State {
    /// Copies with the owner label on the consumer.
    pub consumer: Copies,
    /// Objects in the service namespaces.
    pub provider: Copies,
    /// The consumer's first list is complete.
    pub consumer_listed: bool,
    /// Service namespaces whose first list is complete.
    pub provider_listed: BTreeSet<String>,
    /// Keys with an object in the way, reported once.
    pub conflicts: HashSet<Key>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(uid: &str, version: &str) -> Copy {
        Copy {
            uid: uid.into(),
            resource_version: version.into(),
            ..Copy::default()
        }
    }

    #[test]
    fn old_events_change_nothing() {
        let mut copies = Copies::default();
        let key = Key::new("team-a", "tls");
        copies.file(&key, copy("1", "10"));
        copies.file(&key, copy("1", "9"));
        assert_eq!(copies.get(&key).unwrap().resource_version, "10");
        assert_eq!(copies.remove(&key, "another"), None);
        copies.file(&key, copy("2", "3"));
        assert_eq!(copies.get(&key).unwrap().uid, "2");
    }

    #[test]
    fn names_are_found_in_all_namespaces_and_no_others() {
        let mut copies = Copies::default();
        for (namespace, name) in [("a", "tls"), ("b", "tls"), ("a", "tls2"), ("a", "t")] {
            copies.file(&Key::new(namespace, name), copy("1", "1"));
        }
        assert_eq!(
            copies.named("tls"),
            [Key::new("a", "tls"), Key::new("b", "tls")]
        );
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_about_others() {
        let mut copies = Copies::default();
        copies.file(&Key::new("a", "x"), copy("1", "1"));
        copies.file(&Key::new("b", "y"), copy("1", "1"));
        let gone = copies.retain_listed(Some("a"), &HashSet::new());
        assert_eq!(gone, [Key::new("a", "x")]);
        assert_eq!(copies.iter().count(), 1);
    }
}
