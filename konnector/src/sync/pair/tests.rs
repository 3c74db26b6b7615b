//! What is learned of one object, and in which order.

use super::super::entry::Uid;
use super::*;

impl Pair {
    fn see_consumer(&mut self, seen: Consumer) -> bool {
        let version = |consumer: &Consumer| consumer.version;
        see(&mut self.consumer, self.consumer_gone, seen, version)
    }
}

fn consumer(version: u64) -> Consumer {
    Consumer {
        uid: Uid::from(1),
        version: Version(version),
        configuration: Digest(0),
        status: Digest(0),
        terminating: false,
        finalizer: false,
        other_finalizers: Box::default(),
        link: Digest(0),
        problem: Digest(0),
        unreadable: false,
    }
}

/// Events have told of both sides since the job began.
const NEWS: [Version; 2] = [Version(u64::MAX); 2];

#[test]
fn what_a_job_was_answered_counts_unless_something_was_told_meanwhile() {
    let mut pair = Pair::default();
    pair.see_consumer(consumer(9));
    pair.lose_consumer(Version(10));
    let began = pair.known();
    let job = Pair {
        consumer: Some(consumer(4)),
        ..Pair::default()
    };
    let mut told = pair.clone();
    told.lose_consumer(Version(11));
    told.learn(job.clone(), Lost::default(), [true; 2], began, [None, None]);
    assert!(told.consumer.is_none());
    pair.learn(job, Lost::default(), [true; 2], began, [None, None]);
    assert!(pair.consumer.is_some(), "the server was restored");
}

#[test]
fn what_a_job_knew_from_the_start_is_no_answer() {
    let mut pair = Pair::default();
    pair.see_consumer(consumer(9));
    let (job, began) = (pair.clone(), pair.known());
    // A list of a restored server came meanwhile.
    pair.consumer = Some(consumer(4));
    pair.learn(job, Lost::default(), [false; 2], began, [None, None]);
    assert_eq!(pair.consumer, Some(consumer(4)));
}

#[test]
fn what_came_while_a_job_found_nothing_stays() {
    let mut pair = Pair::default();
    let began = pair.known();
    let lost = Lost {
        consumer: true,
        provider: true,
    };
    pair.see_consumer(consumer(13));
    pair.learn(Pair::default(), lost, [true; 2], began, [None, None]);
    assert!(pair.consumer.is_some());
}

#[test]
fn an_entry_never_goes_back_in_time() {
    let mut pair = Pair::default();
    assert!(pair.see_consumer(consumer(5)));
    assert!(!pair.see_consumer(consumer(4)));
    assert!(!pair.lose_consumer(Version(4)));
    assert!(pair.lose_consumer(Version(6)));
    assert!(
        !pair.see_consumer(consumer(5)),
        "an event from before the deletion"
    );
    assert!(pair.see_consumer(consumer(7)), "created anew");
}

#[test]
fn an_absence_from_before_a_restore_does_not_hide_what_comes() {
    let mut pair = Pair::default();
    pair.see_consumer(consumer(15));
    pair.lose_consumer(Version(16));
    pair.consumer = Some(consumer(5));
    assert!(pair.lose_consumer(Version(8)));
    assert!(pair.see_consumer(consumer(9)));
}

#[test]
fn a_job_does_not_bring_back_what_was_deleted_meanwhile() {
    let mut pair = Pair::default();
    pair.see_consumer(consumer(5));
    let mut job = pair.clone();
    job.see_consumer(consumer(6));
    pair.lose_consumer(Version(7));
    pair.learn(job, Lost::default(), [true; 2], NEWS, [None, None]);
    assert!(pair.consumer.is_none());
}

#[test]
fn a_list_overrules_what_was_known_when_it_was_asked_for() {
    let list = Asked { known: Version(9) };
    let mut pair = Pair::default();
    pair.see_consumer(consumer(9));
    let changed = Consumer {
        configuration: Digest(1),
        ..consumer(9)
    };
    assert!(
        !pair.is_listed_news_of_consumer(&consumer(9), list),
        "the same"
    );
    assert!(
        pair.is_listed_news_of_consumer(&changed, list),
        "another state, on a restored server"
    );
    assert!(
        pair.is_listed_news_of_consumer(&consumer(4), list),
        "restored"
    );
    assert!(!pair.is_listed_news_of_consumer(&consumer(4), Asked { known: Version(8) }));
    // Gone from a restored server, and made anew there before its versions have caught up.
    assert!(pair.miss_consumer(Version(5), list));
    assert!(pair.see_consumer(consumer(6)));
    // Our own write after the question is not in the list.
    pair.see_consumer(consumer(12));
    assert!(!pair.miss_consumer(Version(10), list));
}

#[test]
fn a_job_that_began_before_a_list_does_not_bring_back_what_was_restored_away() {
    let list = Some(Asked { known: Version(9) });
    let mut pair = Pair::default();
    pair.see_consumer(consumer(4));
    let mut job = pair.clone();
    job.see_consumer(consumer(9));
    pair.learn(job.clone(), Lost::default(), [true; 2], NEWS, [list, None]);
    assert_eq!(pair.consumer.as_ref().map(|c| c.version), Some(Version(4)));
    job.see_consumer(consumer(10));
    pair.learn(job, Lost::default(), [true; 2], NEWS, [list, None]);
    assert_eq!(pair.consumer.as_ref().map(|c| c.version), Some(Version(10)));
}

#[test]
fn a_job_that_never_saw_a_side_knows_nothing_about_it() {
    let mut pair = Pair::default();
    let job = pair.clone();
    pair.see_consumer(consumer(5));
    pair.learn(job, Lost::default(), [true; 2], NEWS, [None, None]);
    assert!(pair.consumer.is_some());
}
