//! One line per situation.

use kube_bind_crds::digest::Digest;

use super::super::entry::{Uid, Version};
use super::super::pair::{Refused, Settled};
use super::*;

fn consumer() -> Consumer {
    Consumer {
        uid: Uid::from(1),
        version: Version(1),
        configuration: Digest(10),
        status: Digest(20),
        terminating: false,
        finalizer: true,
        other_finalizers: Box::default(),
        link: form::link("p", &Uid::from(2).to_string()),
        problem: Digest(0),
        unreadable: false,
    }
}

fn provider() -> Provider {
    Provider {
        uid: Uid::from(2),
        version: Version(1),
        owned: Digest(10),
        status: Digest(20),
        terminating: false,
        owner: Owner::Ours(Uid::from(1)),
        adopt: false,
        unreadable: false,
    }
}

fn rules() -> Rules {
    Rules {
        target: Target::At(Key::new("p", "a")),
        fate: Fate::Vanished,
        hold: false,
        retry: false,
        overdue: false,
        patient: false,
    }
}

fn pair(consumer: Option<Consumer>, provider: Option<Provider>) -> Pair {
    Pair {
        consumer,
        provider,
        ..Pair::default()
    }
}

fn steps(consumer: Option<Consumer>, provider: Option<Provider>) -> Vec<Step> {
    plan(&pair(consumer, provider), &rules())
}

fn terminating(mut consumer: Consumer) -> Consumer {
    consumer.terminating = true;
    consumer
}

#[test]
fn in_sync_means_nothing_to_do() {
    assert_eq!(steps(Some(consumer()), Some(provider())), []);
    assert_eq!(steps(None, None), []);
}

#[test]
fn the_mark_comes_before_the_copy() {
    let fresh = Consumer {
        finalizer: false,
        link: Digest(0),
        ..consumer()
    };
    assert_eq!(
        steps(Some(fresh), None),
        [Step::Mark, Step::Create, Step::Annotate]
    );
    assert_eq!(
        steps(Some(consumer()), None),
        [Step::Create, Step::Annotate]
    );
}

#[test]
fn whoever_has_not_waited_for_long_believes_those_who_have() {
    let waiting = Rules {
        target: Target::Waiting,
        ..rules()
    };
    let told = Consumer {
        finalizer: false,
        link: Digest(0),
        problem: form::problem(Some(WAITING)),
        ..consumer()
    };
    let pair = pair(Some(told), None);
    assert_eq!(plan(&pair, &waiting), []);
    // There is a namespace now.
    assert_eq!(
        plan(&pair, &rules()),
        [Step::Mark, Step::Create, Step::Annotate]
    );
}

#[test]
fn each_difference_has_its_step() {
    let drifted = Provider {
        owned: Digest(11),
        ..provider()
    };
    assert_eq!(
        steps(Some(consumer()), Some(drifted.clone())),
        [Step::Change]
    );
    let original = Provider {
        adopt: true,
        ..drifted
    };
    assert_eq!(
        steps(Some(consumer()), Some(original)),
        [Step::Adopt, Step::Change]
    );
    let reported = Provider {
        status: Digest(21),
        ..provider()
    };
    assert_eq!(steps(Some(consumer()), Some(reported)), [Step::Status]);
    let unlinked = Consumer {
        link: Digest(0),
        ..consumer()
    };
    assert_eq!(steps(Some(unlinked), Some(provider())), [Step::Annotate]);
    let unmarked = Consumer {
        finalizer: false,
        ..consumer()
    };
    assert_eq!(steps(Some(unmarked), Some(provider())), [Step::Annotate]);
    let troubled = Consumer {
        problem: Digest(5),
        ..consumer()
    };
    assert_eq!(steps(Some(troubled), Some(provider())), [Step::Annotate]);
}

fn differing(configuration: u64, owned: u64) -> Settled {
    Settled {
        configuration: Some((Digest(configuration), Digest(owned))),
        ..Settled::default()
    }
}

#[test]
fn what_was_settled_stays_settled_until_a_side_changes() {
    let mut pair = pair(
        Some(consumer()),
        Some(Provider {
            owned: Digest(11),
            ..provider()
        }),
    );
    pair.settle(differing(10, 11));
    assert_eq!(plan(&pair, &rules()), []);
    pair.settle(differing(9, 11));
    assert_eq!(plan(&pair, &rules()), [Step::Change]);
}

#[test]
fn deletion_goes_copy_first_and_waits_for_it() {
    assert_eq!(
        steps(Some(terminating(consumer())), Some(provider())),
        [Step::Delete]
    );
    let going = Provider {
        terminating: true,
        ..provider()
    };
    assert_eq!(steps(Some(terminating(consumer())), Some(going)), []);
    assert_eq!(steps(Some(terminating(consumer())), None), [Step::Release]);
    let released = Consumer {
        finalizer: false,
        ..terminating(consumer())
    };
    assert_eq!(steps(Some(released), None), []);
}

#[test]
fn without_the_way_to_the_copy_nothing_is_released() {
    let lost = Rules {
        target: Target::Waiting,
        ..rules()
    };
    assert_eq!(plan(&pair(Some(terminating(consumer())), None), &lost), []);
}

#[test]
fn foreign_objects_are_neither_written_nor_deleted() {
    let foreign = Provider {
        owner: Owner::Foreign,
        ..provider()
    };
    assert_eq!(steps(None, Some(foreign.clone())), []);
    assert_eq!(
        steps(Some(consumer()), Some(foreign.clone())),
        [Step::Annotate]
    );
    assert_eq!(
        steps(Some(terminating(consumer())), Some(foreign)),
        [Step::Release]
    );
}

#[test]
fn orphans_are_deleted_unless_too_many_vanished() {
    assert_eq!(steps(None, Some(provider())), [Step::Delete]);
    let hold = Rules {
        hold: true,
        ..rules()
    };
    assert_eq!(plan(&pair(None, Some(provider())), &hold), []);
}

#[test]
fn the_copy_of_a_deleted_object_goes_and_that_of_a_vanished_one_has_a_successor() {
    let older = Provider {
        owner: Owner::Ours(Uid::from(9)),
        ..provider()
    };
    let pair = pair(Some(consumer()), Some(older));
    let takes_over = [Step::Change, Step::Annotate];
    for hold in [false, true] {
        let rules = Rules { hold, ..rules() };
        assert_eq!(plan(&pair, &rules), takes_over);
        let meant = Rules {
            fate: Fate::Meant,
            ..rules
        };
        assert_eq!(plan(&pair, &meant), [Step::Delete]);
    }
    let mut going = pair;
    going.consumer.as_mut().unwrap().terminating = true;
    let held = Rules {
        hold: true,
        ..rules()
    };
    assert_eq!(plan(&going, &held), [Step::Release], "it waits for nobody");
}

#[test]
fn a_terminating_copy_is_waited_for_but_its_status_is_shown() {
    let going = Provider {
        terminating: true,
        owned: Digest(11),
        status: Digest(21),
        ..provider()
    };
    assert_eq!(steps(Some(consumer()), Some(going)), [Step::Status]);
}

#[test]
fn a_refusal_is_shown_and_tried_again_only_when_due_or_changed() {
    let problem = Problem {
        kind: ProblemKind::Rejected,
        message: "no".to_owned(),
    };
    let mut refused = pair(Some(consumer()), None);
    refused.refused = Some(Box::new(Refused {
        configuration: Digest(10),
        problem,
    }));
    assert_eq!(plan(&refused, &rules()), [Step::Annotate]);
    let retry = Rules {
        retry: true,
        ..rules()
    };
    assert_eq!(plan(&refused, &retry), [Step::Create, Step::Annotate]);
    refused.consumer = Some(Consumer {
        configuration: Digest(11),
        ..consumer()
    });
    assert_eq!(plan(&refused, &rules()), [Step::Create, Step::Annotate]);
}
