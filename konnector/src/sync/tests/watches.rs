//! What the state makes of watches that fail, lag or come later.

use std::sync::Arc;
use std::time::Duration;

use kube_bind_crds::names;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::cluster::{Error, WatchEvent, WatchScope};
use super::super::execute::{Done, Finished, Job, Verdict};
use super::super::form::Form;
use super::super::pair::Lost;
use super::super::plan::{Step, plan};
use super::super::state::State;
use super::world::{CLUSTER_NAMESPACE, World, consumer_key, provider_key, widget};

fn scope(namespace: &str) -> WatchScope {
    WatchScope::Namespace(format!("{CLUSTER_NAMESPACE}-{namespace}"))
}

pub(super) fn list_end(version: u64) -> WatchEvent {
    WatchEvent::ListEnd {
        resource_version: version.to_string(),
    }
}

fn begin() -> WatchEvent {
    WatchEvent::ListBegin {
        known: String::new(),
    }
}

fn refused() -> WatchEvent {
    WatchEvent::Failing(Error::Unavailable {
        message: "refused".into(),
        retry_after: None,
    })
}

/// What a job says that could do nothing.
fn unchanged(job: Job) -> Finished {
    Finished {
        key: job.key,
        pair: job.pair,
        lost: Lost::default(),
        bodies: [None, None],
        verdict: Verdict::Unfinished,
        done: Done::default(),
        epochs: job.epochs,
        known: job.known,
        unsure: false,
    }
}

/// A state that has listed both sides and found nothing.
pub(super) fn listed(world: &World) -> State {
    let (config, ports) = world.parts();
    let form = Arc::new(Form::new(&config));
    let mut state = State::new(&config, &ports, form, Instant::now());
    let now = Instant::now();
    for scope in state.rescope(now).0 {
        for event in [begin(), list_end(1), WatchEvent::Watching] {
            state.on_provider(&scope, event, now);
        }
    }
    for event in [begin(), list_end(1), WatchEvent::Watching] {
        state.on_consumer(event, now);
    }
    assert!(state.counts().listed);
    state
}

pub(super) fn at(version: u64) -> Value {
    let mut object = widget("a");
    object["metadata"]["uid"] = "u".into();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object
}

#[tokio::test(start_paused = true)]
async fn a_list_that_began_before_does_not_bring_back_what_is_gone() {
    let mut state = listed(&World::new());
    let now = Instant::now();
    state.on_consumer(WatchEvent::Applied(at(5)), now);
    state.on_consumer(begin(), now);
    state.on_consumer(WatchEvent::Deleted(at(7)), now);
    state.on_consumer(WatchEvent::Listed(at(5)), now);
    assert_eq!(state.counts().objects, 0);
    state.on_consumer(list_end(6), now);
    assert_eq!(state.counts().objects, 0);
    assert!(state.next_job(now).is_none());
}

#[tokio::test(start_paused = true)]
async fn one_watch_that_fails_is_not_hidden_by_another_that_works() {
    let world = World::new();
    world.namespaces.map("other");
    let mut state = listed(&world);
    let now = Instant::now();
    state.on_provider(&scope("team"), refused(), now);
    let bookmark = WatchEvent::Bookmark {
        resource_version: "9".into(),
    };
    state.on_provider(&scope("other"), bookmark, now);
    state.on_provider(&scope("other"), WatchEvent::Watching, now);
    assert!(state.counts().provider_failing.is_some());
    state.on_provider(&scope("team"), WatchEvent::Watching, now);
    assert_eq!(state.counts().provider_failing, None);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_mapped_later_takes_nothing_back() {
    let world = World::new();
    let mut state = listed(&world);
    world.namespaces.map("other");
    assert_eq!(state.rescope(Instant::now()).0, [scope("other")]);
    assert!(state.counts().listed);
}

#[tokio::test(start_paused = true)]
async fn one_object_that_a_server_refuses_says_nothing_about_the_server() {
    let world = World::synced("a").await;
    for _ in 0..20 {
        let error = Error::Rejected {
            code: 422,
            message: "status.n: must be small".into(),
        };
        world.consumer.fail_next("json_patch", error);
    }
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"n": 1});
    });
    world.wait(Duration::from_secs(10)).await;
    assert_eq!(world.counts().rejected, 1);
    assert_eq!(world.counts().consumer_failing, None);
    // The object itself tells, and a while later it is tried again.
    let problem =
        || world.original("a")["metadata"]["annotations"]["kube-bind.io/sync-problem"].clone();
    let words = "this cluster does not accept the status that the provider gave: \
                 status.n: must be small";
    assert_eq!(problem(), words);
    assert_eq!(
        world.told.lock().unwrap().raised,
        [format!("SyncStatusRejected: {words}")]
    );
    world.consumer.recover();
    world.wait(Duration::from_secs(60)).await;
    assert_eq!(world.original("a")["status"], json!({"n": 1}));
    assert_eq!((problem(), world.counts().synced), (Value::Null, 1));
}

#[tokio::test(start_paused = true)]
async fn one_object_that_gets_through_does_not_hide_that_another_does_not() {
    let world = World::synced("a").await;
    world.consumer.put(widget("b"));
    world.rest().await;
    for _ in 0..100 {
        let error = Error::Denied {
            message: "cannot patch".into(),
        };
        world.provider.fail_next("apply", error);
    }
    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"]["size"] = 4.into();
    });
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(world.counts().provider_failing, None, "a hiccup so far");
    world.wait(Duration::from_secs(10)).await;
    assert!(world.counts().provider_failing.is_some());
    world.provider.change(&provider_key("b"), |copy| {
        copy["status"] = json!({"n": 1});
    });
    world.rest().await;
    assert_eq!(world.original("b")["status"], json!({"n": 1}));
    assert!(world.counts().provider_failing.is_some());
    world.provider.recover();
    world.wait(Duration::from_secs(10)).await;
    assert_eq!(world.counts().provider_failing, None);
    assert_eq!(world.counts().synced, 2);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_not_gone() {
    let mut state = listed(&World::new());
    let now = Instant::now();
    state.on_consumer(WatchEvent::Applied(at(5)), now);
    state.on_consumer(begin(), now);
    let known = json!({"metadata": at(6)["metadata"]});
    state.on_consumer(WatchEvent::Unreadable(known), now);
    state.on_consumer(list_end(7), now);
    assert_eq!(state.counts().objects, 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_object_that_cannot_be_read_is_known_by_its_metadata() {
    let mut state = listed(&World::new());
    let now = Instant::now();
    state.on_consumer(WatchEvent::Applied(at(5)), now);
    let mut copy = at(6);
    copy["metadata"]["namespace"] = format!("{CLUSTER_NAMESPACE}-team").into();
    copy["metadata"]["annotations"] = json!({
        "kube-bind.io/cluster-namespace": CLUSTER_NAMESPACE, "kube-bind.io/consumer-uid": "u",
    });
    state.on_provider(&scope("team"), WatchEvent::Applied(copy.clone()), now);
    let mut known = json!({"metadata": at(7)["metadata"]});
    known["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    known["metadata"]["finalizers"] = json!([names::FINALIZER_SYNCER]);
    state.on_consumer(WatchEvent::Unreadable(known), now);
    let job = state.next_job(now).expect("its copy has to go");
    assert_eq!(plan(&job.pair, &job.rules), [Step::Delete]);
    let mut pair = job.pair;
    pair.provider = None;
    let finished = Finished {
        key: job.key,
        pair,
        lost: Lost {
            consumer: false,
            provider: true,
        },
        bodies: [None, None],
        verdict: Verdict::Unfinished,
        done: Done::default(),
        epochs: job.epochs,
        known: job.known,
        unsure: false,
    };
    state.finish(finished, now);
    let job = state.next_job(now + Duration::from_secs(1));
    let job = job.expect("nothing holds it any more");
    assert_eq!(plan(&job.pair, &job.rules), [Step::Release]);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_changes_while_its_object_is_worked_on_is_heard_whatever_comes_then() {
    for list_comes_first in [false, true] {
        let mut state = listed(&World::new());
        let now = Instant::now();
        state.on_consumer(WatchEvent::Applied(at(5)), now);
        let job = state.next_job(now).expect("it has no copy");
        let mut changed = at(9);
        changed["spec"]["size"] = 33.into();
        state.on_consumer(WatchEvent::Applied(at(6)), now);
        state.on_consumer(WatchEvent::Applied(changed.clone()), now);
        if list_comes_first {
            state.on_consumer(begin(), now);
            state.on_consumer(WatchEvent::Listed(changed.clone()), now);
            state.on_consumer(list_end(9), now);
        }
        let before = job.pair.consumer.clone().expect("it was told of");
        state.finish(unchanged(job), now);
        let job = state
            .next_job(now + Duration::from_secs(5))
            .expect("it still has no copy");
        let known = job.pair.consumer.expect("it is there");
        assert!(known.version > before.version && known.configuration != before.configuration);
        assert_eq!(
            job.consumer_body.as_deref(),
            Some(&changed),
            "it is not read again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_job_does_not_bring_back_what_its_object_referred_to() {
    let world = World::new();
    let mut state = listed(&world);
    let now = Instant::now();
    let referrers = || world.told.lock().unwrap().referrers.clone();
    state.on_consumer(WatchEvent::Applied(at(5)), now);
    let job = state.next_job(now).expect("it has no copy");
    state.on_consumer(WatchEvent::Applied(at(6)), now);
    assert_eq!(referrers().len(), 1);
    state.on_consumer(WatchEvent::Deleted(at(7)), now);
    let finished = Finished {
        verdict: Verdict::Barred,
        ..unchanged(job)
    };
    state.finish(finished, now);
    assert!(referrers().is_empty());
    assert!(state.next_job(now + Duration::from_secs(5)).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_echo_says_nothing_about_why_an_object_is_gone() {
    let mut state = listed(&World::new());
    let now = Instant::now();
    state.on_consumer(WatchEvent::Applied(at(5)), now);
    let job = state.next_job(now).expect("it has no copy");
    let mut copy = at(6);
    copy["metadata"]["namespace"] = format!("{CLUSTER_NAMESPACE}-team").into();
    copy["metadata"]["annotations"] = json!({
        "kube-bind.io/cluster-namespace": CLUSTER_NAMESPACE, "kube-bind.io/consumer-uid": "u",
    });
    state.on_provider(&scope("team"), WatchEvent::Applied(copy), now);
    let mut pair = job.pair.clone();
    let gone = pair.consumer.take().expect("it was there");
    pair.consumer_gone = gone.version;
    let lost = Lost {
        consumer: true,
        provider: false,
    };
    let finished = Finished {
        verdict: Verdict::Settled,
        pair,
        lost,
        ..unchanged(job)
    };
    state.finish(finished, now);
    assert!(state.next_job(now).is_none(), "nobody said why");
    state.on_consumer(WatchEvent::Applied(at(5)), now);
    assert!(state.next_job(now).is_none(), "nor has an echo");
    state.on_consumer(begin(), now);
    state.on_consumer(list_end(7), now);
    assert!(state.next_job(now).is_some(), "a list has");
}
