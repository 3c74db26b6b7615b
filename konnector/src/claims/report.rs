//! Says what is not synced: an Event on the objects that refer to it and on the bindings that claim it,
//! once. IO: events.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;

use super::ClaimsEngine;
use super::look::Work;
use super::plan::Conflict;
use super::state::Side;
use super::write::reference_to;
use crate::context::binding_ref;
use crate::fault;
use crate::names::EVENT_CLAIM_CONFLICT;
use crate::sync::Key;

/// Objects that get an Event about one conflict at most.
const TOLD: usize = 8;

impl ClaimsEngine {
    /// A key cannot be synced before a person does something.
    pub(super) async fn conflict(&self, key: &Key, work: &Work, conflict: Conflict) {
        let concerned = match work.claimants.is_empty() {
            // Nobody claims it any more: whoever did has to let it go.
            true => BTreeSet::from([work.binding.clone()]),
            false => work.claimants.clone(),
        };
        let new = (conflict, concerned);
        {
            let mut state = self.state();
            if state.conflicts.get(key) == Some(&new) {
                return;
            }
            state.conflicts.insert(key.clone(), new.clone());
        }
        let note = self.words(key, &new.0);
        tracing::warn!(
            object.namespace = %key.namespace,
            object.name = %key.name,
            "{note}"
        );
        let mut concerned: Vec<ObjectReference> = work.referrers.iter().map(reference_to).collect();
        concerned.extend(self.bindings(&new.1));
        self.tell(concerned, &note).await;
        self.wake(&new.1);
    }

    /// What the API servers do not let go that a binding does not claim any more; one of it.
    pub fn kept(&self, binding: &str) -> Option<String> {
        let state = self.state();
        let conflicts = state.conflicts.iter();
        let kept = conflicts.filter(|(_, (conflict, bindings))| {
            matches!(conflict, Conflict::Kept(_)) && bindings.contains(binding)
        });
        // Always the same one of several, so that a condition does not change for nothing.
        let first = kept.min_by_key(|(key, _)| *key);
        first.map(|(key, (conflict, _))| self.words(key, conflict))
    }

    /// What was kept in one way may be let go in another: it is tried again for other claims.
    pub(super) fn forget_kept(&self) {
        let conflicts = &mut self.state().conflicts;
        conflicts.retain(|_, (conflict, _)| !matches!(conflict, Conflict::Kept(_)));
    }

    /// Nothing keeps a key from being synced any more.
    pub(super) fn solved(&self, key: &Key) {
        let solved = self.state().conflicts.remove(key);
        if let Some((_, bindings)) = solved {
            self.wake(&bindings);
        }
    }

    pub(super) async fn report_shared(&self, key: &Key, owner: &str, others: &BTreeSet<String>) {
        let note = format!(
            "{} {key} is claimed by binding {owner} too, for which it is synced",
            self.kind.kind
        );
        tracing::warn!(
            object.namespace = %key.namespace,
            object.name = %key.name,
            "{note}"
        );
        self.tell(self.bindings(others), &note).await;
        self.wake(others);
    }

    /// It may not be read what is left of a claim under one name.
    pub(super) async fn report_hidden(
        &self,
        key: &Key,
        concerned: &BTreeSet<String>,
        error: &kube::Error,
    ) {
        let why = fault::shorten(&fault::describe(error));
        if concerned.is_empty() {
            // The label of the provider's object says only that somebody claimed it once.
            tracing::info!("{} {key} may not be read: {why}", self.kind.kind);
            return;
        }
        let note = format!(
            "{} {key} was claimed and is not any more, and the konnector may not read it, so what is \
             ours about it stays there: {why}",
            self.kind.kind
        );
        tracing::warn!(
            object.namespace = %key.namespace,
            object.name = %key.name,
            "{note}"
        );
        self.tell(self.bindings(concerned), &note).await;
    }

    /// It may not be read what is left of an earlier claim of a binding.
    pub(super) async fn tell_unread(&self, binding: &str, error: &kube::Error) {
        let why = fault::shorten(&fault::describe(error));
        let note = format!(
            "an earlier claim on {} may have left copies that the konnector may not list, so they \
             stay: {why}",
            self.kind.plural
        );
        tracing::warn!(binding.name = binding, "{note}");
        let concerned = BTreeSet::from([binding.to_owned()]);
        self.tell(self.bindings(&concerned), &note).await;
    }

    async fn tell(&self, concerned: Vec<ObjectReference>, note: &str) {
        for reference in concerned.iter().take(TOLD) {
            let events = &self.ctx.events;
            events
                .warning(reference, EVENT_CLAIM_CONFLICT, note.to_owned())
                .await;
        }
    }

    fn wake(&self, bindings: &BTreeSet<String>) {
        for binding in bindings {
            self.ctx.wake.binding(binding);
        }
    }

    fn bindings(&self, names: &BTreeSet<String>) -> Vec<ObjectReference> {
        let all = self.ctx.bindings.state();
        let named = all.iter().filter(|b| names.contains(&b.name_any()));
        named.map(|binding| binding_ref(binding)).collect()
    }

    /// The key on that side of a key on the consumer.
    pub(super) fn key_on(&self, side: Side, key: &Key, service_namespace: &str) -> Key {
        match side {
            Side::Consumer => key.clone(),
            Side::Provider => Key::new(service_namespace, &key.name),
        }
    }

    fn words(&self, key: &Key, conflict: &Conflict) -> String {
        let kind = self.kind.kind;
        match conflict {
            Conflict::InTheWayOnConsumer => format!(
                "{kind} {key} exists and was not made by the provider of this API, so the \
                 provider's is not copied; delete or rename it, or refer to another name"
            ),
            Conflict::InTheWayOnProvider => format!(
                "the provider has a {kind} of its own under the name of {key}, so yours is not \
                 copied; use another name"
            ),
            Conflict::Undetermined => format!(
                "{kind} {key} exists on both sides and neither says that it is the copy; delete \
                 one of them, or label the one that is to be copied with kube-bind.io/owner"
            ),
            Conflict::OtherBinding(other) => format!(
                "{kind} {key} is synced for binding {other} to another provider, so it is not \
                 synced for this one"
            ),
            Conflict::Contested => format!(
                "the copy of {kind} {key} is changed by others as often as it is put right, so it \
                 is left alone until its source changes"
            ),
            Conflict::Rejected(words) => {
                format!("the copy of {kind} {key} is not accepted: {words}")
            }
            Conflict::Kept(words) => format!(
                "{kind} {key} is not claimed any more, but it cannot be taken back or let go: {words}"
            ),
        }
    }
}
