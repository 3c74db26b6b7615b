//! How one object is doing, and how many are doing how. Pure.

use super::engine::Counts;
use super::entry::Owner;
use super::pair::Pair;
use super::plan::{Rules, Target, plan, problem};
use super::ports::{Problem, ProblemKind};

/// How one object is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Class {
    /// Not there, or not ours to care for.
    #[default]
    Nothing,
    Synced,
    Pending,
    WaitingNamespace,
    Problem(Box<Problem>),
    /// A copy whose consumer object vanished.
    Orphan,
    /// The same, and another consumer object has taken its name and waits for it to go.
    Replaced,
}

impl Class {
    pub(super) fn of(pair: &Pair, rules: &Rules) -> Self {
        let Some(consumer) = &pair.consumer else {
            let ours = matches!(&pair.provider, Some(provider) if provider.owner != Owner::Foreign);
            return if ours { Self::Orphan } else { Self::Nothing };
        };
        if let Some(problem) = problem(pair, rules).filter(|_| !consumer.terminating) {
            return Self::Problem(Box::new(problem));
        }
        if rules.target == Target::Waiting {
            return Self::WaitingNamespace;
        }
        match &pair.provider {
            Some(provider) if matches!(&provider.owner, Owner::Ours(uid) if *uid != consumer.uid) => {
                Self::Replaced
            }
            Some(provider) if !provider.terminating && !consumer.terminating => {
                if plan(pair, rules).is_empty() {
                    Self::Synced
                } else {
                    Self::Pending
                }
            }
            _ => Self::Pending,
        }
    }

    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}

/// How many are doing how.
#[derive(Default)]
pub(super) struct Tally {
    counts: Counts,
    /// Part of the pending ones.
    replaced: usize,
}

impl Tally {
    pub(super) fn change(&mut self, before: &Class, after: &Class) {
        if let Some(count) = self.count(before) {
            *count -= 1;
        }
        if let Some(count) = self.count(after) {
            *count += 1;
        }
        self.replaced -= usize::from(*before == Class::Replaced);
        self.replaced += usize::from(*after == Class::Replaced);
    }

    fn count(&mut self, class: &Class) -> Option<&mut usize> {
        let counts = &mut self.counts;
        match class {
            Class::Nothing => None,
            Class::Synced => Some(&mut counts.synced),
            Class::Pending | Class::Replaced => Some(&mut counts.pending),
            Class::WaitingNamespace => Some(&mut counts.waiting_namespace),
            Class::Problem(problem) => match problem.kind {
                ProblemKind::Rejected => Some(&mut counts.rejected),
                ProblemKind::Conflict => Some(&mut counts.conflict),
            },
            Class::Orphan => Some(&mut counts.orphans),
        }
    }

    /// The counts, with the sum of all consumer objects.
    pub(super) fn counts(&self) -> Counts {
        let counts = self.counts.clone();
        let objects = counts.synced
            + counts.pending
            + counts.waiting_namespace
            + counts.rejected
            + counts.conflict;
        Counts { objects, ..counts }
    }

    /// Copies whose consumer objects vanished.
    pub(super) fn orphans(&self) -> usize {
        self.counts.orphans + self.replaced
    }

    /// Objects that have a copy or should have one.
    pub(super) fn living(&self) -> usize {
        self.counts.synced + self.counts.pending - self.replaced
    }
}
