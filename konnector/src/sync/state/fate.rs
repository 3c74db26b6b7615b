//! Whether what is gone was meant to go. An object that terminates was deleted by a person, or goes
//! only because its CRD does: both look the same. As long as few terminate nobody asks. When so many
//! do that the breaker would trip, or the CRD was seen to terminate, the CRD is read after the last
//! of them was seen to terminate, and they wait for the answer. Ends are numbered in the order in which
//! they were seen to begin, so that an answer counts for those before the question and for no later one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::cluster::{Error, Key};
use super::super::entry::Owner;
use super::super::metrics::Side;
use super::super::pair::Pair;
use super::super::purpose::{Control, Fate};
use super::super::queue::Priority;
use super::{Slot, State};

/// At most one question in this time: deletions by the thousand are answered together.
const PAUSE: Duration = Duration::from_millis(250);
/// Asking again after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Why objects terminate, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// How many were seen to begin.
    seen: u32,
    /// Up to which of them it is known that persons deleted them.
    meant_until: u32,
    /// The CRD is going, and everything with it.
    going: bool,
    /// Somebody waits for an answer.
    wanted: bool,
    /// How many had been seen when the question under way was asked.
    asked: Option<u32>,
    not_before: Option<Instant>,
}

impl Causes {
    /// Another object terminates; the number to ask about it with.
    pub(super) fn next(&mut self) -> u32 {
        self.seen = self.seen.saturating_add(1);
        self.seen
    }

    /// Whether the end with this number (0: it was not seen to begin) was meant, as far as is known.
    /// Before all is `listed` nobody knows how many copies depend on it, and so nobody asks.
    pub(super) fn is_meant(&self, dying: u32, listed: bool) -> bool {
        !self.going && (dying <= self.meant_until || (listed && !self.wanted))
    }

    /// Up to which end it is known that persons deleted the objects.
    pub(super) fn meant_until(&self) -> u32 {
        self.meant_until
    }

    /// An object terminates and nobody knows why.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// An object was created: whatever was going, the kind is here again.
    pub(super) fn created(&mut self) {
        self.going = false;
    }

    /// When the next question may be asked, if one has to be.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.not_before
            .filter(|_| self.wanted && self.asked.is_none())
    }
}

impl State {
    /// Why the copy of this object would be deleted.
    pub(super) fn fate(&self, slot: &Slot, now: Instant) -> Fate {
        let Pair {
            consumer, provider, ..
        } = &slot.pair;
        let Some(Owner::Ours(uid)) = provider.as_ref().map(|copy| &copy.owner) else {
            return Fate::Unknown;
        };
        let unbinding = self.control.unbinding;
        match consumer {
            Some(consumer) if consumer.uid == *uid => {
                if !consumer.terminating {
                    Fate::Unknown
                } else if unbinding || (slot.dying <= self.causes.meant_until && !self.causes.going)
                {
                    Fate::Meant
                } else if self.causes.going {
                    Fate::Vanished
                } else if self.definition.was_seen_terminating() || self.breaker.is_suspicious(now)
                {
                    Fate::Unknown
                } else {
                    Fate::Meant
                }
            }
            _ if unbinding || slot.deleted.as_deref() == Some(uid) => Fate::Meant,
            None if slot.untold => Fate::Unknown,
            _ => Fate::Vanished,
        }
    }

    /// Whether the CRD is to be read now; the question counts as asked then.
    pub(in super::super) fn wants_explanation(&mut self, now: Instant) -> bool {
        let causes = &mut self.causes;
        let wants =
            causes.wanted && causes.asked.is_none() && causes.not_before.is_none_or(|at| at <= now);
        if wants {
            causes.asked = Some(causes.seen);
            causes.not_before = Some(now + PAUSE);
        }
        wants
    }

    /// The answer: whether the CRD is going.
    pub(in super::super) fn explain(&mut self, answer: Result<bool, Error>, now: Instant) {
        let Some(asked) = self.causes.asked.take() else {
            return;
        };
        let Ok(going) = answer else {
            self.causes.not_before = Some(now + RETRY);
            return;
        };
        self.causes.wanted = false;
        self.causes.going = going;
        if !going {
            self.causes.meant_until = asked;
        }
        self.breaker.explained(going, now);
        self.file_share(now);
        let dying = |slot: &Slot| slot.dying > 0;
        self.touch_those(dying, now);
    }

    /// Tells the breaker what this engine knows.
    pub(super) fn file_share(&self, now: Instant) {
        let share = self.tally.share(self.listed, self.causes.going);
        self.breaker.update(share, now);
    }

    /// The breaker holds copies, or holds them no longer.
    pub(in super::super) fn holds_changed(&mut self, now: Instant) {
        let gone =
            |slot: &Slot| slot.pair.provider.is_some() && (is_orphan(&slot.pair) || slot.dying > 0);
        self.touch_those(gone, now);
    }

    /// A person has changed what the engine does.
    pub(in super::super) fn control(&mut self, control: Control, now: Instant) {
        let old = std::mem::replace(&mut self.control, control);
        if control.suspended && !old.suspended {
            self.bodies.clear();
        }
        if control.wakes != old.wakes {
            self.side_is_back(Side::Consumer, now);
            self.side_is_back(Side::Provider, now);
        }
        if control.unbinding != old.unbinding {
            self.touch_those(|_| true, now);
        } else if old.suspended && !control.suspended {
            self.barred = None;
            // Nobody asked for their namespaces meanwhile.
            let waiting: Vec<Key> = self.waiting.keys().cloned().collect();
            for key in waiting {
                self.touch(&key, Priority::Backlog, now);
            }
        }
    }

    fn touch_those(&mut self, which: impl Fn(&Slot) -> bool, now: Instant) {
        let slots = self.slots.iter().filter(|(_, slot)| which(slot));
        let keys: Vec<_> = slots.map(|(key, _)| Arc::clone(key)).collect();
        for key in &keys {
            // All of them are counted before the first one is acted upon.
            self.classify(key, now);
        }
        for key in keys {
            self.touch(&key, Priority::Backlog, now);
        }
    }
}

/// A copy without its consumer object, as far as is known.
pub(super) fn is_orphan(pair: &Pair) -> bool {
    match (&pair.consumer, &pair.provider) {
        (None, Some(provider)) => matches!(provider.owner, Owner::Ours(_)),
        (Some(consumer), Some(provider)) => {
            matches!(&provider.owner, Owner::Ours(uid) if *uid != consumer.uid)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_nobody_could_ask_about_is_not_known_to_be_meant() {
        let mut causes = Causes::default();
        let number = causes.next();
        assert!(!causes.is_meant(number, false), "the copies are not known");
        assert!(causes.is_meant(number, true), "few: nobody has to ask");
        causes.wanted = true;
        assert!(!causes.is_meant(number, true), "many: somebody asks");
        causes.meant_until = number;
        assert!(causes.is_meant(number, false), "and was told");
    }
}
