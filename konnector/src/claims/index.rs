//! What bound objects refer to: names only, never bodies. No IO.

use std::collections::{BTreeSet, HashMap, HashSet};

use kube_bind_crds::api::GroupResource;
use kube_bind_crds::claims::Referenced;

use crate::sync::ObjectRef;

/// A bound kind of one binding: where references come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Name of the binding.
    pub binding: String,
    /// The bound kind.
    pub resource: GroupResource,
}

/// What one object refers to.
#[derive(Debug)]
struct Referrer {
    object: ObjectRef,
    references: Vec<Referenced>,
    /// Which run of the engine saw it last.
    run: u64,
}

/// The references of all bindings with a claim on one kind.
#[derive(Debug, Default)]
pub struct Index {
    referrers: HashMap<Origin, HashMap<crate::sync::Key, Referrer>>,
    /// Referring objects by the names that they refer to.
    by_name: HashMap<String, HashSet<(Origin, crate::sync::Key)>>,
    /// Origins whose objects have all been seen once, and those that are still being listed.
    heard: HashMap<Origin, bool>,
}

impl Index {
    /// References from this origin are expected; until all its objects have been seen nothing
    /// counts as unclaimed.
    pub fn expect(&mut self, origin: Origin) {
        self.heard.insert(origin, false);
    }

    /// Whether this origin is known.
    pub fn expects(&self, origin: &Origin) -> bool {
        self.heard.contains_key(origin)
    }

    /// All objects of this origin have been seen; those that an earlier run saw and this one did
    /// not are gone. Returns the names that they referred to.
    pub fn heard(&mut self, origin: &Origin, run: u64) -> BTreeSet<String> {
        if let Some(heard) = self.heard.get_mut(origin) {
            *heard = true;
        }
        let gone: Vec<_> = self
            .referrers
            .get(origin)
            .into_iter()
            .flatten()
            .filter(|(_, referrer)| referrer.run != run)
            .map(|(key, _)| key.clone())
            .collect();
        gone.iter()
            .flat_map(|key| self.remove(origin, key))
            .collect()
    }

    /// This origin has no objects of ours, so nothing refers by it. Returns the names that were referred
    /// to; `None` if that was known already, or if nothing is expected from it.
    pub fn silence(&mut self, origin: &Origin) -> Option<BTreeSet<String>> {
        let was_heard = std::mem::replace(self.heard.get_mut(origin)?, true);
        let referrers = self.referrers.get(origin);
        let gone: Vec<_> = referrers
            .into_iter()
            .flatten()
            .map(|(k, _)| k.clone())
            .collect();
        if was_heard && gone.is_empty() {
            return None;
        }
        let names = gone.iter().flat_map(|key| self.remove(origin, key));
        Some(names.collect())
    }

    /// Bindings of which it is not known yet what their objects refer to.
    pub fn unheard(&self) -> BTreeSet<&str> {
        let unheard = self.heard.iter().filter(|(_, heard)| !**heard);
        unheard.map(|(origin, _)| &*origin.binding).collect()
    }

    /// Sets what an object refers to and returns the names that this concerns.
    pub fn set(
        &mut self,
        origin: &Origin,
        object: ObjectRef,
        references: Vec<Referenced>,
        run: u64,
    ) -> BTreeSet<String> {
        let key = object.key.clone();
        let known = self
            .referrers
            .get_mut(origin)
            .and_then(|all| all.get_mut(&key));
        if let Some(known) = known
            && known.references == references
        {
            known.run = run;
            known.object = object;
            return BTreeSet::new();
        }
        let mut concerned = self.remove(origin, &key);
        if references.is_empty() {
            return concerned;
        }
        for reference in &references {
            concerned.insert(reference.name.clone());
            self.by_name
                .entry(reference.name.clone())
                .or_default()
                .insert((origin.clone(), key.clone()));
        }
        let referrer = Referrer {
            object,
            references,
            run,
        };
        self.referrers
            .entry(origin.clone())
            .or_default()
            .insert(key, referrer);
        concerned
    }

    /// Forgets an object and returns the names that it referred to.
    pub fn remove(&mut self, origin: &Origin, key: &crate::sync::Key) -> BTreeSet<String> {
        let Some(gone) = self
            .referrers
            .get_mut(origin)
            .and_then(|all| all.remove(key))
        else {
            return BTreeSet::new();
        };
        let names: BTreeSet<String> = gone.references.into_iter().map(|r| r.name).collect();
        for name in &names {
            if let Some(users) = self.by_name.get_mut(name) {
                users.remove(&(origin.clone(), key.clone()));
                if users.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
        names
    }

    /// Forgets everything of a binding.
    pub fn forget(&mut self, binding: &str) {
        self.heard.retain(|origin, _| origin.binding != binding);
        let origins: Vec<_> = self
            .referrers
            .keys()
            .filter(|origin| origin.binding == binding)
            .cloned()
            .collect();
        for origin in origins {
            let keys: Vec<_> = self.referrers[&origin].keys().cloned().collect();
            for key in keys {
                self.remove(&origin, &key);
            }
            self.referrers.remove(&origin);
        }
    }

    /// Whether all origins have been heard.
    pub fn complete(&self) -> bool {
        self.heard.values().all(|heard| *heard)
    }

    /// The objects that refer to a consumer object, with their bindings.
    pub fn referrers(&self, namespace: &str, name: &str) -> Vec<(&str, &ObjectRef)> {
        let mut found: Vec<_> = self
            .by_name
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|(origin, key)| {
                let referrer = self.referrers.get(origin)?.get(key)?;
                referrer
                    .references
                    .iter()
                    .any(|reference| reference.matches(namespace, name))
                    .then_some((origin.binding.as_str(), &referrer.object))
            })
            .collect();
        found.sort_by(|a, b| (a.0, &a.1.key).cmp(&(b.0, &b.1.key)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Key;
    use kube_bind_crds::claims::NamespaceRule;

    fn origin(binding: &str) -> Origin {
        Origin {
            binding: binding.into(),
            resource: GroupResource {
                group: "cert-manager.io".into(),
                resource: "certificates".into(),
            },
        }
    }

    fn object(name: &str) -> ObjectRef {
        ObjectRef {
            api_version: "cert-manager.io/v1".into(),
            kind: "Certificate".into(),
            key: Key::new("team-a", name),
            uid: format!("uid-{name}"),
        }
    }

    fn to(name: &str) -> Vec<Referenced> {
        vec![Referenced {
            name: name.into(),
            namespaces: NamespaceRule::Any,
        }]
    }

    #[test]
    fn a_reference_counts_until_it_changes() {
        let mut index = Index::default();
        let certificates = origin("certificates");
        index.expect(certificates.clone());
        assert_eq!(
            index.set(&certificates, object("web"), to("tls"), 1),
            ["tls".into()].into()
        );
        assert_eq!(index.referrers("any", "tls").len(), 1);
        assert!(
            index
                .set(&certificates, object("web"), to("tls"), 1)
                .is_empty()
        );
        let changed = index.set(&certificates, object("web"), to("other"), 1);
        assert_eq!(changed, ["other".into(), "tls".into()].into());
        assert!(index.referrers("any", "tls").is_empty());
    }

    #[test]
    fn two_referrers_keep_a_claim_until_both_are_gone() {
        let mut index = Index::default();
        let certificates = origin("certificates");
        index.set(&certificates, object("a"), to("tls"), 1);
        index.set(&certificates, object("b"), to("tls"), 1);
        index.remove(&certificates, &Key::new("team-a", "a"));
        assert_eq!(index.referrers("x", "tls").len(), 1);
        index.remove(&certificates, &Key::new("team-a", "b"));
        assert!(index.referrers("x", "tls").is_empty());
        assert!(index.by_name.is_empty());
    }

    #[test]
    fn it_is_complete_only_when_every_origin_was_heard() {
        let mut index = Index::default();
        index.expect(origin("a"));
        index.expect(origin("b"));
        index.heard(&origin("a"), 1);
        assert!(!index.complete());
        index.heard(&origin("b"), 1);
        assert!(index.complete());
    }

    #[test]
    fn a_kind_that_never_starts_keeps_nobody_waiting() {
        let mut index = Index::default();
        index.expect(origin("started"));
        index.expect(origin("foreign"));
        index.heard(&origin("started"), 1);
        assert_eq!(index.unheard(), ["foreign"].into());
        assert_eq!(index.silence(&origin("foreign")), Some(BTreeSet::new()));
        assert!(index.complete() && index.unheard().is_empty());
        assert_eq!(index.silence(&origin("foreign")), None, "that is no news");
        index.set(&origin("foreign"), object("web"), to("tls"), 1);
        let names = index.silence(&origin("foreign"));
        assert_eq!(names, Some(["tls".into()].into()));
        assert!(index.referrers("any", "tls").is_empty());
        assert_eq!(index.silence(&origin("unknown")), None);
    }

    #[test]
    fn what_a_new_run_does_not_see_is_gone() {
        let mut index = Index::default();
        index.expect(origin("a"));
        index.set(&origin("a"), object("kept"), to("one"), 1);
        index.set(&origin("a"), object("lost"), to("two"), 1);
        index.set(&origin("a"), object("kept"), to("one"), 2);
        assert_eq!(index.heard(&origin("a"), 2), ["two".into()].into());
        assert!(index.referrers("n", "two").is_empty());
        assert_eq!(index.referrers("n", "one").len(), 1);
    }

    #[test]
    fn forgetting_a_binding_leaves_the_others() {
        let mut index = Index::default();
        index.expect(origin("a"));
        index.expect(origin("b"));
        index.set(&origin("a"), object("x"), to("tls"), 1);
        index.set(&origin("b"), object("y"), to("tls"), 1);
        index.forget("a");
        assert!(!index.expects(&origin("a")) && index.expects(&origin("b")));
        assert_eq!(index.referrers("n", "tls")[0].0, "b");
    }

    #[test]
    fn the_namespace_rule_decides() {
        let mut index = Index::default();
        let only = vec![Referenced {
            name: "tls".into(),
            namespaces: NamespaceRule::OneOf(["team-a".into()].into()),
        }];
        index.set(&origin("a"), object("x"), only, 1);
        assert_eq!(index.referrers("team-a", "tls").len(), 1);
        assert!(index.referrers("team-b", "tls").is_empty());
    }
}
