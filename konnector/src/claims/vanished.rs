//! Sources of the consumer that vanish many at once: their copies on the provider are kept, as the
//! breaker of their binding says. No IO.

use std::time::Duration;

use tokio::time::Instant;

use super::ClaimsEngine;
use super::look::Work;
use super::plan::Step;
use super::state::Side;
use crate::sync::{Breaker, Key, Namespaces, Share};

/// A held copy is looked at again, in memory only, because time can end a hold.
pub(super) const HELD: Duration = Duration::from_secs(10);

/// What the copies of one binding on the provider amount to. `is_there` is whether the consumer has the
/// source of a key, `is_gone` whether its deletion was seen.
fn share<'a>(
    copies: impl Iterator<Item = &'a Key>,
    is_there: impl Fn(&Key) -> bool,
    is_gone: impl Fn(&Key) -> bool,
) -> Share {
    let mut share = Share::default();
    for key in copies {
        if is_there(key) {
            share.living += 1;
        } else if !is_gone(key) {
            share.vanished += 1;
        }
    }
    share
}

impl ClaimsEngine {
    /// The breaker of a binding counts what vanishes here too, and may hold it. A hold that a person
    /// ended ends here.
    pub fn watch_over(&self, binding: &str, breaker: &Breaker) {
        self.members()
            .entry(binding.to_owned())
            .or_insert_with(|| breaker.join(Instant::now()));
        self.count_vanished(binding);
        if self.state().held > 0 && breaker.held() == 0 {
            self.state().held = 0;
            self.touch_all();
        }
    }

    /// Whether a copy is kept although its source is missing; otherwise its deletion is counted.
    pub(super) fn holds(&self, key: &Key, work: &Work) -> bool {
        let deletes = work
            .steps
            .iter()
            .any(|step| matches!(step, Step::Delete(Side::Provider, _)));
        let vanished = {
            let state = self.state();
            // What is not known is not missing.
            state.knows(key) && state.consumer.get(key).is_none() && !state.deleted.contains(key)
        };
        // Whoever unbinds means everything.
        if !deletes || !vanished || self.rules().is_ending(&work.binding) {
            return false;
        }
        self.count_vanished(&work.binding);
        let now = Instant::now();
        let members = self.members();
        let Some(member) = members.get(&work.binding) else {
            return false;
        };
        let holds = member.holds(now);
        if holds {
            self.state().held += 1;
        } else {
            member.deleting(true, now);
        }
        holds
    }

    /// Counts the copies of a binding, and remembers how many there are.
    fn amount(&self, binding: &str) -> Share {
        let mut state = self.state();
        let copies: Vec<Key> = state
            .provider
            .iter()
            .filter(|(_, copy)| {
                copy.binding(Side::Provider) == Some(binding)
                    && copy.marks.cluster_namespace.as_deref()
                        == Some(&*self.provider.cluster_namespace)
            })
            .filter_map(|(key, _)| {
                let namespace = self.provider.namespaces.to_consumer(&key.namespace)?;
                Some(Key::new(namespace, &key.name))
            })
            // What is not known is not missing.
            .filter(|key| state.knows(key))
            .collect();
        let share = share(
            copies.iter(),
            |key| state.consumer.get(key).is_some(),
            |key| state.deleted.contains(key),
        );
        state.shares.insert(binding.to_owned(), share);
        share
    }

    fn count_vanished(&self, binding: &str) {
        let listed = self.listed(binding);
        let counted = self.state().shares.get(binding).copied();
        let share = Share {
            listed,
            ..counted.unwrap_or_else(|| self.amount(binding))
        };
        if let Some(member) = self.members().get(binding) {
            member.update(share, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_without_a_deletion_has_vanished() {
        let keys = ["there", "deleted", "vanished"].map(|name| Key::new("shop", name));
        let share = share(
            keys.iter(),
            |key| key.name == "there",
            |key| key.name == "deleted",
        );
        let expected = Share {
            living: 1,
            vanished: 1,
            ..Share::default()
        };
        assert_eq!(share, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_of_the_binding_holds_what_vanishes_all_at_once() {
        let breaker = Breaker::default();
        let member = breaker.join(Instant::now());
        let count = |vanished: usize, living: usize| {
            let share = Share {
                living,
                vanished,
                dying: 0,
                listed: true,
            };
            member.update(share, Instant::now());
            member.holds(Instant::now())
        };
        assert!(!count(20, 0), "a few may always go");
        assert!(!count(21, 79), "and a small part");
        assert!(count(40, 10));
        breaker.release_deletes(true);
        assert!(!member.holds(Instant::now()));
    }
}
