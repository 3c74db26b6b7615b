//! What to do about one claimed object, in either direction. No IO.

use kube_bind_crds::claims::{Owner, owner};

use super::copy::Copy;
use super::state::Side;

/// Whether some binding claims an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// One does.
    Yes,
    /// None does that we know of, but not all have been heard; or what was claimed is to stay.
    Unknown,
    /// None does.
    No,
}

/// Both objects of one name and what is known about the claim.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Whether the source is claimed.
    pub claimed: Claimed,
    /// The binding that made the copy leaves it where it is, or has left it there.
    pub orphan: bool,
    /// Whether objects of that namespace and name may cross at all.
    pub may_cross: bool,
    /// Whether the provider's namespace has been listed: what it has is not missing before.
    pub provider_listed: bool,
    /// The provider's object.
    pub provider: Option<&'a Copy>,
    /// The consumer's object.
    pub consumer: Option<&'a Copy>,
    /// Uid of the provider's cluster namespace.
    pub provider_cluster: &'a str,
    /// Its name.
    pub cluster_namespace: &'a str,
    /// The binding in whose name things are written.
    pub binding: &'a str,
    /// The binding that the consumer's object is marked for is there, and not ours.
    pub marked_for_another: bool,
}

/// One write, with the object as it was when that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Mark the source on that side as the source.
    Mark(Side, Copy),
    /// Take our marks off an object on that side.
    Unmark(Side, Copy),
    /// Create the copy on that side.
    Create(Side),
    /// Replace the copy on that side.
    Update(Side, Copy),
    /// Delete the copy on that side.
    Delete(Side, Copy),
    /// Nothing can be done before a person does something.
    Conflict(Conflict),
}

impl Step {
    /// The side on which it writes.
    pub fn side(&self) -> Option<Side> {
        match self {
            Self::Create(side)
            | Self::Mark(side, _)
            | Self::Unmark(side, _)
            | Self::Update(side, _)
            | Self::Delete(side, _) => Some(*side),
            Self::Conflict(_) => None,
        }
    }
}

/// Why a claimed object is not synced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Conflict {
    /// The consumer has an object of that name which is not the provider's copy.
    InTheWayOnConsumer,
    /// The provider has an object of that name which is not the consumer's copy.
    InTheWayOnProvider,
    /// Both had one before anybody claimed it.
    Undetermined,
    /// The consumer's object is synced for another binding already.
    OtherBinding(String),
    /// The copy is changed on its side again and again.
    Contested,
    /// One of the API servers does not accept the copy.
    Rejected(String),
    /// One of them does not let go what is not claimed any more.
    Kept(String),
}

/// The owner of a pair of which at least one exists.
pub fn owner_of(provider: Option<&Copy>, consumer: Option<&Copy>) -> Option<Owner> {
    owner(Copy::state(provider), Copy::state(consumer))
}

/// What is missing, `None` while not enough is known. What is not claimed is taken back wherever it is.
pub fn decide(pair: &Pair<'_>) -> Option<Vec<Step>> {
    let enough = pair.provider_listed || pair.claimed == Claimed::No;
    enough.then(|| plan(pair))
}

/// What is missing, in the order in which it is done.
fn plan(pair: &Pair<'_>) -> Vec<Step> {
    let (side, source, target) = match owner_of(pair.provider, pair.consumer) {
        Some(Owner::Provider) => (Side::Consumer, pair.provider, pair.consumer),
        Some(Owner::Consumer) => (Side::Provider, pair.consumer, pair.provider),
        None if pair.claimed == Claimed::No => return unmark_all(pair, None),
        None if pair.provider.is_some() && pair.claimed == Claimed::Yes && pair.may_cross => {
            return vec![Step::Conflict(Conflict::Undetermined)];
        }
        None => return Vec::new(),
    };
    let ours = target.filter(|target| is_ours(pair, side, target, source));
    let live = source.filter(|s| !s.terminating && s.may_cross && pair.may_cross);
    match (live, pair.claimed) {
        (Some(source), Claimed::Yes) => wanted(pair, side, source, target, ours),
        (Some(_), Claimed::Unknown) => Vec::new(),
        // What was left to its side does not go with its source.
        (None, Claimed::Unknown) if pair.orphan => Vec::new(),
        (_, Claimed::No) if pair.orphan => release(pair, side, source, ours),
        (_, Claimed::No) => {
            let mut steps = take_back(side, ours);
            steps.extend(unmark_all(pair, ours.map(|_| side)));
            steps
        }
        (None, _) => take_back(side, ours),
    }
}

fn wanted(
    pair: &Pair<'_>,
    side: Side,
    source: &Copy,
    target: Option<&Copy>,
    ours: Option<&Copy>,
) -> Vec<Step> {
    if side == Side::Provider && pair.marked_for_another {
        let other = source.marks.binding.clone().unwrap_or_default();
        return vec![Step::Conflict(Conflict::OtherBinding(other))];
    }
    let copying = match (target, ours) {
        (None, _) => Some(Step::Create(side)),
        (Some(_), None) => {
            return vec![Step::Conflict(match side {
                Side::Consumer => Conflict::InTheWayOnConsumer,
                Side::Provider => Conflict::InTheWayOnProvider,
            })];
        }
        (_, Some(copy)) if copy.terminating => None,
        (_, Some(copy)) if must_be_new(copy, source) => Some(Step::Delete(side, copy.clone())),
        (_, Some(copy)) if !copy.is_like(source) || !is_marked_copy(pair, side, copy, source) => {
            Some(Step::Update(side, copy.clone()))
        }
        _ => None,
    };
    let marking =
        (!is_marked_source(pair, side, source)).then(|| Step::Mark(side.other(), source.clone()));
    // Of two that want the same source the one that marks it first gets it.
    marking.into_iter().chain(copying).collect()
}

/// The copy goes.
fn take_back(side: Side, ours: Option<&Copy>) -> Vec<Step> {
    let copy = ours.filter(|copy| !copy.terminating);
    let delete = copy.map(|copy| Step::Delete(side, copy.clone()));
    delete.into_iter().collect()
}

/// The copy stays as an object like any other, also for as long as it terminates.
fn release(pair: &Pair<'_>, side: Side, source: Option<&Copy>, ours: Option<&Copy>) -> Vec<Step> {
    let copy = ours.map(|copy| Step::Unmark(side, copy.clone()));
    let mut steps: Vec<Step> = copy.into_iter().collect();
    match (side, source) {
        (Side::Consumer, Some(source)) if source.owner.is_some() && ours.is_some() => {
            steps.push(Step::Unmark(Side::Provider, source.clone()));
        }
        _ => steps.extend(unmark_all(pair, ours.map(|_| side))),
    }
    steps
}

/// What carries our marks loses them, whatever its label says now, but for the copy, which is looked after
/// by itself. The provider's own objects keep the label that says so.
fn unmark_all(pair: &Pair<'_>, but: Option<Side>) -> Vec<Step> {
    let ours = |side: Side, copy: &&Copy| match side {
        Side::Consumer => copy.marks.provider_cluster.as_deref() == Some(pair.provider_cluster),
        Side::Provider => copy.marks.cluster_namespace.as_deref() == Some(pair.cluster_namespace),
    };
    [
        (Side::Provider, pair.provider),
        (Side::Consumer, pair.consumer),
    ]
    .into_iter()
    .filter(|(side, _)| Some(*side) != but)
    .filter_map(|(side, copy)| Some((side, copy.filter(|copy| ours(side, copy))?)))
    .map(|(side, copy)| Step::Unmark(side, copy.clone()))
    .collect()
}

/// The type of a Secret cannot be changed, and what is immutable not at all.
fn must_be_new(copy: &Copy, source: &Copy) -> bool {
    copy.type_ != source.type_ || (copy.immutable && copy.content != source.content)
}

/// Whether the object on that side is our copy: by the mark of the provider or of the consumer, or, for
/// what the original wrote, by the uid of the very source that is there now.
fn is_ours(pair: &Pair<'_>, side: Side, target: &Copy, source: Option<&Copy>) -> bool {
    let made_from = |uid: &Option<String>| source.is_some_and(|s| uid.as_deref() == Some(&*s.uid));
    let marks = &target.marks;
    match side {
        Side::Consumer => {
            target.owner == Some(Owner::Provider)
                && match &marks.provider_cluster {
                    Some(cluster) => cluster == pair.provider_cluster,
                    None => made_from(&marks.provider_uid),
                }
        }
        Side::Provider => match &marks.cluster_namespace {
            Some(namespace) => {
                namespace == pair.cluster_namespace && target.owner != Some(Owner::Provider)
            }
            None => target.owner == Some(Owner::Consumer) && made_from(&marks.consumer_uid),
        },
    }
}

/// Whether the marks of our copy are complete and current.
fn is_marked_copy(pair: &Pair<'_>, side: Side, copy: &Copy, source: &Copy) -> bool {
    let marks = &copy.marks;
    let uid = Some(&*source.uid);
    copy.binding(side) == Some(pair.binding)
        && match side {
            Side::Consumer => {
                marks.provider_uid.as_deref() == uid
                    && marks.provider_cluster.as_deref() == Some(pair.provider_cluster)
            }
            Side::Provider => {
                copy.owner == Some(Owner::Consumer)
                    && marks.consumer_uid.as_deref() == uid
                    && marks.cluster_namespace.as_deref() == Some(pair.cluster_namespace)
            }
        }
}

/// Whether the source is marked as such. `side` is that of the copy.
fn is_marked_source(pair: &Pair<'_>, side: Side, source: &Copy) -> bool {
    match side {
        Side::Consumer => source.owner.is_some(),
        Side::Provider => {
            source.owner == Some(Owner::Consumer)
                && source.marks.provider_cluster.as_deref() == Some(pair.provider_cluster)
                && source.marks.binding.as_deref() == Some(pair.binding)
        }
    }
}

#[cfg(test)]
mod tests;
