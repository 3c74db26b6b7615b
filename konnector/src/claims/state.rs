//! What both sides have of one claimed kind, without bodies. No IO.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio::time::Instant;

use super::copy::Copy;
use super::plan::Conflict;
use super::rules::Scope;
use crate::sync::Key;

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Keys have consumer namespaces.
    Consumer,
    /// Keys have service namespaces.
    Provider,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Consumer => Self::Provider,
            Self::Provider => Self::Consumer,
        }
    }
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

    /// Forgets what a complete list of that part did not name; returns those keys.
    pub fn retain_listed(
        &mut self,
        is_part: impl Fn(&Key) -> bool,
        listed: &HashSet<Key>,
    ) -> Vec<Key> {
        let gone: Vec<Key> = self
            .iter()
            .map(|(key, _)| key)
            .filter(|key| is_part(key) && !listed.contains(key))
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
    /// Objects in the scopes of the claims.
    pub consumer: Copies,
    /// Objects in the service namespaces.
    pub provider: Copies,
    /// Scopes on the consumer whose list is complete.
    pub consumer_listed: BTreeSet<Scope>,
    /// Service namespaces whose list is complete.
    pub provider_listed: BTreeSet<String>,
    /// Scopes that the consumer does not let us watch, and why.
    pub denied: BTreeMap<Scope, String>,
    /// What is not synced, by key on the consumer, and whom that concerns.
    pub conflicts: HashMap<Key, (Conflict, BTreeSet<String>)>,
    /// Further bindings that claim what is synced for another one.
    pub shared: HashMap<Key, BTreeSet<String>>,
    /// Copies that were held because their sources vanished, since the last release.
    pub held: usize,
    /// Sources whose deletion was seen; a source that is missing otherwise has vanished.
    pub deleted: HashSet<Key>,
    /// Copies that were put right since their sources changed last.
    pub contested: HashMap<Key, Contest>,
}

/// How often a copy was put right.
#[derive(Debug)]
pub struct Contest {
    /// Version of the source.
    pub version: String,
    /// How often.
    pub times: u32,
    /// Since when.
    pub since: Instant,
}

impl State {
    /// Whether it is known what the consumer has of a name.
    pub fn knows(&self, key: &Key) -> bool {
        let (namespace, name) = (Some(key.namespace.clone()), Some(key.name.clone()));
        [
            (None, None),
            (namespace.clone(), None),
            (None, name.clone()),
            (namespace, name),
        ]
        .into_iter()
        .any(|(namespace, name)| self.consumer_listed.contains(&Scope { namespace, name }))
    }

    /// Objects of a side.
    pub fn side(&mut self, side: Side) -> &mut Copies {
        match side {
            Side::Consumer => &mut self.consumer,
            Side::Provider => &mut self.provider,
        }
    }
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
        let gone = copies.retain_listed(|key| key.namespace == "a", &HashSet::new());
        assert_eq!(gone, [Key::new("a", "x")]);
        assert_eq!(copies.iter().count(), 1);
    }

    #[test]
    fn a_name_is_known_by_any_watch_that_sees_it() {
        let mut state = State::default();
        let (seen, other) = (Key::new("shop", "tls"), Key::new("team", "key"));
        for (namespace, name) in [
            (None, None),
            (Some("shop"), None),
            (None, Some("tls")),
            (Some("shop"), Some("tls")),
        ] {
            let scope = Scope {
                namespace: namespace.map(str::to_owned),
                name: name.map(str::to_owned),
            };
            state.consumer_listed = [scope.clone()].into();
            assert!(state.knows(&seen), "{scope:?}");
            assert_eq!(state.knows(&other), scope == Scope::default());
        }
    }
}
