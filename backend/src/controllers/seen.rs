//! Turns watch events into the keys of objects to reconcile. Pure bookkeeping: an event that changed
//! nothing of interest is dropped, and a deletion wakes whoever cared about the object.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

type Key = (Option<String>, String);

/// What is known of the watched objects.
pub struct Seen<T> {
    known: HashMap<Key, (u64, Vec<T>)>,
    listed: HashSet<Key>,
    pending: Vec<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            listed: HashSet::new(),
            pending: Vec::new(),
        }
    }
}

impl<T: Clone + PartialEq> Seen<T> {
    /// Takes one event and returns whom it concerns.
    pub fn observe<K: Resource>(
        &mut self,
        event: &Event<K>,
        fingerprint: impl Fn(&K) -> u64,
        targets: impl Fn(&K) -> Vec<T>,
    ) -> Vec<T> {
        match event {
            Event::Apply(object) => self.changed(object, &fingerprint, &targets),
            // A store shows a new list only when it is complete, so nobody is woken before.
            Event::InitApply(object) => {
                self.listed.insert(key(object));
                let concerned = self.changed(object, &fingerprint, &targets);
                self.pending.extend(concerned);
                Vec::new()
            }
            Event::Delete(object) => {
                let mut concerned = targets(object);
                if let Some((_, former)) = self.known.remove(&key(object)) {
                    merge(&mut concerned, former);
                }
                concerned
            }
            Event::Init => {
                self.listed.clear();
                self.pending.clear();
                Vec::new()
            }
            // What a new list does not have was deleted while nobody watched.
            Event::InitDone => {
                let mut concerned = std::mem::take(&mut self.pending);
                let listed = std::mem::take(&mut self.listed);
                self.known.retain(|key, (_, targets)| {
                    let kept = listed.contains(key);
                    if !kept {
                        merge(&mut concerned, std::mem::take(targets));
                    }
                    kept
                });
                concerned
            }
        }
    }

    fn changed<K: Resource>(
        &mut self,
        object: &K,
        fingerprint: &impl Fn(&K) -> u64,
        targets: &impl Fn(&K) -> Vec<T>,
    ) -> Vec<T> {
        let (print, mut concerned) = (fingerprint(object), targets(object));
        match self.known.insert(key(object), (print, concerned.clone())) {
            Some((former, _)) if former == print => Vec::new(),
            Some((_, former)) => {
                merge(&mut concerned, former);
                concerned
            }
            None => concerned,
        }
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (
        object.meta().namespace.clone(),
        object.meta().name.clone().unwrap_or_default(),
    )
}

fn merge<T: PartialEq>(into: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !into.contains(&item) {
            into.push(item);
        }
    }
}

/// Fingerprint of all that people and controllers change in an object but its status: uid, generation,
/// labels, annotations, owners, finalizers, deletion.
pub fn without_status<K: Resource>(object: &K) -> u64 {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    meta.uid.hash(&mut hasher);
    meta.generation.hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    object.labels().hash(&mut hasher);
    object.annotations().hash(&mut hasher);
    object.finalizers().hash(&mut hasher);
    for owner in object.owner_references() {
        (&owner.uid, owner.controller).hash(&mut hasher);
    }
    hasher.finish()
}

/// Fingerprint of everything.
pub fn everything<K: Resource>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    (object.uid(), object.resource_version()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn object(name: &str, generation: i64, version: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                generation: Some(generation),
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn observe(seen: &mut Seen<String>, event: &Event<ConfigMap>) -> Vec<String> {
        seen.observe(event, without_status, |object| {
            vec![format!("for-{}", object.name_any())]
        })
    }

    #[test]
    fn an_event_that_changed_only_the_status_concerns_nobody() {
        let mut seen = Seen::default();
        assert_eq!(
            observe(&mut seen, &Event::Apply(object("a", 1, "5"))),
            ["for-a"]
        );
        assert!(observe(&mut seen, &Event::Apply(object("a", 1, "6"))).is_empty());
        assert_eq!(
            observe(&mut seen, &Event::Apply(object("a", 2, "7"))),
            ["for-a"]
        );
    }

    #[test]
    fn a_deletion_concerns_the_targets_even_if_nothing_else_changed() {
        let mut seen = Seen::default();
        observe(&mut seen, &Event::Apply(object("a", 1, "5")));
        assert_eq!(
            observe(&mut seen, &Event::Delete(object("a", 1, "6"))),
            ["for-a"]
        );
    }

    #[test]
    fn what_a_new_list_lacks_was_deleted() {
        let mut seen = Seen::default();
        observe(&mut seen, &Event::Apply(object("a", 1, "5")));
        observe(&mut seen, &Event::Apply(object("b", 1, "6")));
        observe(&mut seen, &Event::Init);
        assert!(observe(&mut seen, &Event::InitApply(object("b", 1, "6"))).is_empty());
        assert_eq!(observe(&mut seen, &Event::InitDone), ["for-a"]);
    }

    #[test]
    fn a_list_wakes_nobody_before_it_is_complete() {
        let mut seen = Seen::default();
        observe(&mut seen, &Event::Init);
        assert!(observe(&mut seen, &Event::InitApply(object("a", 1, "5"))).is_empty());
        assert_eq!(observe(&mut seen, &Event::InitDone), ["for-a"]);
    }
}
