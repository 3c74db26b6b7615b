//! Bindings of which no rule says what they claim. After a start nobody has come to them, their credential has
//! expired, their export is missing: what they claimed last is on record with them. Or their claim cannot be
//! set up for now, because rights are missing or a switch is mistyped. What another binding made under such a
//! claim is not taken away meanwhile: it is kept for a while, and then it is theirs until they say
//! otherwise. No IO.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube_bind_crds::api::{APIServiceBinding, PermissionClaim, Selector};
use kube_bind_crds::names::ANNOTATION_PROVIDER_CLUSTER;

use super::ClaimsEngine;
use super::copy::Copy;
use super::look::selected;
use super::plan::Conflict;
use super::rules::{self, Rule, Rules};
use super::state::State;
use crate::recorded;
use crate::sync::Key;

/// So long all bindings are waited for after a start. One that cannot be heard, such as one whose
/// credential is dead for good, keeps no other from ending for longer.
pub(super) const HEARING: Duration = Duration::from_secs(120);

/// Who gets what no binding claims that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heir<'a> {
    /// Nobody can claim it.
    Nobody,
    /// Somebody may claim it who can still be heard, or for whom nothing is written.
    Later,
    /// A binding that claimed such objects when it was heard last.
    Binding(&'a str),
}

impl ClaimsEngine {
    /// A binding has said what it claims here and elsewhere, or is gone.
    pub fn reconsider(&self) {
        if self.match_pending() {
            self.unlist_all();
            self.rules_changed.send_modify(|changes| *changes += 1);
        }
        self.touch_anew();
        self.tell_waiting();
    }

    /// Waits until all bindings have had the time to be heard.
    pub(super) async fn hear(&self) {
        tokio::time::sleep_until(self.began + HEARING).await;
        let silent: Vec<String> = {
            let last = self.unheard_claims(&self.rules());
            last.bindings().map(str::to_owned).collect()
        };
        for binding in silent {
            tracing::warn!(
                binding.name = %binding,
                "the claim of APIServiceBinding {binding} on {} is not in force yet; what it says, or said last, counts",
                self.kind.plural
            );
        }
        self.reconsider();
    }

    /// Whether bindings that have not been heard are still waited for.
    pub(super) fn is_hearing(&self) -> bool {
        self.began.elapsed() < HEARING
    }

    /// What those bindings to this provider claim, or claimed last, of which no rule says it.
    pub(super) fn unheard_claims(&self, rules: &Rules) -> Rules {
        let mut last = Rules::default();
        for binding in self.ctx.bindings.state() {
            let name = binding.name_any();
            if rules.knows(&name) || !self.is_to_our_provider(&binding) {
                continue;
            }
            let (claim, is_known) = match self.provider.pending_claims(&name) {
                Some(pending) => (self.of_our_kind(pending), true),
                None => {
                    let recorded = self.recorded(&binding);
                    let is_known = recorded.as_ref().map(|claim| &claim.selector);
                    let is_known = is_known != Some(&Selector::default());
                    (recorded, is_known)
                }
            };
            if let Some(claim) = claim {
                // What nobody understands is not meant to be written.
                let rule = Rule::of(&binding, &claim)
                    .unwrap_or_else(|_| Rule::new(&claim, None).suspend(true));
                last.set(&name, if is_known { rule } else { rule.of_anything() });
            }
        }
        last
    }

    /// Has objects be matched with the labels of claims that cannot be set up for now; says whether these are
    /// others than before.
    pub(super) fn match_pending(&self) -> bool {
        let mut pending = BTreeSet::new();
        for binding in self.ctx.bindings.state() {
            let name = binding.name_any();
            let claims = self.provider.pending_claims(&name).unwrap_or_default();
            let claim = self.of_our_kind(claims);
            let label = claim.and_then(|claim| claim.selector.label_selector);
            pending.extend(label.map(|label| (name, rules::in_words(&label))));
        }
        let rules = self.rules();
        let before = self.selectors(&rules);
        *self.pending_labels() = pending;
        self.selectors(&rules) != before
    }

    fn pending_labels(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        let labels = self.pending_labels.lock();
        labels.unwrap_or_else(PoisonError::into_inner)
    }

    /// Names all label selectors that objects are matched with, in force or not.
    pub(super) fn selectors(&self, rules: &Rules) -> String {
        let mut all = rules.selectors();
        all.extend(self.pending_labels().iter().cloned());
        serde_json::to_string(&all).expect("texts are texts")
    }

    /// Bindings whose label selector matches, by what they say or said last.
    pub(super) fn labelled(&self, labels: &BTreeMap<String, String>) -> Vec<String> {
        let rules = self.rules();
        let mut all = rules.labelled(labels);
        all.extend(self.unheard_claims(&rules).labelled(labels));
        all
    }

    /// Who gets what no binding claims that was heard. `last` is what the others claimed last; one of them
    /// may have `half` of it already.
    pub(super) fn heir<'a>(
        &self,
        last: &'a Rules,
        key: &'a Key,
        sources: &[&'a Copy],
        half: Option<&&str>,
    ) -> Heir<'a> {
        let mut may_claim: BTreeSet<&str> = selected(last, key, sources).collect();
        // To what their objects refer nobody knows.
        may_claim.extend(last.referring(&key.namespace));
        if may_claim.is_empty() && half.is_none() {
            return Heir::Nobody;
        }
        let may_get = |b: &&str| !last.is_suspended(b) && half.is_none_or(|half| half == b);
        match may_claim.into_iter().find(may_get) {
            Some(binding) if !self.is_hearing() => Heir::Binding(binding),
            _ => Heir::Later,
        }
    }

    /// Whether something that a binding made stays as it is, and its end does not wait for it: nothing may
    /// be written for the heir, or nothing can be.
    pub(super) fn stays(
        &self,
        rules: &Rules,
        last: &Rules,
        state: &State,
        key: &Key,
        sources: &[&Copy],
    ) -> bool {
        match self.heir(last, key, sources, None) {
            Heir::Nobody => false,
            Heir::Later => !self.is_hearing(),
            Heir::Binding(_) => {
                let conflict = state.conflicts.get(key).map(|(conflict, _)| conflict);
                conflict.is_some_and(|conflict| !matches!(conflict, Conflict::Kept(_)))
                    || state.failing.lacks_right_for(key)
                    || !rules.cover(key)
            }
        }
    }

    /// Whether a binding has said what it claims, and has nothing here.
    pub(super) fn claims_nothing(&self, binding: &str) -> bool {
        let bindings = self.ctx.bindings.state();
        let found = bindings.iter().find(|b| b.name_any() == binding);
        found.is_some_and(|binding| {
            let pending = self.provider.pending_claims(&binding.name_any());
            self.recorded(binding).is_none()
                && pending.is_some_and(|claims| self.of_our_kind(claims).is_none())
        })
    }

    /// What a binding has on record of claims on this kind.
    pub(super) fn recorded(&self, binding: &APIServiceBinding) -> Option<PermissionClaim> {
        self.of_our_kind(recorded::claims(binding))
    }

    fn of_our_kind(&self, claims: Vec<PermissionClaim>) -> Option<PermissionClaim> {
        let mut claims = claims.into_iter();
        claims.find(|claim| claim.group_resource == self.resource())
    }

    fn is_to_our_provider(&self, binding: &APIServiceBinding) -> bool {
        match binding.annotations().get(ANNOTATION_PROVIDER_CLUSTER) {
            Some(provider) => *provider == self.provider.uid,
            None => {
                let secrets = self.provider.secrets();
                secrets.contains(&binding.spec.kubeconfig_secret_ref)
            }
        }
    }
}
