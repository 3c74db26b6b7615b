//! Objects that the provider refuses or that somebody else's are in the way of, and rights that are missing.

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::super::cluster::Error;
use super::super::kube_cluster::errors;
use super::super::state::STRANGERS;
use super::world::{World, consumer_key, provider_key, widget};
use crate::test_support::{TOO_LARGE, failure};

#[tokio::test(start_paused = true)]
async fn a_foreign_object_is_reported_and_never_touched() {
    let world = World::started().await;
    let mut foreign = widget("a");
    foreign["metadata"]["namespace"] = "kube-bind-abc-team".into();
    foreign["spec"]["size"] = 9.into();
    let foreign = world.provider.put(foreign);
    world.rest().await;
    world.consumer.put(widget("a"));
    world.rest().await;
    assert_eq!(world.copy("a"), foreign);
    assert_eq!(world.counts().conflict, 1);
    let text = world.original("a")["metadata"]["annotations"]["kube-bind.io/sync-problem"].clone();
    assert!(
        text.as_str()
            .unwrap()
            .contains("does not belong to this consumer")
    );
    assert_eq!(world.told.lock().unwrap().raised.len(), 1);
    assert!(world.provider.requests().is_empty());

    // Deleting the consumer object leaves the foreign one alone, too.
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert_eq!(world.consumer.object(&consumer_key("a")), None);
    assert_eq!(world.copy("a"), foreign);
}

#[tokio::test(start_paused = true)]
async fn of_very_many_foreign_objects_the_last_ones_are_only_known_when_they_are_in_the_way() {
    let world = World::started().await;
    let name = |n: usize| format!("w{n}");
    for n in 0..=STRANGERS {
        let mut foreign = widget(&name(n));
        foreign["metadata"]["namespace"] = provider_key("").namespace.into();
        world.provider.put(foreign);
    }
    world.rest().await;
    let conflicts_after = |n: usize| {
        world.consumer.put(widget(&name(n)));
        let world = &world;
        async move {
            world.rest().await;
            (world.counts().conflict, world.requests().1)
        }
    };
    assert_eq!(conflicts_after(0).await, (1, vec![]));
    let looked = vec!["apply".to_owned(), "get".to_owned()];
    assert_eq!(conflicts_after(STRANGERS).await, (2, looked));
    // What goes, or is not in nobody's way any more, makes room.
    world.consumer.remove(&consumer_key(&name(STRANGERS)));
    for n in 1..10 {
        world.provider.remove(&provider_key(&name(n)));
    }
    world.provider.relist();
    world.rest().await;
    world.requests();
    assert_eq!(conflicts_after(STRANGERS).await, (2, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_tell_again_what_an_object_says_already() {
    let mut world = World::started().await;
    let mut foreign = widget("a");
    foreign["metadata"]["namespace"] = "kube-bind-abc-team".into();
    world.provider.put(foreign);
    world.consumer.put(widget("a"));
    world.rest().await;
    world.requests();
    world.restart().await;
    assert_eq!(world.counts().conflict, 1);
    assert_eq!(world.told.lock().unwrap().raised.len(), 1);
    assert_eq!(world.requests(), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_went_away_is_solved() {
    let world = World::started().await;
    let mut foreign = widget("a");
    foreign["metadata"]["namespace"] = "kube-bind-abc-team".into();
    world.provider.put(foreign);
    world.consumer.put(widget("a"));
    world.rest().await;
    world.provider.remove(&provider_key("a"));
    world.rest().await;
    assert_eq!(world.counts().synced, 1);
    let annotations = world.original("a")["metadata"]["annotations"].clone();
    assert_eq!(annotations.get("kube-bind.io/sync-problem"), None);
    assert_eq!(world.told.lock().unwrap().solved, 1);
}

#[tokio::test(start_paused = true)]
async fn the_copy_of_another_consumer_is_foreign() {
    let world = World::started().await;
    let mut other = widget("a");
    other["metadata"]["namespace"] = "kube-bind-abc-team".into();
    other["metadata"]["annotations"] = json!({"kube-bind.io/cluster-namespace": "kube-bind-xyz", "kube-bind.io/consumer-uid": "1"});
    let other = world.provider.put(other);
    world.rest().await;
    assert_eq!(
        world.copy("a"),
        other,
        "no consumer object here is no reason to delete it"
    );
}

fn refusal() -> Error {
    Error::Rejected {
        code: 422,
        message: "spec.size: must be even".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_shown_on_the_object_and_a_change_tries_again() {
    let world = World::started().await;
    world.provider.fail_next("apply", refusal());
    world.consumer.put(widget("a"));
    world.rest().await;
    assert_eq!(world.counts().rejected, 1);
    let text = world.original("a")["metadata"]["annotations"]["kube-bind.io/sync-problem"].clone();
    let words = "the provider does not accept this object, change it accordingly: \
                 spec.size: must be even";
    assert_eq!(text, words);
    assert_eq!(
        world.told.lock().unwrap().raised,
        [format!("SyncRejected: {words}")]
    );
    world.requests();
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(world.requests(), (vec![], vec![]), "no hammering");

    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"]["size"] = 4.into();
    });
    world.rest().await;
    assert_eq!(world.counts().synced, 1);
    assert_eq!(world.copy("a")["spec"]["size"], 4);
    let annotations = world.original("a")["metadata"]["annotations"].clone();
    assert_eq!(annotations.get("kube-bind.io/sync-problem"), None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_after_a_while() {
    let world = World::started().await;
    world.provider.fail_next("apply", refusal());
    world.consumer.put(widget("a"));
    world.wait(Duration::from_secs(60)).await;
    assert_eq!(world.counts().synced, 1);
}

#[tokio::test(start_paused = true)]
async fn one_object_that_the_provider_cannot_store_says_nothing_about_the_provider() {
    let world = World::synced("a").await;
    for _ in 0..20 {
        let body = serde_json::to_vec(&failure(500, TOO_LARGE[0]).1).unwrap();
        let error = errors::answer(500, &HeaderMap::new(), &body);
        world.provider.fail_next("apply", error);
    }
    world.consumer.put(widget("b"));
    world.wait(Duration::from_secs(120)).await;
    let counts = world.counts();
    assert_eq!(counts.provider_failing, None);
    assert_eq!((counts.synced, counts.rejected), (1, 1));
    let text = world.original("b")["metadata"]["annotations"]["kube-bind.io/sync-problem"].clone();
    assert!(text.as_str().unwrap().contains("too large"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_change_leaves_the_copy_and_the_status_goes_on() {
    let world = World::synced("a").await;
    world.provider.fail_next("apply", refusal());
    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"]["size"] = 5.into();
    });
    world.rest().await;
    assert_eq!(world.counts().rejected, 1);
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"ready": false});
    });
    world.rest().await;
    assert_eq!(world.original("a")["status"], json!({"ready": false}));
    assert_eq!(world.copy("a")["spec"]["size"], 3);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_alone_fails_for_long_tells_so_and_the_server_is_well() {
    let world = World::synced("a").await;
    let webhook = || Error::Internal {
        message: "failed calling webhook".into(),
    };
    for _ in 0..40 {
        world.provider.fail_next("apply", webhook());
    }
    world.consumer.put(widget("b"));
    world.wait(Duration::from_secs(200)).await;
    assert_eq!(world.counts().rejected, 1);
    assert_eq!(world.counts().provider_failing, None);
    let problem =
        || world.original("b")["metadata"]["annotations"]["kube-bind.io/sync-problem"].clone();
    assert!(
        problem()
            .as_str()
            .unwrap()
            .contains("failed calling webhook")
    );
    assert_eq!(world.told.lock().unwrap().raised.len(), 1);
    let finalizers = &world.original("b")["metadata"]["finalizers"];
    assert_eq!(
        *finalizers,
        json!(["kubebind.io/syncer"]),
        "a copy may be there"
    );
    world.provider.recover();
    world.wait(Duration::from_secs(400)).await;
    assert_eq!((world.counts().synced, problem()), (2, Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_the_provider_refuses_is_shown() {
    let world = World::synced("a").await;
    for _ in 0..40 {
        world.provider.fail_next("delete", refusal());
    }
    world.consumer.remove(&consumer_key("a"));
    world.wait(Duration::from_secs(300)).await;
    let problem = &world.original("a")["metadata"]["annotations"]["kube-bind.io/sync-problem"];
    assert!(problem.as_str().unwrap().contains("must be even"));
    assert_eq!(world.counts().rejected, 1);
    world.provider.recover();
    world.wait(Duration::from_secs(400)).await;
    assert_eq!(world.consumer.object(&consumer_key("a")), None);
}

#[tokio::test(start_paused = true)]
async fn what_failed_and_is_not_wanted_any_more_does_not_fail() {
    let world = World::started().await;
    for _ in 0..40 {
        let message = "failed calling webhook".into();
        world
            .consumer
            .fail_next("apply", Error::Internal { message });
    }
    let mut object = widget("a");
    object["metadata"]["finalizers"] = json!(["example.io/x"]);
    world.consumer.put(object);
    world.wait(Duration::from_secs(600)).await;
    assert_eq!(world.counts().rejected, 1);
    // It terminates without our finalizer, and waits for somebody else.
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert_eq!((world.counts().rejected, world.counts().pending), (0, 1));
}

/// Five objects whose retries are minutes apart by now.
async fn denied_for_an_hour() -> World {
    let world = World::started().await;
    for _ in 0..10_000 {
        let error = Error::Denied {
            message: "cannot patch".into(),
        };
        world.provider.fail_next("apply", error);
    }
    for n in 0..5 {
        world.consumer.put(widget(&format!("w{n}")));
    }
    world.wait(Duration::from_secs(3600)).await;
    assert_eq!(world.counts().pending, 5);
    world.provider.recover();
    world
}

#[tokio::test(start_paused = true)]
async fn a_repaired_right_is_noticed_by_one_and_used_by_all() {
    let world = denied_for_an_hour().await;
    world.wait(Duration::from_secs(45)).await;
    assert_eq!(world.counts().synced, 5);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_found_granted_says_nothing_about_an_object_that_was_refused() {
    let world = World::started().await;
    for _ in 0..100 {
        let message = "size: too large".into();
        let error = Error::Rejected { code: 422, message };
        world.provider.fail_next("apply", error);
    }
    world.consumer.put(widget("a"));
    world.wait(Duration::from_secs(3600)).await;
    let tried = |world: &World| world.requests().1.contains(&"apply".to_owned());
    tried(&world);
    while !tried(&world) {
        world.wait(Duration::from_secs(1)).await;
    }
    for _ in 0..4 {
        world.engine_handle().wake();
        world.wait(Duration::from_secs(60)).await;
    }
    assert!(!tried(&world), "before its time");
    world.wait(Duration::from_secs(120)).await;
    assert!(tried(&world));
}

#[tokio::test(start_paused = true)]
async fn a_renewed_credential_is_used_at_once() {
    let world = denied_for_an_hour().await;
    world.provider.renew();
    world.rest().await;
    assert_eq!(world.counts().synced, 5);
    let world = denied_for_an_hour().await;
    world.engine_handle().wake();
    world.rest().await;
    assert_eq!(world.counts().synced, 5);
}
