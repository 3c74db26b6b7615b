//! What becomes of a pair that nobody claims any more.

use super::*;

#[test]
fn an_unclaimed_source_keeps_all_but_our_marks() {
    let (lent, own) = (lent(), own());
    let mut pair = claimed(Some(&lent), Some(&own));
    pair.claimed = NO;
    assert_eq!(
        plan(&pair),
        [
            Step::Delete(Side::Provider, lent.clone()),
            Step::Unmark(Side::Consumer, own.clone())
        ]
    );
    let plain = unlabelled(own.clone());
    let mut pair = claimed(None, Some(&plain));
    pair.claimed = NO;
    assert_eq!(plan(&pair), []);
}

#[test]
fn orphaned_copies_stay_without_our_marks() {
    let (lent, own) = (lent(), own());
    let mut pair = claimed(Some(&lent), Some(&own));
    (pair.claimed, pair.orphan) = (NO, true);
    assert_eq!(
        plan(&pair),
        [
            Step::Unmark(Side::Provider, lent.clone()),
            Step::Unmark(Side::Consumer, own.clone())
        ]
    );
    let (provider, consumer) = (provider(), consumer());
    let mut pair = claimed(Some(&provider), Some(&consumer));
    (pair.claimed, pair.orphan) = (NO, true);
    assert_eq!(
        plan(&pair),
        [
            Step::Unmark(Side::Consumer, consumer.clone()),
            Step::Unmark(Side::Provider, provider.clone())
        ]
    );
}

#[test]
fn what_terminates_loses_our_marks_too_and_keeps_its_finalizers_for_as_long_as_it_likes() {
    let going = |copy: Copy| Copy {
        terminating: true,
        ..copy
    };
    let (lent, own) = (going(lent()), going(own()));
    let mut pair = claimed(Some(&lent), Some(&own));
    (pair.claimed, pair.orphan) = (NO, true);
    let both = [
        Step::Unmark(Side::Provider, lent.clone()),
        Step::Unmark(Side::Consumer, own.clone()),
    ];
    assert_eq!(plan(&pair), both);
    pair.orphan = false;
    assert_eq!(plan(&pair), both[1..], "the copy is waited for");
    let (provider, consumer) = (provider(), going(consumer()));
    let mut pair = claimed(Some(&provider), Some(&consumer));
    (pair.claimed, pair.orphan) = (NO, true);
    assert_eq!(
        plan(&pair)[0],
        Step::Unmark(Side::Consumer, consumer.clone())
    );
}

#[test]
fn marks_of_ours_go_with_the_claim_whatever_the_labels_say_by_then() {
    let turned = Copy {
        owner: Some(Owner::Provider),
        ..lent()
    };
    let bare = |copy: Copy| Copy {
        owner: None,
        ..copy
    };
    for (theirs, mine) in [(turned, own()), (bare(lent()), bare(own()))] {
        for orphan in [false, true] {
            let mut pair = claimed(Some(&theirs), Some(&mine));
            (pair.claimed, pair.orphan) = (NO, orphan);
            let steps = plan(&pair);
            for step in [
                Step::Unmark(Side::Provider, theirs.clone()),
                Step::Unmark(Side::Consumer, mine.clone()),
            ] {
                assert!(steps.contains(&step), "{orphan} {steps:?}");
            }
            assert_eq!(steps.len(), 2, "nothing of another owner is deleted");
        }
    }
}

#[test]
fn a_copy_that_was_left_behind_does_not_go_with_its_source() {
    let lent = lent();
    let mut pair = claimed(Some(&lent), None);
    (pair.claimed, pair.orphan) = (Claimed::Unknown, true);
    assert_eq!(plan(&pair), []);
    pair.claimed = NO;
    assert_eq!(plan(&pair), [Step::Unmark(Side::Provider, lent.clone())]);
}
