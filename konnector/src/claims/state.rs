//! What both sides have of one claimed kind, without bodies. No IO.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio::time::Instant;

use super::copy::Copy;
use super::failing::Failing;
use super::plan::Conflict;
use super::rules::Scope;
use crate::sync::{Key, Share};

pub use crate::sync::Side;

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

    /// The newest version of a part, for [`file`](Self::file) with a list that is asked for now.
    pub fn newest(&self, is_part: impl Fn(&Key) -> bool) -> u64 {
        let part = self.iter().filter(|(key, _)| is_part(key));
        part.filter_map(|(_, copy)| copy.version())
            .max()
            .unwrap_or(0)
    }

    /// Files a copy unless a newer one is known. A list shows everything that had happened when it was
    /// asked for: what was known by then (up to this version) counts for nothing against it, even if it is
    /// newer, because then the server was restored from a backup.
    pub fn file(&mut self, key: &Key, copy: Copy, list: Option<u64>) {
        let slot = (key.name.clone(), key.namespace.clone());
        let overruled = |known: &Copy| known.version().zip(list).is_some_and(|(v, list)| v <= list);
        match self.by_name.get(&slot) {
            Some(known)
                if known.uid == copy.uid && copy.is_older_than(known) && !overruled(known) => {}
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
    /// What fails, and not only for one object.
    pub failing: Failing,
    /// What is not synced, by key on the consumer, and whom that concerns.
    pub conflicts: HashMap<Key, (Conflict, BTreeSet<String>)>,
    /// Further bindings that claim what is synced for another one.
    pub shared: HashMap<Key, BTreeSet<String>>,
    /// Copies that were held because their sources vanished, since the last release.
    pub held: usize,
    /// Sources whose deletion was seen; a source that is missing otherwise has vanished.
    pub deleted: HashSet<Key>,
    /// Keys that no watch sees, and of which the consumer has nothing of ours, as long as the claims are
    /// what they are.
    pub cleared: HashSet<Key>,
    /// Keys that no watch sees, and of which the consumer does not let us read what it has.
    pub hidden: HashSet<Key>,
    /// Keys that no watch sees, where the consumer was found to have something of ours, and for which binding.
    pub suspects: BTreeMap<Key, String>,
    /// Parts that were looked through for those, by binding, under the claims of now.
    pub recalled: BTreeSet<(String, Scope)>,
    /// Copies that were put right since their sources changed last.
    pub contested: HashMap<Key, Contest>,
    /// What the copies of bindings on the provider amount to, until something makes that unknown. Counted
    /// anew for each of many copies that go, they would all be counted as often as there are some.
    pub shares: HashMap<String, Share>,
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

    /// Whether all of these are listed, each by a watch that sees it. While it is not known which service
    /// namespaces there are, none of them can be.
    pub fn is_listed(&self, scopes: &BTreeSet<Scope>, mapped: Option<&[String]>) -> bool {
        let on_provider = |namespace: &String| self.provider_listed.contains(namespace);
        let watches = &self.consumer_listed;
        let on_consumer = |scope: &Scope| watches.iter().any(|watch| watch.includes(scope));
        scopes.iter().all(on_consumer) && mapped.is_some_and(|all| all.iter().all(on_provider))
    }

    /// Files what is there now; see [`Copies::file`].
    pub fn file(&mut self, side: Side, key: &Key, copy: Copy, list: Option<u64>) {
        let belongs = |copy: &Copy| {
            let marks = &copy.marks;
            (
                marks.consumer_binding.clone(),
                marks.cluster_namespace.clone(),
            )
        };
        let is_counted = match (side, self.side(side).get(key)) {
            (_, None) => false,
            (Side::Consumer, Some(_)) => true,
            (Side::Provider, Some(known)) => belongs(known) == belongs(&copy),
        };
        if !is_counted {
            self.shares.clear();
        }
        self.side(side).file(key, copy, list);
    }

    /// Forgets what is gone; see [`Copies::remove`].
    pub fn remove(
        &mut self,
        side: Side,
        key: &Key,
        uid: &str,
        on_consumer: Option<&Key>,
    ) -> Option<Copy> {
        let gone = self.side(side).remove(key, uid)?;
        if let Some(on_consumer) = on_consumer {
            self.cleared.remove(on_consumer);
            self.hidden.remove(on_consumer);
        }
        match on_consumer.filter(|key| side == Side::Provider && self.knows(key)) {
            Some(on_consumer) => {
                let is_there = self.consumer.get(on_consumer).is_some();
                let is_gone = self.deleted.contains(on_consumer);
                let share = gone.binding(side).and_then(|b| self.shares.get_mut(b));
                match share {
                    Some(share) if is_there => share.living = share.living.saturating_sub(1),
                    Some(share) if !is_gone => share.vanished = share.vanished.saturating_sub(1),
                    _ => {}
                }
            }
            None => self.shares.clear(),
        }
        Some(gone)
    }

    /// Forgets what a complete list did not name; see [`Copies::retain_listed`].
    pub fn retain_listed(
        &mut self,
        side: Side,
        is_part: impl Fn(&Key) -> bool,
        listed: &HashSet<Key>,
    ) {
        self.shares.clear();
        self.side(side).retain_listed(is_part, listed);
    }

    /// Forgets what matters only while one side has what the other one lacks, and what matters only while
    /// there is something at all.
    pub fn settle(&mut self, key: &Key, on_consumer: bool, on_provider: bool) {
        if on_consumer == on_provider {
            self.deleted.remove(key);
        }
        if !on_consumer && !on_provider {
            self.contested.remove(key);
        }
    }

    /// A scope can be watched; says whether that was denied before.
    pub fn is_allowed(&mut self, scope: &Scope) -> bool {
        self.denied.remove(scope).is_some()
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
        copies.file(&key, copy("1", "10"), None);
        copies.file(&key, copy("1", "9"), None);
        assert_eq!(copies.get(&key).unwrap().resource_version, "10");
        assert_eq!(copies.remove(&key, "another"), None);
        copies.file(&key, copy("2", "3"), None);
        assert_eq!(copies.get(&key).unwrap().uid, "2");
    }

    #[test]
    fn a_list_of_a_restored_server_is_the_truth() {
        let mut copies = Copies::default();
        let (key, other) = (Key::new("team-a", "tls"), Key::new("team-b", "tls"));
        copies.file(&key, copy("1", "100"), None);
        copies.file(&other, copy("2", "900"), None);
        let asked = copies.newest(|key| key.namespace == "team-a");
        assert_eq!(asked, 100);
        // Our own write after the question is not in the list.
        copies.file(&key, copy("1", "101"), None);
        copies.file(&key, copy("1", "50"), Some(asked));
        assert_eq!(copies.get(&key).unwrap().resource_version, "101");
        copies.file(&key, copy("1", "50"), Some(101));
        assert_eq!(copies.get(&key).unwrap().resource_version, "50");
        copies.file(&key, copy("1", "51"), None);
        assert_eq!(copies.get(&key).unwrap().resource_version, "51");
    }

    #[test]
    fn copies_that_go_one_by_one_are_not_all_counted_again_for_each() {
        let mut state = State {
            consumer_listed: [Scope::default()].into(),
            ..State::default()
        };
        let mut copy = copy("1", "1");
        copy.marks.consumer_binding = Some("b".into());
        let keys = |name: &str| (Key::new("tenant-shop", name), Key::new("shop", name));
        for name in ["there", "vanished"] {
            state.file(Side::Provider, &keys(name).0, copy.clone(), None);
        }
        state.file(Side::Consumer, &keys("there").1, copy.clone(), None);
        let counted = |living, vanished| Share {
            living,
            vanished,
            ..Share::default()
        };
        state.shares.insert("b".into(), counted(1, 1));
        // Marked as terminating, it still counts.
        state.file(Side::Provider, &keys("vanished").0, copy.clone(), None);
        for (name, left) in [("vanished", counted(1, 0)), ("there", counted(0, 0))] {
            let (key, on_consumer) = keys(name);
            assert!(
                state
                    .remove(Side::Provider, &key, "1", Some(&on_consumer))
                    .is_some()
            );
            assert_eq!(state.shares.get("b"), Some(&left), "{name}");
        }
        state.remove(
            Side::Consumer,
            &keys("there").1,
            "1",
            Some(&keys("there").1),
        );
        assert!(state.shares.is_empty(), "what vanishes is counted anew");
        state.shares.insert("b".into(), counted(0, 0));
        state.file(Side::Provider, &keys("new").0, copy, None);
        assert!(state.shares.is_empty());
    }

    #[tokio::test]
    async fn nothing_is_remembered_of_what_is_gone_on_both_sides() {
        let mut state = State::default();
        let key = Key::new("shop", "tls");
        let contest = Contest {
            version: "1".into(),
            times: 3,
            since: Instant::now(),
        };
        state.contested.insert(key.clone(), contest);
        state.deleted.insert(key.clone());
        state.settle(&key, false, true);
        assert!(state.deleted.contains(&key), "its copy is to go");
        state.settle(&key, true, true);
        assert!(state.deleted.is_empty() && state.contested.contains_key(&key));
        state.settle(&key, false, false);
        assert!(state.contested.is_empty());
    }

    #[test]
    fn nothing_is_listed_before_it_is_known_which_namespaces_there_are() {
        let scopes: BTreeSet<Scope> = [Scope::default()].into();
        let mut state = State {
            consumer_listed: scopes.clone(),
            ..State::default()
        };
        let mapped = ["tenant-shop".to_owned()];
        assert!(!state.is_listed(&scopes, None));
        assert!(state.is_listed(&scopes, Some(&[])));
        assert!(!state.is_listed(&scopes, Some(&mapped)));
        state.provider_listed = mapped.clone().into();
        assert!(state.is_listed(&scopes, Some(&mapped)));
        let parts = ["shop", "team"].map(|namespace| Scope {
            namespace: Some(namespace.into()),
            name: None,
        });
        assert!(state.is_listed(&parts.clone().into(), Some(&mapped)));
        state.consumer_listed = [parts[0].clone()].into();
        assert!(!state.is_listed(&parts.into(), Some(&mapped)));
    }

    #[test]
    fn a_watch_that_runs_again_is_not_denied_any_more() {
        let mut state = State::default();
        let scope = Scope::default();
        assert!(!state.is_allowed(&scope));
        state.denied.insert(scope.clone(), "no list".into());
        assert!(state.is_allowed(&scope) && state.denied.is_empty());
    }

    #[test]
    fn names_are_found_in_all_namespaces_and_no_others() {
        let mut copies = Copies::default();
        for (namespace, name) in [("a", "tls"), ("b", "tls"), ("a", "tls2"), ("a", "t")] {
            copies.file(&Key::new(namespace, name), copy("1", "1"), None);
        }
        assert_eq!(
            copies.named("tls"),
            [Key::new("a", "tls"), Key::new("b", "tls")]
        );
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_about_others() {
        let mut copies = Copies::default();
        copies.file(&Key::new("a", "x"), copy("1", "1"), None);
        copies.file(&Key::new("b", "y"), copy("1", "1"), None);
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
