//! What keeps a claim from being synced although all rights are there: a watch that fails, or a write for
//! which one side lacks a right. One object that is refused is not among it. No IO.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::ClaimsEngine;
use super::rules::Scope;
use super::state::{Side, State};
use crate::fault;
use crate::patience::Patience;
use crate::sync::Key;

/// What fails now.
#[derive(Debug, Default)]
pub struct Failing {
    watches: HashMap<(Side, Scope), Failure>,
    /// By key, with the binding in whose name it is written.
    writes: HashMap<Key, (String, Failure)>,
}

#[derive(Debug)]
struct Failure {
    words: String,
    patience: Patience,
}

/// What is said about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What has failed for a while.
    pub why: Option<String>,
    /// When something else may have.
    pub again: Option<Duration>,
}

impl Failing {
    /// A watch fails; says whether that is news.
    fn watch(&mut self, side: Side, scope: &Scope, words: String) -> bool {
        let failing = self.watches.entry((side, scope.clone()));
        let mut is_new = false;
        failing
            .and_modify(|failure| failure.words.clone_from(&words))
            .or_insert_with(|| {
                is_new = true;
                Failure::new(words)
            });
        is_new
    }

    /// A watch runs, or is not wanted any more; says whether that is news.
    pub fn watch_ended(&mut self, side: Side, scope: &Scope) -> bool {
        self.watches.remove(&(side, scope.clone())).is_some()
    }

    /// Whether a right was missing when a key was written last.
    pub fn lacks_right_for(&self, key: &Key) -> bool {
        self.writes.contains_key(key)
    }

    /// What is said to a binding for which these watches matter.
    fn verdict(
        &mut self,
        binding: &str,
        matters: impl Fn(Side, &Scope) -> bool,
        now: Instant,
    ) -> Verdict {
        let watches = self.watches.iter_mut();
        let watches = watches.filter(|((side, scope), _)| matters(*side, scope));
        let watches = watches.map(|((side, _), failure)| {
            let whose = match side {
                Side::Consumer => "this cluster",
                Side::Provider => "the provider",
            };
            (format!("they cannot be watched in {whose}"), failure)
        });
        let writes = self.writes.values_mut().filter(|(of, _)| of == binding);
        let writes = writes.map(|(_, failure)| ("they cannot be written".to_owned(), failure));
        let mut verdict = Verdict::default();
        for (what, failure) in watches.chain(writes) {
            match failure.patience.failed(now, now) {
                Some(left) => {
                    verdict.again = Some(verdict.again.map_or(left, |again| again.min(left)));
                }
                None => {
                    let why = format!("{what}: {}", failure.words);
                    // Always the same one of several, so that a condition does not change for nothing.
                    verdict.why = Some(verdict.why.map_or(why.clone(), |first| first.min(why)));
                }
            }
        }
        verdict
    }
}

impl Failure {
    fn new(words: String) -> Self {
        Self {
            words,
            patience: Patience::default(),
        }
    }
}

impl ClaimsEngine {
    /// What keeps a binding's claim from being synced.
    pub fn failing(&self, binding: &str, now: Instant) -> Verdict {
        let rules = self.rules();
        let mut state = self.state();
        let State {
            failing, denied, ..
        } = &mut *state;
        let matters = |side, scope: &Scope| {
            side == Side::Provider || rules.needs(binding, scope, denied.contains_key(scope))
        };
        failing.verdict(binding, matters, now)
    }

    pub(super) fn watch_fails(&self, side: Side, scope: &Scope, words: String) {
        let news = self.state().failing.watch(side, scope, words);
        if news {
            self.wake_bindings();
        }
    }

    /// A write failed in the name of a binding. Only a right that is missing is missing for others too.
    pub(super) fn write_fails(&self, key: &Key, binding: &str, error: &kube::Error) {
        let kube::Error::Api(status) = error else {
            return;
        };
        if !fault::lacks_right(status) {
            return;
        }
        let failure = Failure::new(fault::shorten(&status.message));
        let news = {
            let writes = &mut self.state().failing.writes;
            let is_new = !writes.contains_key(key);
            writes
                .entry(key.clone())
                .or_insert_with(|| (binding.to_owned(), failure));
            is_new
        };
        if news {
            self.ctx.wake.binding(binding);
        }
    }

    /// Nothing fails to be written for a key.
    pub(super) fn written(&self, key: &Key) {
        let failed = self.state().failing.writes.remove(key);
        if let Some((binding, _)) = failed {
            self.ctx.wake.binding(&binding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_a_moment_is_not_said() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut failing = Failing::default();
        let scope = Scope::default();
        let said = |failing: &mut Failing, now| failing.verdict("b", |_, _| true, now);
        assert_eq!(said(&mut failing, at(0)), Verdict::default());
        assert!(failing.watch(Side::Provider, &scope, "refused".into()));
        let first = said(&mut failing, at(0));
        assert_eq!(first.why, None);
        let again = first.again.expect("it is looked at again");
        assert!(!failing.watch(Side::Provider, &scope, "forbidden".into()));
        let lasting = said(&mut failing, start + again);
        assert_eq!(
            lasting.why.as_deref(),
            Some("they cannot be watched in the provider: forbidden")
        );
        assert!(failing.watch_ended(Side::Provider, &scope));
        assert!(!failing.watch_ended(Side::Provider, &scope));
        assert_eq!(said(&mut failing, at(60)), Verdict::default());
    }

    #[test]
    fn what_fails_for_others_is_not_said_to_a_binding() {
        let now = Instant::now();
        let mut failing = Failing::default();
        failing.watch(Side::Consumer, &Scope::default(), "forbidden".into());
        let failure = Failure::new("forbidden".into());
        failing
            .writes
            .insert(Key::new("shop", "tls"), ("other".into(), failure));
        let of_watches = |side, _: &Scope| side == Side::Provider;
        assert_eq!(failing.verdict("b", of_watches, now), Verdict::default());
        assert!(failing.verdict("other", of_watches, now).again.is_some());
    }
}
