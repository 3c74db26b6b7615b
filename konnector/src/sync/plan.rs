//! The decision: which steps are missing for one object. A pure function.

use kube_bind_crds::digest::{self, Digest};

use super::cluster::Key;
use super::entry::{Consumer, Owner, Provider};
use super::form;
use super::pair::Pair;
use super::ports::{Problem, ProblemKind};
use super::purpose::Fate;

/// One step; what it sends is in `execute`, its request and the reason for it in the table of
/// `docs/ARCHITECTURE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Put our finalizer on the consumer object, before anything exists that it protects.
    Mark,
    /// Create the provider copy.
    Create,
    /// Put finalizer, link and problem on the consumer object, as they should be now.
    Annotate,
    /// Make what the original wrote ours.
    Adopt,
    /// Apply the consumer object's content on the provider copy.
    Change,
    /// Mirror the provider copy's status.
    Status,
    /// Delete the provider copy.
    Delete,
    /// Take our finalizer off the consumer object.
    Release,
}

/// Where the copy of a consumer object lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// There.
    At(Key),
    /// Its namespace has no service namespace yet.
    Waiting,
    /// Nowhere, for a reason that its author can remove.
    Impossible(String),
}

/// What a decision depends on besides the two entries.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) target: Target,
    /// Why the copy would be deleted.
    pub(super) fate: Fate,
    /// Too many consumer objects vanished at once: nothing is deleted because of that.
    pub(super) hold: bool,
    /// Try again what was refused.
    pub(super) retry: bool,
    /// Its namespace should have a counterpart by now.
    pub(super) overdue: bool,
    /// What only undoes what somebody else did waits.
    pub(super) patient: bool,
}

impl Rules {
    fn may_delete(&self) -> bool {
        let allowed = match self.fate {
            Fate::Unknown => false,
            Fate::Meant => true,
            Fate::Vanished => !self.hold,
        };
        allowed && matches!(self.target, Target::At(_))
    }

    /// The copy is kept, and a person has to say what should become of it.
    pub(super) fn is_held(&self) -> bool {
        self.fate == Fate::Vanished && self.hold
    }
}

/// The missing steps, in order; none means that the pair is as it should be, or waits for an event.
pub(super) fn plan(pair: &Pair, rules: &Rules) -> Vec<Step> {
    match (&pair.consumer, &pair.provider) {
        (None, None) => Vec::new(),
        (None, Some(provider)) => orphan(provider, rules),
        (Some(consumer), None) => missing(pair, consumer, rules),
        (Some(consumer), Some(provider)) => both(pair, consumer, provider, rules),
    }
}

/// The consumer object vanished, or its copy is from one that vanished.
fn orphan(provider: &Provider, rules: &Rules) -> Vec<Step> {
    let ours = matches!(provider.owner, Owner::Ours(_));
    if ours && !provider.terminating {
        delete(rules)
    } else {
        Vec::new()
    }
}

fn delete(rules: &Rules) -> Vec<Step> {
    if rules.may_delete() {
        vec![Step::Delete]
    } else {
        Vec::new()
    }
}

fn missing(pair: &Pair, consumer: &Consumer, rules: &Rules) -> Vec<Step> {
    if consumer.terminating {
        // A mark was only set where a copy could live; without the way there nobody knows that the
        // copy is gone.
        let unknown = rules.target == Target::Waiting;
        return if unknown {
            Vec::new()
        } else {
            release(consumer)
        };
    }
    match rules.target {
        Target::Waiting | Target::Impossible(_) => annotate(pair, consumer, rules),
        Target::At(_) if consumer.unreadable || is_refused(pair, consumer, rules) => {
            annotate(pair, consumer, rules)
        }
        Target::At(_) => {
            let mut steps = tell_failing(pair, consumer, rules);
            if !consumer.finalizer {
                steps.push(Step::Mark);
            }
            steps.extend([Step::Create, Step::Annotate]);
            steps
        }
    }
}

fn both(pair: &Pair, consumer: &Consumer, provider: &Provider, rules: &Rules) -> Vec<Step> {
    match &provider.owner {
        Owner::Foreign if consumer.terminating => return release(consumer),
        Owner::Foreign => return annotate(pair, consumer, rules),
        Owner::Ours(uid) if *uid != consumer.uid => {
            return if succeeds(pair, rules) {
                succeed(pair, consumer, rules)
            } else {
                replaced(pair, consumer, provider, rules)
            };
        }
        Owner::Ours(_) => {}
    }
    if consumer.terminating {
        return if provider.terminating {
            Vec::new()
        } else if rules.is_held() && consumer.finalizer {
            annotate(pair, consumer, rules)
        } else {
            let mut steps = tell_failing(pair, consumer, rules);
            steps.extend(delete(rules));
            steps
        };
    }
    let mut steps = Vec::new();
    let marks = annotate(pair, consumer, rules);
    if !consumer.finalizer || pair.failing.is_some() {
        steps.extend(&marks);
    }
    if !provider.terminating && differs(pair) && !is_refused(pair, consumer, rules) {
        if provider.adopt {
            steps.push(Step::Adopt);
        }
        steps.push(Step::Change);
    }
    if status_differs(pair) && !is_status_refused(pair, provider, rules) {
        steps.push(Step::Status);
    }
    if consumer.finalizer && pair.failing.is_none() {
        steps.extend(&marks);
    }
    steps
}

/// Whether the consumer object takes over the copy of one of its name that vanished without anybody
/// having deleted it: it was restored from a backup, or made anew from what its author has in git. What
/// the provider keeps for it is not given up because of that.
pub(super) fn succeeds(pair: &Pair, rules: &Rules) -> bool {
    match (&pair.consumer, &pair.provider) {
        (Some(consumer), Some(provider)) => {
            rules.fate == Fate::Vanished
                && matches!(&provider.owner, Owner::Ours(uid) if *uid != consumer.uid)
                && !consumer.terminating
                && !provider.terminating
        }
        _ => false,
    }
}

fn succeed(pair: &Pair, consumer: &Consumer, rules: &Rules) -> Vec<Step> {
    if is_unreadable(pair) || is_refused(pair, consumer, rules) {
        return annotate(pair, consumer, rules);
    }
    let mut steps = tell_failing(pair, consumer, rules);
    if !consumer.finalizer {
        steps.push(Step::Mark);
    }
    steps.extend([Step::Change, Step::Annotate]);
    steps
}

/// The copy is still the one of a deleted object of that name: it goes first.
fn replaced(pair: &Pair, consumer: &Consumer, provider: &Provider, rules: &Rules) -> Vec<Step> {
    let steps = orphan(provider, rules);
    match steps.is_empty() {
        // What it never had a copy of, it need not wait for.
        true if consumer.terminating => release(consumer),
        true => annotate(pair, consumer, rules),
        false => steps,
    }
}

/// What fails for long is told before it is tried again. Nothing is marked that terminates without our
/// finalizer.
fn tell_failing(pair: &Pair, consumer: &Consumer, rules: &Rules) -> Vec<Step> {
    if pair.failing.is_some() && (consumer.finalizer || !consumer.terminating) {
        annotate(pair, consumer, rules)
    } else {
        Vec::new()
    }
}

fn release(consumer: &Consumer) -> Vec<Step> {
    if consumer.finalizer {
        vec![Step::Release]
    } else {
        Vec::new()
    }
}

/// Nothing is copied from or to what cannot be read; its end needs no content.
fn is_unreadable(pair: &Pair) -> bool {
    let (consumer, provider) = (pair.consumer.as_ref(), pair.provider.as_ref());
    consumer.is_some_and(|consumer| consumer.unreadable)
        || provider.is_some_and(|provider| provider.unreadable)
}

/// The configuration is not what we own on the copy, and an apply may change that.
pub(super) fn differs(pair: &Pair) -> bool {
    match (&pair.consumer, &pair.provider) {
        _ if is_unreadable(pair) => false,
        (Some(consumer), Some(provider)) => {
            consumer.configuration != provider.owned
                && pair.settled().configuration != Some((consumer.configuration, provider.owned))
        }
        _ => false,
    }
}

/// The status is not the provider's, and a patch may change that.
fn status_differs(pair: &Pair) -> bool {
    match (&pair.consumer, &pair.provider) {
        _ if is_unreadable(pair) => false,
        (Some(consumer), Some(provider)) => {
            consumer.status != provider.status
                && pair.settled().status != Some((consumer.status, provider.status))
        }
        _ => false,
    }
}

fn is_status_refused(pair: &Pair, provider: &Provider, rules: &Rules) -> bool {
    !rules.retry
        && pair
            .status_refused
            .as_ref()
            .is_some_and(|refused| refused.configuration == provider.status)
}

fn is_refused(pair: &Pair, consumer: &Consumer, rules: &Rules) -> bool {
    !rules.retry
        && pair
            .refused
            .as_ref()
            .is_some_and(|refused| refused.configuration == consumer.configuration)
}

fn annotate(pair: &Pair, consumer: &Consumer, rules: &Rules) -> Vec<Step> {
    let marks = Marks::of(pair, rules);
    let link = marks.link.is_none_or(|link| link == consumer.link);
    let finalizer = consumer.finalizer || !marks.finalizer;
    let problem = marks
        .problem
        .as_ref()
        .map(|problem| problem.message.as_str());
    if link && finalizer && form::problem(problem) == consumer.problem {
        Vec::new()
    } else {
        vec![Step::Annotate]
    }
}

/// What a living consumer object should carry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Marks {
    pub(super) finalizer: bool,
    /// Digest of the link to the copy; `None` while there is no copy of its own.
    pub(super) link: Option<Digest>,
    pub(super) problem: Option<Problem>,
}

impl Marks {
    pub(super) fn of(pair: &Pair, rules: &Rules) -> Self {
        let consumer = pair.consumer.as_ref();
        let copy = pair.owned_copy();
        let link = match (&rules.target, copy) {
            (Target::At(key), Some(copy)) => {
                Some(form::link(&key.namespace, &copy.uid.to_string()))
            }
            _ => None,
        };
        Self {
            // Where no namespace is mapped (any more), after an answer that tells nothing, and of what
            // could be read before, a copy may be: the finalizer stays.
            finalizer: copy.is_some()
                || consumer.is_some_and(|c| {
                    let unknown = rules.target == Target::Waiting || pair.failing.is_some();
                    c.finalizer && (unknown || c.unreadable)
                }),
            link,
            problem: problem(pair, rules),
        }
    }

    /// Digest of link and problem. The finalizer is wanted where there is a copy to lead to.
    pub(super) fn digest(&self) -> Digest {
        let link = self.link.map(|link| link.0.to_string());
        let problem = self.problem.as_ref().map(|problem| &*problem.message);
        digest::text(&[&link.unwrap_or_default(), problem.unwrap_or_default()])
    }
}

/// What needs a person, if anything does.
pub(super) fn problem(pair: &Pair, rules: &Rules) -> Option<Problem> {
    let consumer = pair.consumer.as_ref()?;
    let says = |kind, message: &str| {
        let message = message.to_owned();
        Some(Problem { kind, message })
    };
    if rules.is_held() && pair.provider.is_some() && !succeeds(pair, rules) {
        return says(ProblemKind::Held, HELD);
    }
    if consumer.terminating {
        return pair.failing.as_deref().cloned();
    }
    match &rules.target {
        Target::Impossible(why) => return says(ProblemKind::ImpossibleName, why),
        // What it says already, somebody found who had waited longer: another leader, or we before a restart.
        Target::Waiting if rules.overdue || consumer.problem == form::problem(Some(WAITING)) => {
            return says(ProblemKind::WaitingForNamespace, WAITING);
        }
        Target::Waiting => return None,
        Target::At(_) => {}
    }
    match &pair.provider {
        // First of all: what is in the way is found only by who has something to put there.
        _ if consumer.unreadable => return says(ProblemKind::Unreadable, UNREADABLE),
        Some(provider) if provider.owner == Owner::Foreign => {
            return says(ProblemKind::Conflict, CONFLICT);
        }
        Some(copy) if copy.unreadable && (pair.owned_copy().is_some() || succeeds(pair, rules)) => {
            return says(ProblemKind::Unreadable, UNREADABLE_COPY);
        }
        // Back to what the provider has: the refusal no longer matters.
        Some(_) if !differs(pair) => {}
        _ => {
            let refused = pair.refused.as_ref();
            let current = refused.filter(|refused| refused.configuration == consumer.configuration);
            if let Some(refused) = current {
                return Some(refused.problem.clone());
            }
        }
    }
    let refused = pair.status_refused.as_ref().filter(|refused| {
        let provider = pair.provider.as_ref();
        provider.is_some_and(|provider| provider.status == refused.configuration)
            && status_differs(pair)
    });
    refused
        .map(|refused| refused.problem.clone())
        .or_else(|| pair.failing.as_deref().cloned())
}

const CONFLICT: &str = "an object of this name exists on the provider and does not belong to this \
                        consumer; it is left untouched; use another name, or ask the provider to \
                        remove it";
const HELD: &str = "too many objects vanished at once, so their copies on the provider are kept until \
                    somebody decides; the binding says how to let them go";
const UNREADABLE: &str = "this object cannot be read and is not synced; it may be nested too deeply, or \
                          contain a number beyond all means: change it accordingly";
const UNREADABLE_COPY: &str = "the provider's copy of this object cannot be read and neither gets its \
                               changes nor gives its status; it may be nested too deeply, ask the \
                               provider's operator";
const WAITING: &str = "the provider has no namespace for this one yet; its operator may know why";

#[cfg(test)]
mod tests;
