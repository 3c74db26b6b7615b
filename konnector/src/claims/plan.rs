//! What to do about one claimed object. No IO.

use kube_bind_crds::claims::{Owner, owner};

use super::copy::Copy;

/// Both copies and what is known about the claim.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Some bound object refers to it.
    pub claimed: bool,
    /// It is known that no bound object refers to it; not the same as not [`Pair::claimed`] before
    /// all referring objects have been seen.
    pub unclaimed: bool,
    /// Its kind, namespace and name may cross at all.
    pub may_cross: bool,
    /// The provider's copy.
    pub provider: Option<&'a Copy>,
    /// The consumer's copy, if it carries the label of a provider-owned object.
    pub consumer: Option<&'a Copy>,
    /// Uid of the provider's cluster namespace.
    pub provider_cluster: &'a str,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the consumer's copy.
    Create,
    /// Replace the consumer's copy.
    Update(Copy),
    /// Delete the consumer's copy.
    Delete(Copy),
    /// Mark the provider's object as the source.
    Label(Copy),
    /// An object that is not ours is in the way.
    Conflict,
}

/// What is missing, in the order in which it is done.
pub fn plan(pair: &Pair<'_>) -> Vec<Step> {
    let ours = pair.consumer.filter(|consumer| is_ours(consumer, pair));
    let source = pair.provider.filter(|provider| {
        !provider.terminating
            && pair.may_cross
            && owner(Copy::state(pair.provider), Copy::state(pair.consumer))
                == Some(Owner::Provider)
            && provider.owner != Some(Owner::Consumer)
    });
    match (source, pair.consumer) {
        (Some(provider), _) if pair.claimed => wanted(pair, provider, ours),
        // Referred to by nobody that we know of, but not everybody has been heard.
        (Some(_), _) if !pair.unclaimed => Vec::new(),
        _ => match ours {
            Some(copy) if !copy.terminating => vec![Step::Delete(copy.clone())],
            _ => Vec::new(),
        },
    }
}

fn wanted(pair: &Pair<'_>, provider: &Copy, ours: Option<&Copy>) -> Vec<Step> {
    let mut steps = match (pair.consumer, ours) {
        (None, _) => vec![Step::Create],
        (Some(_), None) => return vec![Step::Conflict],
        (Some(copy), _) if copy.terminating => Vec::new(),
        // The type of a Secret cannot be changed.
        (Some(copy), _) if copy.type_ != provider.type_ => vec![Step::Delete(copy.clone())],
        (Some(copy), _) if copy.digest != provider.digest || !names(copy, provider, pair) => {
            vec![Step::Update(copy.clone())]
        }
        _ => Vec::new(),
    };
    if provider.owner.is_none() {
        steps.push(Step::Label(provider.clone()));
    }
    steps
}

/// Whether the consumer's copy was made from this provider: by the provider's uid, or, for what the
/// original wrote, by the uid of the very object that is there now.
fn is_ours(consumer: &Copy, pair: &Pair<'_>) -> bool {
    consumer.owner == Some(Owner::Provider)
        && match &consumer.marker.provider_cluster {
            Some(cluster) => cluster == pair.provider_cluster,
            None => pair
                .provider
                .is_some_and(|p| consumer.marker.provider_uid.as_deref() == Some(&*p.uid)),
        }
}

/// Whether the marks of our copy are complete and current.
fn names(copy: &Copy, provider: &Copy, pair: &Pair<'_>) -> bool {
    copy.marker.provider_uid.as_deref() == Some(&*provider.uid)
        && copy.marker.provider_cluster.as_deref() == Some(pair.provider_cluster)
}

#[cfg(test)]
mod tests {
    use super::super::copy::Marker;
    use super::*;

    fn provider() -> Copy {
        Copy {
            uid: "p-1".into(),
            resource_version: "1".into(),
            owner: Some(Owner::Provider),
            type_: Some("Opaque".into()),
            digest: 1,
            ..Copy::default()
        }
    }

    fn consumer() -> Copy {
        Copy {
            uid: "c-1".into(),
            marker: Marker {
                provider_cluster: Some("cluster".into()),
                provider_uid: Some("p-1".into()),
                binding: Some("certificates".into()),
            },
            ..provider()
        }
    }

    fn claimed<'a>(provider: Option<&'a Copy>, consumer: Option<&'a Copy>) -> Pair<'a> {
        Pair {
            claimed: true,
            unclaimed: false,
            may_cross: true,
            provider,
            consumer,
            provider_cluster: "cluster",
        }
    }

    #[test]
    fn a_claimed_object_is_copied_and_its_source_marked() {
        let fresh = Copy {
            owner: None,
            ..provider()
        };
        assert_eq!(
            plan(&claimed(Some(&fresh), None)),
            [Step::Create, Step::Label(fresh.clone())]
        );
        assert_eq!(plan(&claimed(Some(&provider()), Some(&consumer()))), []);
    }

    #[test]
    fn a_changed_source_replaces_the_copy() {
        let changed = Copy {
            digest: 2,
            ..provider()
        };
        assert_eq!(
            plan(&claimed(Some(&changed), Some(&consumer()))),
            [Step::Update(consumer())]
        );
        let recreated = Copy {
            uid: "p-2".into(),
            ..provider()
        };
        assert_eq!(
            plan(&claimed(Some(&recreated), Some(&consumer()))),
            [Step::Update(consumer())]
        );
    }

    #[test]
    fn another_type_needs_another_object() {
        let tls = Copy {
            type_: Some("kubernetes.io/tls".into()),
            ..provider()
        };
        assert_eq!(
            plan(&claimed(Some(&tls), Some(&consumer()))),
            [Step::Delete(consumer())]
        );
    }

    #[test]
    fn the_copy_goes_with_its_source() {
        let going = Copy {
            terminating: true,
            ..provider()
        };
        for source in [None, Some(&going)] {
            assert_eq!(
                plan(&claimed(source, Some(&consumer()))),
                [Step::Delete(consumer())]
            );
        }
    }

    #[test]
    fn the_copy_goes_with_the_claim_but_only_when_all_have_been_heard() {
        let (provider, consumer) = (provider(), consumer());
        let mut pair = claimed(Some(&provider), Some(&consumer));
        pair.claimed = false;
        assert_eq!(plan(&pair), []);
        pair.unclaimed = true;
        assert_eq!(plan(&pair), [Step::Delete(consumer.clone())]);
        pair.consumer = None;
        assert_eq!(plan(&pair), []);
    }

    #[test]
    fn copies_of_another_provider_are_never_touched() {
        let mut foreign = consumer();
        foreign.marker.provider_cluster = Some("another".into());
        assert_eq!(
            plan(&claimed(Some(&provider()), Some(&foreign))),
            [Step::Conflict]
        );
        assert_eq!(plan(&claimed(None, Some(&foreign))), []);
        let mut pair = claimed(None, Some(&foreign));
        (pair.claimed, pair.unclaimed) = (false, true);
        assert_eq!(plan(&pair), []);
    }

    #[test]
    fn copies_of_the_original_are_taken_over_by_the_objects_uid() {
        let mut original = consumer();
        original.marker.provider_cluster = None;
        assert_eq!(
            plan(&claimed(Some(&provider()), Some(&original))),
            [Step::Update(original.clone())]
        );
        assert_eq!(plan(&claimed(None, Some(&original))), []);
    }

    #[test]
    fn what_may_not_cross_is_not_copied_and_an_old_copy_is_taken_back() {
        let (provider, consumer) = (provider(), consumer());
        let mut pair = claimed(Some(&provider), None);
        pair.may_cross = false;
        assert_eq!(plan(&pair), []);
        pair.consumer = Some(&consumer);
        assert_eq!(plan(&pair), [Step::Delete(consumer.clone())]);
    }

    #[test]
    fn an_object_that_the_consumer_owns_is_left_alone() {
        let theirs = Copy {
            owner: Some(Owner::Consumer),
            ..provider()
        };
        assert_eq!(plan(&claimed(Some(&theirs), None)), []);
    }

    #[test]
    fn a_terminating_copy_is_waited_for() {
        let going = Copy {
            terminating: true,
            ..consumer()
        };
        assert_eq!(plan(&claimed(Some(&provider()), Some(&going))), []);
        assert_eq!(plan(&claimed(None, Some(&going))), []);
    }
}
