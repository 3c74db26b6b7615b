//! How one object is doing, and how many are doing how. Pure.

use super::breaker::Share;
use super::counts::Counts;
use super::entry::Owner;
use super::pair::Pair;
use super::plan::{Rules, Target, plan, problem, succeeds};
use super::ports::{Problem, ProblemKind};
use super::purpose::Fate;

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
    /// A copy whose consumer object is gone; whether it vanished.
    Orphan(bool),
    /// The same, and another consumer object has taken its name and waits for it to go.
    Replaced(bool),
    /// A consumer object that terminates while its copy is there; whether only because its CRD does.
    Dying(bool),
}

impl Class {
    pub(super) fn of(pair: &Pair, rules: &Rules) -> Self {
        let vanished = rules.fate == Fate::Vanished;
        let Some(consumer) = &pair.consumer else {
            let ours = matches!(&pair.provider, Some(provider) if provider.owner != Owner::Foreign);
            // Where no namespace is mapped any more, nothing can be said or done about a copy.
            return if ours && matches!(rules.target, Target::At(_)) {
                Self::Orphan(vanished)
            } else {
                Self::Nothing
            };
        };
        if let Some(problem) = problem(pair, rules) {
            return Self::Problem(Box::new(problem));
        }
        if rules.target == Target::Waiting {
            return Self::WaitingNamespace;
        }
        match &pair.provider {
            _ if succeeds(pair, rules) => Self::Pending,
            Some(provider) if matches!(&provider.owner, Owner::Ours(uid) if *uid != consumer.uid) => {
                Self::Replaced(vanished)
            }
            Some(provider) if !provider.terminating && !consumer.terminating => {
                if plan(pair, rules).is_empty() {
                    Self::Synced
                } else {
                    Self::Pending
                }
            }
            Some(provider) if !provider.terminating && provider.owner != Owner::Foreign => {
                Self::Dying(vanished)
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
    replaced: usize,
    dying: usize,
    /// Of all those above, those that vanished.
    vanished: usize,
    /// Consumer objects that are there and whose deletion is held, or would be.
    held: usize,
}

impl Tally {
    pub(super) fn change(&mut self, before: &Class, after: &Class) {
        for count in self.counters(before).into_iter().flatten() {
            *count -= 1;
        }
        for count in self.counters(after).into_iter().flatten() {
            *count += 1;
        }
    }

    fn counters(&mut self, class: &Class) -> [Option<&mut usize>; 2] {
        let counts = &mut self.counts;
        let vanished = |did: bool, count| did.then_some(count);
        match class {
            Class::Nothing => [None, None],
            Class::Synced => [Some(&mut counts.synced), None],
            Class::Pending => [Some(&mut counts.pending), None],
            Class::WaitingNamespace => [Some(&mut counts.waiting_namespace), None],
            Class::Problem(problem) => match problem.kind {
                ProblemKind::Rejected
                | ProblemKind::StatusRejected
                | ProblemKind::ImpossibleName
                | ProblemKind::Unreadable
                | ProblemKind::Failing => [Some(&mut counts.rejected), None],
                ProblemKind::Conflict => [Some(&mut counts.conflict), None],
                ProblemKind::WaitingForNamespace => [Some(&mut counts.waiting_namespace), None],
                ProblemKind::Held => [Some(&mut self.held), Some(&mut self.vanished)],
            },
            Class::Orphan(did) => [
                Some(&mut counts.orphans),
                vanished(*did, &mut self.vanished),
            ],
            Class::Replaced(did) => [Some(&mut self.replaced), vanished(*did, &mut self.vanished)],
            Class::Dying(false) => [Some(&mut self.dying), None],
            Class::Dying(true) => [Some(&mut self.held), Some(&mut self.vanished)],
        }
    }

    /// The counts, with the sum of all consumer objects.
    pub(super) fn counts(&self, tripped: bool) -> Counts {
        let counts = self.counts.clone();
        let pending = counts.pending + self.replaced + self.dying + self.held;
        let objects =
            counts.synced + pending + counts.waiting_namespace + counts.rejected + counts.conflict;
        Counts {
            objects,
            pending,
            held: if tripped { self.vanished } else { 0 },
            ..counts
        }
    }

    /// What the breaker needs to know. When the whole kind is `going`, what is not yet gone is about to.
    pub(super) fn share(&self, listed: bool, going: bool) -> Share {
        let counts = &self.counts;
        // An orphan that did not vanish is nobody's object any more; everything else is one.
        let all = self.counts(false).objects + counts.orphans;
        let about_to = if going { counts.synced + self.dying } else { 0 };
        let vanished = self.vanished + about_to;
        Share {
            living: all - vanished,
            vanished,
            dying: self.dying,
            listed,
        }
    }
}
