//! What a claim made and cannot select any more: names that it does not name now, namespaces that it was
//! limited away from. No watch on the consumer sees it, and the rights may be gone too, so it is looked up
//! by itself when it is to be taken back. The objects of the provider, which are all seen, lead to it, and what
//! `recall` finds. IO: reads of metadata.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube_bind_crds::claims::Owner;
use kube_bind_runtime::apply;

use super::ClaimsEngine;
use super::copy::Copy;
use super::look::{Seen, claimants};
use super::plan::Conflict;
use super::rules::Rules;
use super::state::{Side, State};
use crate::fault;
use crate::sync::{Key, Namespaces};

impl ClaimsEngine {
    /// What is known of a key on the consumer, looked up where no watch tells.
    pub(super) async fn see(&self, key: &Key) -> Result<Seen, kube::Error> {
        if !self.must_look_up(key) {
            return Ok(Seen::Watched);
        }
        let resource = self.api_resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.ctx.client.clone(), &key.namespace, &resource);
        match apply::timed(api.get_metadata_opt(&key.name)).await {
            Ok(found) => {
                self.state().hidden.remove(key);
                Ok(Seen::Apart(found.map(|found| self.without_body(found))))
            }
            // What must not be seen is not ours to tidy up; the provider's half is.
            Err(error) if fault::code(&error) == Some(403) => {
                self.hide(key, &error).await;
                Ok(Seen::Apart(None))
            }
            Err(error) => Err(error),
        }
    }

    /// Nothing is left to do about a key that was looked up, as long as the claims are what they are. Says
    /// when to look again if something is left there.
    pub(super) fn clear(&self, key: &Key, found: Option<&Copy>) -> Option<Duration> {
        self.acquit(key, found);
        let again = {
            let state = self.state();
            // Nobody tells when it is gone, or may be read.
            let is_hidden = state.hidden.contains(key);
            let may_change = is_hidden || found.is_some_and(|copy| copy.terminating);
            (may_change && state.suspects.contains_key(key)).then(|| self.backoff.next(key))
        };
        if again.is_none() {
            self.state().cleared.insert(key.clone());
        }
        self.tell_waiting();
        again
    }

    /// Nothing can be said or done about a key for now; about one that nothing leads to, never again.
    pub(super) fn give_up(&self, key: &Key, seen: &Seen) {
        match seen {
            // In a namespace without a counterpart nothing of the provider decides what is left here.
            Seen::Apart(found) => self.acquit(key, found.as_deref()),
            Seen::Watched if self.is_nowhere(key) => self.solved(key),
            Seen::Watched => {}
        }
    }

    /// Nobody waits any more for a key that was looked up, if the consumer has nothing of ours there.
    fn acquit(&self, key: &Key, found: Option<&Copy>) {
        if !self.makers(found, None).is_empty() || self.state().hidden.contains(key) {
            return;
        }
        let suspect = self.state().suspects.remove(key);
        if let Some(binding) = suspect {
            self.ctx.wake.binding(binding);
        }
        self.solved(key);
        self.tell_waiting();
    }

    /// Whether no watch on the consumer sees a key and the provider has nothing there.
    fn is_nowhere(&self, key: &Key) -> bool {
        let namespace = self.provider.namespaces.to_provider(&key.namespace);
        let (rules, state) = (self.rules(), self.state());
        let there = namespace.and_then(|n| state.provider.get(&Key::new(n, &key.name)));
        there.is_none()
            && !state.suspects.contains_key(key)
            && !state.knows(key)
            && !rules.cover(key)
    }

    /// Says once that it may not be read what the consumer has of a key.
    async fn hide(&self, key: &Key, error: &kube::Error) {
        let concerned: BTreeSet<String> = {
            let mut state = self.state();
            if !state.hidden.insert(key.clone()) {
                return;
            }
            let namespace = self.provider.namespaces.to_provider(&key.namespace);
            let copy = namespace.and_then(|n| state.provider.get(&Key::new(n, &key.name)));
            let makers = self.makers(None, copy).into_iter().map(str::to_owned);
            makers.chain(state.suspects.get(key).cloned()).collect()
        };
        self.report_hidden(key, &concerned, error).await;
    }

    /// Keys of objects that carry the marks of a binding and that nobody else claims, and of those that
    /// may and have not been looked up yet. A binding that leaves everything where it is does not wait for
    /// what goes anyway, nor for what an API server does not let us unmark.
    pub(super) fn marked_for(&self, binding: &str) -> BTreeSet<Key> {
        let suspects = self.suspected_of(binding);
        let (rules, index) = (self.rules(), self.index());
        let last = self.unheard_claims(&rules);
        let state = self.state();
        let leaves = rules.is_orphaning(binding);
        let counts = |copy: &&Copy| !(leaves && copy.terminating);
        let is_kept = |key: &Key| {
            let conflict = state.conflicts.get(key);
            leaves && conflict.is_some_and(|(why, _)| matches!(why, Conflict::Kept(_)))
        };
        let consumer = state
            .consumer
            .iter()
            .map(|(key, copy)| (key, Some(copy), None));
        let provider = state.provider.iter().filter_map(|(key, copy)| {
            Some((self.consumer_key(Side::Provider, &key)?, None, Some(copy)))
        });
        let suspects = suspects.into_iter().filter(|key| !is_kept(key));
        let marked = consumer
            .chain(provider)
            .filter(|(key, consumer, provider)| {
                let sources: Vec<&Copy> = consumer.iter().chain(provider).copied().collect();
                let makers = self.makers(consumer.filter(counts), provider.filter(counts));
                let is_marked = makers.contains(&binding)
                    && !is_kept(key)
                    && claimants(&rules, &index, key, &sources).is_empty()
                    && !self.stays(&rules, &last, &state, key, &sources);
                is_marked || provider.is_some_and(|copy| self.may_hide(&rules, &state, key, copy))
            })
            .map(|(key, ..)| key);
        marked.chain(suspects).collect()
    }

    fn must_look_up(&self, key: &Key) -> bool {
        let namespace = self.provider.namespaces.to_provider(&key.namespace);
        let (rules, state) = (self.rules(), self.state());
        let suspect = state.suspects.get(key);
        if suspect.is_some_and(|binding| !rules.leaves_alone(binding, &key.namespace)) {
            return is_unseen(&rules, &state, key);
        }
        let Some(namespace) = namespace else {
            return false;
        };
        let Some(copy) = state.provider.get(&Key::new(namespace, &key.name)) else {
            return false;
        };
        let is_to_go = |maker: &str| {
            !rules.leaves_alone(maker, &key.namespace)
                && self.is_accounted_for(&rules, maker)
                && is_unseen(&rules, &state, key)
        };
        self.makers(None, Some(copy)).into_iter().any(is_to_go)
            || self.may_hide(&rules, &state, key, copy)
    }

    /// Whether the consumer may have a copy of an object of the provider where no watch sees it. That the
    /// provider's was claimed once its label says, but not for whom.
    fn may_hide(&self, rules: &Rules, state: &State, key: &Key, copy: &Copy) -> bool {
        copy.owner == Some(Owner::Provider) && is_unseen(rules, state, key)
    }

    fn without_body(&self, found: PartialObjectMeta<DynamicObject>) -> Box<Copy> {
        let labels = found.metadata.labels.clone().unwrap_or_default();
        let object = DynamicObject {
            types: None,
            metadata: found.metadata,
            data: serde_json::Value::Null,
        };
        let mut copy = Copy::of(self.kind.plural, &object);
        copy.labelled = self.labelled(&labels);
        Box::new(copy)
    }
}

fn is_unseen(rules: &Rules, state: &State, key: &Key) -> bool {
    !state.knows(key) && !state.cleared.contains(key) && !rules.cover(key)
}
