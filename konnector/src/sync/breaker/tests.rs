//! Tests of the parent module.

use super::*;

fn share(vanished: usize, living: usize) -> Share {
    Share {
        living,
        vanished,
        dying: 0,
        listed: true,
    }
}

fn holds(member: &Member, vanished: usize, living: usize) -> bool {
    member.update(share(vanished, living), Instant::now());
    member.holds(Instant::now())
}

fn alone() -> Member {
    Breaker::default().join(Instant::now())
}

#[tokio::test(start_paused = true)]
async fn trips_above_both_numbers_only() {
    assert!(!holds(&alone(), 20, 0));
    assert!(holds(&alone(), 21, 0));
    assert!(!holds(&alone(), 30, 70), "thirty of a hundred");
    assert!(holds(&alone(), 31, 69));
    let config = BreakerConfig {
        min_objects: 2,
        percent: 90,
    };
    let other = Breaker::new(config).join(Instant::now());
    assert!(!holds(&other, 9, 1));
    assert!(holds(&other, 10, 1));
}

#[tokio::test(start_paused = true)]
async fn vanishing_one_by_one_trips_it_too() {
    let member = alone();
    (0..20).for_each(|_| member.deleting(true, Instant::now()));
    tokio::time::advance(WINDOW / 2).await;
    assert!(holds(&member, 1, 5));
    let member = alone();
    (0..20).for_each(|_| member.deleting(true, Instant::now()));
    tokio::time::advance(WINDOW * 2).await;
    assert!(!holds(&member, 1, 5));
}

#[tokio::test(start_paused = true)]
async fn whatever_trips_or_releases_it_is_told() {
    let member = alone();
    let mut told = member.breaker.subscribe();
    member.update(share(5, 40), Instant::now());
    assert!(!told.has_changed().unwrap());
    // Copies that are deleted one by one.
    (0..40).for_each(|_| member.deleting(true, Instant::now()));
    assert!(told.has_changed().unwrap() && *told.borrow_and_update());
    member.breaker.release_deletes(true);
    assert!(told.has_changed().unwrap() && !*told.borrow_and_update());
    member.breaker.release_deletes(true);
    assert!(!told.has_changed().unwrap(), "nothing new");
    member.breaker.release_deletes(false);
    assert!(told.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_somebody_released_does_not_count_against_what_vanishes_next() {
    let member = alone();
    assert!(holds(&member, 60, 40));
    member.breaker.release_deletes(true);
    (0..60).for_each(|_| member.deleting(true, Instant::now()));
    assert!(!holds(&member, 0, 40));
    member.breaker.release_deletes(false);
    assert!(!holds(&member, 5, 40));
    assert!(holds(&member, 30, 40));
}

#[tokio::test(start_paused = true)]
async fn it_holds_until_the_objects_are_back_or_somebody_releases_it() {
    let member = alone();
    assert!(holds(&member, 30, 0));
    assert_eq!(member.breaker.held(), 30);
    tokio::time::advance(WINDOW * 2).await;
    assert!(holds(&member, 5, 25), "some are back");
    assert!(!holds(&member, 0, 30), "all are back");
    assert!(holds(&member, 30, 0));
    member.breaker.release_deletes(true);
    assert!(!holds(&member, 30, 0));
    assert_eq!(member.breaker.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_engines_of_a_binding_are_counted_together() {
    let breaker = Breaker::default();
    let (one, other) = (breaker.join(Instant::now()), breaker.join(Instant::now()));
    assert!(
        holds(&one, 25, 5),
        "nobody knows yet how many objects the other has"
    );
    assert_eq!(breaker.held(), 0, "which is no alarm");
    assert!(!holds(&other, 0, 1000), "few of all");
    assert!(!one.holds(Instant::now()));

    let breaker = Breaker::default();
    let (one, other) = (breaker.join(Instant::now()), breaker.join(Instant::now()));
    other.update(share(0, 10), Instant::now());
    assert!(!holds(&one, 15, 0));
    assert!(holds(&other, 15, 0));
    assert!(one.holds(Instant::now()), "too many together");
    drop(other);
    assert!(
        one.holds(Instant::now()),
        "an engine that restarts is no all-clear"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_never_listed_does_not_hold_the_others_for_ever() {
    let breaker = Breaker::default();
    let (one, _other) = (breaker.join(Instant::now()), breaker.join(Instant::now()));
    assert!(holds(&one, 1, 5));
    let due = one.next_due(Instant::now()).expect("it ends by time");
    tokio::time::advance(due - Instant::now()).await;
    assert!(!one.holds(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn many_that_terminate_are_asked_about_and_then_explained() {
    let member = alone();
    let dying = Share {
        dying: 15,
        ..share(0, 30)
    };
    member.update(dying, Instant::now());
    assert!(!member.is_suspicious(Instant::now()));
    (0..6).for_each(|_| member.deleting(false, Instant::now()));
    assert!(member.is_suspicious(Instant::now()));
    assert!(!member.holds(Instant::now()), "they may be meant");
    member.explained(false, Instant::now());
    assert!(!member.is_suspicious(Instant::now()));
    (0..6).for_each(|_| member.deleting(false, Instant::now()));
    member.explained(true, Instant::now());
    assert!(holds(&member, 15, 15));
}

#[tokio::test(start_paused = true)]
async fn what_an_ended_claim_held_holds_nobody_else() {
    let breaker = Breaker::default();
    let (ending, other) = (breaker.join(Instant::now()), breaker.join(Instant::now()));
    assert!(holds(&ending, 40, 10));
    ending.leave(Instant::now());
    assert!(!holds(&other, 1, 0), "one may always go");
    assert_eq!(breaker.held(), 0);
}
