//! Which bindings a bundle makes and unmakes, and which wait. No IO.
//!
//! Unmaking a binding takes its objects away, so what is missing from a list is believed only when it
//! stays missing, the list is not empty, and most of the others are still there: a provider that was
//! reset, restored or replaced lists less than it should.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube_bind_crds::api::{APIServiceBinding, APIServiceBindingBundle, is_owner_of_kind};
use kube_bind_crds::names::ANNOTATION_PROVIDER_CLUSTER;
use kube_bind_crds::switches::{self, Acceptance, Invalid};

use super::offer::Offer;

/// Since when the exports of bindings are gone.
pub type Gone = BTreeMap<String, Instant>;

/// A binding to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Its name.
    pub name: String,
    /// What is deleted is what was looked at.
    pub uid: String,
    /// The same.
    pub resource_version: String,
}

/// What a person has to agree to, and its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// What, in words.
    pub what: Vec<String>,
    /// What the annotation has to say.
    pub digest: String,
}

/// What to do about a bundle whose exports are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bindings to make.
    pub create: Vec<String>,
    /// Bindings whose exports are surely gone.
    pub delete: Vec<Doomed>,
    /// Exports whose name is taken by a binding that is not this bundle's.
    pub foreign: Vec<String>,
    /// Exports that wait for a person.
    pub waiting: Option<Waiting>,
    /// Bindings that are kept although their exports are gone, because too many are.
    pub held: Vec<String>,
    /// The kubeconfig leads to another provider than before: nothing else is done until a person agrees.
    pub other_provider: Option<Waiting>,
    /// Bindings inherit that what is new waits.
    pub manual: bool,
    /// The acceptance of a person has been followed.
    pub accepted: bool,
    /// When to look again because something is gone for too short a time.
    pub again: Option<Duration>,
}

/// What the decision rests on.
pub struct Seen<'a> {
    /// The bundle.
    pub bundle: &'a APIServiceBindingBundle,
    /// Uid of the provider's cluster namespace.
    pub provider: &'a str,
    /// What it exports now.
    pub offers: &'a [Offer],
    /// All bindings of the consumer.
    pub bindings: &'a [std::sync::Arc<APIServiceBinding>],
    /// How long an export must be gone before its binding goes.
    pub patience: Duration,
    /// Time.
    pub now: Instant,
}

/// What to do; remembers in `gone` since when exports are gone.
pub fn plan(seen: &Seen<'_>, gone: &mut Gone) -> Result<Plan, Invalid> {
    let annotations = seen.bundle.annotations();
    let manual = switches::acceptance(annotations)? == Acceptance::Manual;
    let known = annotations.get(ANNOTATION_PROVIDER_CLUSTER);
    let mut plan = Plan {
        manual,
        ..Plan::default()
    };
    let another = known.is_some_and(|known| known != seen.provider);
    if another {
        let digest = switches::digest([seen.provider]);
        if !switches::accepts(annotations, &digest) {
            plan.other_provider = Some(Waiting {
                what: vec![seen.provider.to_owned()],
                digest,
            });
            return Ok(plan);
        }
        plan.accepted = true;
    }
    let missing = missing(seen);
    let first = known.is_none() || another;
    let digest = switches::digest(missing.iter().map(|offer| &offer.text));
    let agreed = switches::accepts(annotations, &digest);
    if !manual || first || agreed {
        plan.create = missing.iter().map(|offer| offer.name.clone()).collect();
        plan.accepted |= agreed;
    } else if !missing.is_empty() {
        plan.waiting = Some(Waiting {
            what: missing
                .iter()
                .map(|offer| format!("{} ({})", offer.name, offer.words))
                .collect(),
            digest,
        });
    }
    plan.foreign = foreign(seen);
    remove(seen, gone, &mut plan);
    Ok(plan)
}

/// Whether a binding is this bundle's.
pub fn is_owned(binding: &APIServiceBinding, bundle: &APIServiceBindingBundle) -> bool {
    let uid = bundle.metadata.uid.as_deref();
    binding.owner_references().iter().any(|owner| {
        owner.controller == Some(true)
            && is_owner_of_kind::<APIServiceBindingBundle>(owner)
            && Some(&*owner.uid) == uid
    })
}

/// Exports without a binding of any kind.
fn missing<'a>(seen: &Seen<'a>) -> Vec<&'a Offer> {
    let taken: BTreeSet<String> = seen.bindings.iter().map(|b| b.name_any()).collect();
    let mut missing: Vec<&Offer> = seen
        .offers
        .iter()
        .filter(|offer| !taken.contains(&offer.name))
        .collect();
    missing.sort();
    missing
}

/// Exports whose name somebody else's binding has. One with the same kubeconfig is as good as ours.
fn foreign(seen: &Seen<'_>) -> Vec<String> {
    let secret = &seen.bundle.spec.kubeconfig_secret_ref;
    let mut names: Vec<String> = seen
        .bindings
        .iter()
        .filter(|binding| {
            !is_owned(binding, seen.bundle) && binding.spec.kubeconfig_secret_ref != *secret
        })
        .map(|binding| binding.name_any())
        .filter(|name| seen.offers.iter().any(|offer| offer.name == *name))
        .collect();
    names.sort();
    names
}

fn remove(seen: &Seen<'_>, gone: &mut Gone, plan: &mut Plan) {
    let exported: BTreeSet<&str> = seen.offers.iter().map(|offer| &*offer.name).collect();
    let (there, absent): (Vec<_>, Vec<_>) = seen
        .bindings
        .iter()
        .filter(|binding| is_owned(binding, seen.bundle))
        .partition(|binding| exported.contains(&*binding.name_any()));
    let mut absent: Vec<_> = absent
        .into_iter()
        .filter(|binding| binding.metadata.deletion_timestamp.is_none())
        .collect();
    absent.sort_by_key(|binding| binding.name_any());
    gone.retain(|name, _| absent.iter().any(|binding| binding.name_any() == *name));
    for binding in &absent {
        gone.entry(binding.name_any()).or_insert(seen.now);
    }
    if seen.offers.is_empty() || absent.len() > there.len() {
        plan.held = absent.iter().map(|binding| binding.name_any()).collect();
        return;
    }
    for binding in absent {
        let name = binding.name_any();
        let since = gone.get(&name).copied().unwrap_or(seen.now);
        let left = seen
            .patience
            .saturating_sub(seen.now.saturating_duration_since(since));
        if left.is_zero() {
            plan.delete.push(Doomed {
                name,
                uid: binding.uid().unwrap_or_default(),
                resource_version: binding.resource_version().unwrap_or_default(),
            });
        } else {
            plan.again = Some(plan.again.map_or(left, |again| again.min(left)));
        }
    }
}

#[cfg(test)]
mod tests;
