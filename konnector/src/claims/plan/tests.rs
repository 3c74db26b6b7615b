//! Tests of the parent module.

use super::super::copy::Marks;
use super::*;

mod ending;

/// The provider's object where the provider owns it.
fn provider() -> Copy {
    Copy {
        uid: "p-1".into(),
        resource_version: "1".into(),
        owner: Some(Owner::Provider),
        type_: Some("Opaque".into()),
        content: 1,
        metadata: 1,
        ..Copy::default()
    }
}

/// Its copy on the consumer.
fn consumer() -> Copy {
    Copy {
        uid: "c-1".into(),
        marks: Marks {
            provider_cluster: Some("cluster".into()),
            provider_uid: Some("p-1".into()),
            binding: Some("certificates".into()),
            ..Marks::default()
        },
        ..provider()
    }
}

/// The consumer's object where the consumer owns it, marked.
fn own() -> Copy {
    Copy {
        uid: "o-1".into(),
        owner: Some(Owner::Consumer),
        marks: Marks {
            provider_cluster: Some("cluster".into()),
            binding: Some("certificates".into()),
            ..Marks::default()
        },
        ..provider()
    }
}

/// Its copy on the provider.
fn lent() -> Copy {
    Copy {
        uid: "l-1".into(),
        marks: Marks {
            cluster_namespace: Some("tenant".into()),
            consumer_uid: Some("o-1".into()),
            consumer_binding: Some("certificates".into()),
            ..Marks::default()
        },
        ..own()
    }
}

fn unlabelled(copy: Copy) -> Copy {
    Copy {
        owner: None,
        marks: Marks::default(),
        ..copy
    }
}

fn claimed<'a>(provider: Option<&'a Copy>, consumer: Option<&'a Copy>) -> Pair<'a> {
    Pair {
        claimed: Claimed::Yes,
        orphan: false,
        may_cross: true,
        provider_listed: true,
        provider,
        consumer,
        provider_cluster: "cluster",
        cluster_namespace: "tenant",
        binding: "certificates",
        marked_for_another: false,
    }
}

const NO: Claimed = Claimed::No;

#[test]
fn a_claimed_object_is_copied_and_its_source_marked() {
    let fresh = unlabelled(provider());
    assert_eq!(
        plan(&claimed(Some(&fresh), None)),
        [
            Step::Mark(Side::Provider, fresh.clone()),
            Step::Create(Side::Consumer)
        ]
    );
    assert_eq!(plan(&claimed(Some(&provider()), Some(&consumer()))), []);
    let fresh = unlabelled(own());
    assert_eq!(
        plan(&claimed(None, Some(&fresh))),
        [
            Step::Mark(Side::Consumer, fresh.clone()),
            Step::Create(Side::Provider)
        ]
    );
    assert_eq!(plan(&claimed(Some(&lent()), Some(&own()))), []);
}

#[test]
fn two_objects_that_were_there_before_are_a_conflict() {
    let (theirs, mine) = (unlabelled(provider()), unlabelled(own()));
    let mut pair = claimed(Some(&theirs), Some(&mine));
    assert_eq!(plan(&pair), [Step::Conflict(Conflict::Undetermined)]);
    pair.claimed = NO;
    assert_eq!(plan(&pair), []);
}

#[test]
fn a_changed_source_replaces_the_copy() {
    let changed = Copy {
        content: 2,
        ..provider()
    };
    let update = [Step::Update(Side::Consumer, consumer())];
    assert_eq!(plan(&claimed(Some(&changed), Some(&consumer()))), update);
    let recreated = Copy {
        uid: "p-2".into(),
        ..provider()
    };
    assert_eq!(plan(&claimed(Some(&recreated), Some(&consumer()))), update);
    let changed = Copy {
        metadata: 2,
        ..own()
    };
    assert_eq!(
        plan(&claimed(Some(&lent()), Some(&changed))),
        [Step::Update(Side::Provider, lent())]
    );
}

#[test]
fn what_cannot_be_changed_is_made_anew() {
    let tls = Copy {
        type_: Some("kubernetes.io/tls".into()),
        ..provider()
    };
    assert_eq!(
        plan(&claimed(Some(&tls), Some(&consumer()))),
        [Step::Delete(Side::Consumer, consumer())]
    );
    let fixed = Copy {
        immutable: true,
        ..lent()
    };
    let recreated = Copy {
        content: 2,
        ..own()
    };
    assert_eq!(
        plan(&claimed(Some(&fixed), Some(&recreated))),
        [Step::Delete(Side::Provider, fixed.clone())]
    );
    let relabelled = Copy {
        metadata: 2,
        ..own()
    };
    assert_eq!(
        plan(&claimed(Some(&fixed), Some(&relabelled))),
        [Step::Update(Side::Provider, fixed.clone())]
    );
}

#[test]
fn the_copy_goes_with_its_source() {
    let going = Copy {
        terminating: true,
        ..provider()
    };
    for source in [None, Some(&going)] {
        let gone = [Step::Delete(Side::Consumer, consumer())];
        assert_eq!(plan(&claimed(source, Some(&consumer()))), gone);
    }
    let going = Copy {
        terminating: true,
        ..own()
    };
    for source in [None, Some(&going)] {
        let gone = [Step::Delete(Side::Provider, lent())];
        assert_eq!(plan(&claimed(Some(&lent()), source)), gone);
    }
}

#[test]
fn the_copy_goes_with_the_claim_but_only_when_all_have_been_heard() {
    let (provider, consumer) = (provider(), consumer());
    let mut pair = claimed(Some(&provider), Some(&consumer));
    pair.claimed = Claimed::Unknown;
    assert_eq!(plan(&pair), []);
    pair.claimed = NO;
    assert_eq!(
        plan(&pair),
        [Step::Delete(Side::Consumer, consumer.clone())]
    );
    pair.consumer = None;
    assert_eq!(plan(&pair), []);
}

#[test]
fn copies_of_another_provider_are_never_touched() {
    let mut foreign = consumer();
    foreign.marks.provider_cluster = Some("another".into());
    assert_eq!(
        plan(&claimed(Some(&provider()), Some(&foreign))),
        [Step::Conflict(Conflict::InTheWayOnConsumer)]
    );
    assert_eq!(plan(&claimed(None, Some(&foreign))), []);
    let mut pair = claimed(None, Some(&foreign));
    pair.claimed = NO;
    assert_eq!(plan(&pair), []);
}

#[test]
fn copies_of_another_consumer_are_never_touched() {
    let mut foreign = lent();
    foreign.marks.cluster_namespace = Some("another".into());
    assert_eq!(
        plan(&claimed(Some(&foreign), Some(&own()))),
        [Step::Conflict(Conflict::InTheWayOnProvider)]
    );
    let mut pair = claimed(Some(&foreign), None);
    assert_eq!(plan(&pair), []);
    pair.claimed = NO;
    assert_eq!(plan(&pair), []);
}

#[test]
fn the_providers_own_object_is_not_overwritten() {
    let theirs = unlabelled(provider());
    assert_eq!(
        plan(&claimed(Some(&theirs), Some(&own()))),
        [Step::Conflict(Conflict::InTheWayOnProvider)]
    );
}

#[test]
fn a_provider_cannot_take_a_consumers_object_by_a_label() {
    let turned = Copy {
        owner: Some(Owner::Provider),
        ..lent()
    };
    for mine in [own(), unlabelled(own())] {
        assert_eq!(
            plan(&claimed(Some(&turned), Some(&mine))),
            [Step::Conflict(Conflict::InTheWayOnConsumer)]
        );
    }
}

#[test]
fn an_object_that_is_synced_for_another_provider_is_a_conflict() {
    let mut marked = own();
    marked.marks.provider_cluster = Some("another".into());
    marked.marks.binding = Some("other".into());
    let mut pair = claimed(None, Some(&marked));
    pair.marked_for_another = true;
    assert_eq!(
        plan(&pair),
        [Step::Conflict(Conflict::OtherBinding("other".into()))]
    );
    pair.claimed = NO;
    assert_eq!(plan(&pair), [], "its marks are not ours");
    pair.claimed = Claimed::Yes;
    pair.marked_for_another = false;
    assert_eq!(
        plan(&pair)[0],
        Step::Mark(Side::Consumer, marked.clone()),
        "a mark that outlived its binding"
    );
}

#[test]
fn copies_of_the_original_are_taken_over_by_the_objects_uid() {
    let mut original = consumer();
    original.marks = Marks {
        provider_uid: Some("p-1".into()),
        ..Marks::default()
    };
    assert_eq!(
        plan(&claimed(Some(&provider()), Some(&original))),
        [Step::Update(Side::Consumer, original.clone())]
    );
    assert_eq!(plan(&claimed(None, Some(&original))), []);
    let mut original = lent();
    original.marks = Marks {
        consumer_uid: Some("o-1".into()),
        ..Marks::default()
    };
    assert_eq!(
        plan(&claimed(Some(&original), Some(&own()))),
        [Step::Update(Side::Provider, original.clone())]
    );
    assert_eq!(plan(&claimed(Some(&original), None)), []);
}

#[test]
fn what_may_not_cross_is_not_copied_and_an_old_copy_is_taken_back() {
    for from_source in [false, true] {
        let source = Copy {
            may_cross: !from_source,
            ..provider()
        };
        let copy = consumer();
        let mut pair = claimed(Some(&source), None);
        pair.may_cross = from_source;
        assert_eq!(plan(&pair), []);
        pair.consumer = Some(&copy);
        assert_eq!(plan(&pair), [Step::Delete(Side::Consumer, consumer())]);
    }
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

#[test]
fn a_copy_passes_to_another_binding_that_claims_it() {
    let (provider, consumer) = (provider(), consumer());
    let mut pair = claimed(Some(&provider), Some(&consumer));
    pair.binding = "other";
    assert_eq!(
        plan(&pair),
        [Step::Update(Side::Consumer, consumer.clone())]
    );
}

#[test]
fn a_provider_namespace_that_is_not_listed_yet_deletes_nothing() {
    let copy = consumer();
    let mut pair = claimed(None, Some(&copy));
    let gone = vec![Step::Delete(Side::Consumer, consumer())];
    assert_eq!(decide(&pair), Some(gone.clone()));
    pair.provider_listed = false;
    assert_eq!(decide(&pair), None);
    pair.claimed = Claimed::Unknown;
    assert_eq!(decide(&pair), None);
    pair.claimed = NO;
    assert_eq!(
        decide(&pair),
        Some(gone),
        "nobody wants it, whatever there is"
    );
}
