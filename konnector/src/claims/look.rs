//! Puts together what is known about one name and says what is missing. No IO.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use kube_bind_crds::claims::{ObjectRef as Named, Owner, may_cross};
use kube_bind_crds::switches::{DeletionPolicy, deletion_policy};

use super::ClaimsEngine;
use super::copy::Copy;
use super::index::Index;
use super::plan::{Claimed, Pair, Step, decide, owner_of};
use super::rules::Rules;
use super::state::Side;
use super::unheard::Heir;
use crate::sync::{Key, Namespaces, ObjectRef};

/// What there is to do for one key.
pub(super) struct Work {
    pub steps: Vec<Step>,
    pub service_namespace: String,
    pub source: Option<Copy>,
    /// In whose name it is done.
    pub binding: String,
    /// All that claim it.
    pub claimants: BTreeSet<String>,
    pub referrers: Vec<ObjectRef>,
}

/// What is known of the consumer's object of a key.
pub(super) enum Seen {
    /// What the watches tell.
    Watched,
    /// No watch sees it, and this was found.
    Apart(Option<Box<Copy>>),
}

/// Who claims one name, and by which objects.
pub(super) type Claimants<'a> = BTreeMap<&'a str, Vec<&'a ObjectRef>>;

impl ClaimsEngine {
    /// What is missing for one key, `None` while not enough is known or nothing may be written.
    pub(super) fn look(&self, key: &Key, seen: &Seen) -> Option<Work> {
        let service_namespace = self.provider.namespaces.to_provider(&key.namespace);
        let (rules, index) = (self.rules(), self.index());
        let mut state = self.state();
        // Whatever is claimed by now is seen by a watch soon.
        let is_known = match seen {
            Seen::Watched => state.knows(key),
            Seen::Apart(_) => !rules.cover(key),
        };
        if !is_known {
            return None;
        }
        let provider_key = service_namespace
            .as_ref()
            .map(|namespace| Key::new(namespace, &key.name));
        let listed = service_namespace
            .as_ref()
            .is_some_and(|namespace| state.provider_listed.contains(namespace));
        let consumer = match seen {
            Seen::Watched => state.consumer.get(key),
            Seen::Apart(found) => found.as_deref(),
        };
        let provider = provider_key
            .as_ref()
            .filter(|_| listed)
            .and_then(|key| state.provider.get(key));
        let owner = owner_of(provider, consumer);
        let sources: Vec<&Copy> = match owner {
            Some(Owner::Provider) => provider.into_iter().collect(),
            Some(Owner::Consumer) => consumer.into_iter().collect(),
            None => provider.into_iter().chain(consumer).collect(),
        };
        let mut claimants = claimants(&rules, &index, key, &sources);
        let makers = self.makers(consumer, provider);
        // Where only one side has something nothing is lost: others can claim it as they find it.
        let is_unmapped = service_namespace.is_none() && self.provider.namespaces.is_listed();
        let is_alone = matches!(seen, Seen::Watched)
            && (listed || is_unmapped)
            && (consumer.is_none() || provider.is_none());
        let last = match claimants.is_empty() && !is_alone {
            true => self.unheard_claims(&rules),
            false => Rules::default(),
        };
        // What is half an heir's already becomes it wholly; what is so, is left alone.
        let (half, known): (Vec<&str>, Vec<&str>) = makers.iter().partition(|m| last.knows(m));
        let mut claimed = self.claimed(&rules, &index, key, &claimants, &known);
        if claimed == Claimed::No {
            match (self.heir(&last, key, &sources, half.first()), seen) {
                (Heir::Nobody, _) => {}
                (Heir::Binding(heir), Seen::Watched) => {
                    claimed = Claimed::Yes;
                    claimants.insert(heir, Vec::new());
                }
                // Of what no watch sees too little is known to write it.
                (Heir::Binding(_) | Heir::Later, _) => claimed = Claimed::Unknown,
            }
        }
        let is_left = |maker: &&str| rules.is_orphaning(maker) || self.is_gone(&rules, maker);
        let crosses = may_cross(
            self.kind.plural,
            None,
            Named {
                namespace: &key.namespace,
                name: &key.name,
                labels: None,
            },
        );
        let binding = makers
            .iter()
            .find(|maker| claimants.is_empty() || claimants.contains_key(*maker))
            .copied()
            .or_else(|| claimants.keys().next().copied())
            .unwrap_or_default();
        if rules.is_suspended(binding) {
            if matches!(seen, Seen::Apart(_)) {
                // Others do not wait for it.
                state.cleared.insert(key.clone());
                self.tell_waiting();
            }
            return None;
        }
        let decided = decide(&Pair {
            claimed,
            orphan: makers.iter().any(is_left),
            may_cross: crosses,
            provider_listed: listed,
            provider,
            consumer,
            provider_cluster: &self.provider.uid,
            cluster_namespace: &self.provider.cluster_namespace,
            binding,
            marked_for_another: consumer.is_some_and(|copy| self.is_marked_for_another(copy)),
        });
        let Some(mut steps) = decided else {
            let wanted = claimed == Claimed::Yes
                && owner == Some(Owner::Consumer)
                && crosses
                && consumer.is_some_and(|c| c.may_cross && !c.terminating);
            if wanted && service_namespace.is_none() {
                // The mapping's arrival brings the next look.
                self.provider.namespaces.request(&key.namespace);
            }
            return None;
        };
        if matches!(seen, Seen::Apart(_)) {
            // It is the provider's object that brings us here again.
            steps.sort_by_key(|step| step.side() == Some(Side::Provider));
        }
        let work = Work {
            steps,
            service_namespace: service_namespace.unwrap_or_default(),
            source: match owner {
                Some(Owner::Provider) => provider.cloned(),
                Some(Owner::Consumer) => consumer.cloned(),
                None => None,
            },
            binding: binding.to_owned(),
            referrers: claimants.values().flatten().copied().cloned().collect(),
            claimants: claimants.keys().map(|name| (*name).to_owned()).collect(),
        };
        let is_known = listed || provider_key.is_none();
        let (here, there) = (consumer.is_some(), provider.is_some());
        if is_known {
            state.settle(key, here, there);
        }
        Some(work)
    }

    /// The bindings that the objects of one name carry the marks of, for this provider.
    pub(super) fn makers<'a>(
        &self,
        consumer: Option<&'a Copy>,
        provider: Option<&'a Copy>,
    ) -> Vec<&'a str> {
        let consumer = consumer
            .filter(|copy| copy.marks.provider_cluster.as_deref() == Some(&*self.provider.uid));
        let provider = provider.filter(|copy| {
            copy.marks.cluster_namespace.as_deref() == Some(&*self.provider.cluster_namespace)
        });
        let on_consumer = consumer.and_then(|copy| copy.binding(Side::Consumer));
        let on_provider = provider.and_then(|copy| copy.binding(Side::Provider));
        on_consumer.into_iter().chain(on_provider).collect()
    }

    fn claimed(
        &self,
        rules: &Rules,
        index: &Index,
        key: &Key,
        claimants: &Claimants<'_>,
        makers: &[&str],
    ) -> Claimed {
        if !claimants.is_empty() {
            return Claimed::Yes;
        }
        // The binding that made the copy may not have been heard at all yet, and a copy that only the
        // original marked does not say which one that is.
        let is_known = |maker: &&str| self.is_accounted_for(rules, maker);
        if !self.ctx.bindings_listed.is_set()
            || !index.complete()
            || makers.is_empty()
            || !makers.iter().all(is_known)
        {
            return Claimed::Unknown;
        }
        let stays = |maker: &&str| rules.leaves_alone(maker, &key.namespace);
        if makers.iter().any(stays) {
            return Claimed::Unknown;
        }
        Claimed::No
    }

    /// Whether it is known of a binding what it claims here, or that it claims nothing.
    pub(super) fn is_accounted_for(&self, rules: &Rules, binding: &str) -> bool {
        rules.knows(binding) || self.is_leaving(binding) || self.claims_nothing(binding)
    }

    /// A binding that is gone claims nothing, and neither does one that takes everything away as it
    /// goes. One that leaves everything where it is says so to us first, and so does one that claimed such
    /// objects when it comes to them: until then it may be suspended, or need them.
    pub(super) fn is_leaving(&self, binding: &str) -> bool {
        let bindings = self.ctx.bindings.state();
        let found = bindings.iter().find(|b| b.name_any() == binding);
        found.is_none_or(|b| {
            b.metadata.deletion_timestamp.is_some()
                && deletion_policy(b.annotations()) == Ok(DeletionPolicy::Delete)
                && self.recorded(b).is_none()
        })
    }

    /// A binding that took everything away did not end before that was done. What still has the marks of
    /// one that is gone was let go while one of the clusters was away: it is not ours any more.
    fn is_gone(&self, rules: &Rules, binding: &str) -> bool {
        let bindings = self.ctx.bindings.state();
        !rules.knows(binding) && !bindings.iter().any(|b| b.name_any() == binding)
    }

    /// Whether an object of the consumer is synced for a binding to another provider. A mark that
    /// outlived its binding means nothing.
    fn is_marked_for_another(&self, copy: &Copy) -> bool {
        let marks = &copy.marks;
        let other = marks
            .provider_cluster
            .as_ref()
            .is_some_and(|cluster| *cluster != self.provider.uid);
        other
            && marks.binding.as_ref().is_none_or(|binding| {
                let bindings = self.ctx.bindings.state();
                bindings.iter().any(|b| b.name_any() == *binding)
            })
    }
}

pub(super) fn claimants<'a>(
    rules: &'a Rules,
    index: &'a Index,
    key: &'a Key,
    sources: &[&'a Copy],
) -> Claimants<'a> {
    let mut all: Claimants<'_> = BTreeMap::new();
    for binding in selected(rules, key, sources) {
        all.entry(binding).or_default();
    }
    for (binding, object) in index.referrers(&key.namespace, &key.name) {
        all.entry(binding).or_default().push(object);
    }
    all.retain(|binding, _| rules.allows(binding, &key.namespace));
    all
}

/// Bindings that claim a name by itself or by its labels.
pub(super) fn selected<'a>(
    rules: &'a Rules,
    key: &'a Key,
    sources: &[&'a Copy],
) -> impl Iterator<Item = &'a str> {
    let labelled = sources.iter().flat_map(|source| &source.labelled);
    // It may have matched what a binding had on record, and those labels are not what it claims by now.
    // Other labels than on record are matched anew.
    let labelled = labelled.filter(|binding| rules.has_labels(binding));
    let labelled: Vec<&str> = labelled.map(String::as_str).collect();
    let all = labelled.into_iter().chain(rules.naming(key));
    all.filter(|binding| rules.allows(binding, &key.namespace))
}

#[cfg(test)]
mod tests;
