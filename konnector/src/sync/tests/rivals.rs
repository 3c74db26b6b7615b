//! What a request must not do that comes too late: another leader, or a server that went back in time,
//! has made something else of what it was meant for, and no event has told yet.

use std::time::Duration;

use kube_bind_crds::names;
use serde_json::json;
use tokio::time::Instant;

use super::super::cluster::{Cluster, Key, WatchEvent};
use super::super::execute::{Done, Finished, Verdict};
use super::super::form::MARK_MANAGER;
use super::super::pair::Lost;
use super::super::purpose::Control;
use super::watches::{at, list_end, listed};
use super::world::{World, consumer_key, provider_key, widget};

#[tokio::test(start_paused = true)]
async fn a_copy_is_deleted_only_in_the_state_that_was_seen() {
    let world = World::synced("a").await;
    world.provider.silence();
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"n": 1});
    });
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    let (_, provider) = world.requests();
    assert_eq!(provider, ["delete", "get", "delete"]);
    assert_eq!(world.provider.object(&provider_key("a")), None);
    assert_eq!(world.consumer.object(&consumer_key("a")), None);
}

#[tokio::test(start_paused = true)]
async fn another_object_is_not_deleted_even_if_it_has_the_version_of_the_copy() {
    let world = World::synced("a").await;
    let (mut objects, version) = world.provider.backup();
    let mut other = world.copy("a");
    other["metadata"]["uid"] = "other".into();
    other["metadata"]["annotations"] = json!({});
    objects.insert(provider_key("a"), other.clone().into());
    world.provider.silence();
    world.provider.restore((objects, version));
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert_eq!(world.copy("a"), other);
    let (_, provider) = world.requests();
    assert_eq!(provider, ["delete", "get"]);
    assert_eq!(world.consumer.object(&consumer_key("a")), None);
}

#[tokio::test(start_paused = true)]
async fn marks_take_no_finalizer_away_that_came_meanwhile() {
    let world = World::started().await;
    let mut waiting = widget("a");
    waiting["metadata"]["namespace"] = "new".into();
    let waiting = world.consumer.put(waiting);
    world.rest().await;
    world.consumer.silence();
    // Another leader has heard of its namespace and is about to make a copy.
    let mark = json!({
        "apiVersion": "example.io/v1", "kind": "Widget",
        "metadata": {
            "name": "a", "namespace": "new", "uid": waiting["metadata"]["uid"],
            "finalizers": [names::FINALIZER_SYNCER],
        },
    });
    let key = Key::new("new", "a");
    let marked = world.consumer.apply(&key, MARK_MANAGER, &mark).await;
    marked.expect("it is there");
    // Ours tells after a minute that the object waits.
    world.wait(Duration::from_secs(70)).await;
    let metadata = world.consumer.object(&key).expect("it is there")["metadata"].clone();
    assert!(metadata["annotations"][names::ANNOTATION_SYNC_PROBLEM].is_string());
    assert_eq!(metadata["finalizers"], json!([names::FINALIZER_SYNCER]));
}

#[tokio::test(start_paused = true)]
async fn what_another_leader_took_over_goes_with_its_object() {
    let world = World::with_held(30).await;
    // Meanwhile another leader takes one of the copies over for an object that was made anew.
    world.engine_handle().suspend(true);
    world.rest().await;
    world.provider.silence();
    let mut again = widget("w0");
    again["metadata"]["finalizers"] = json!([names::FINALIZER_SYNCER]);
    let again = world.consumer.put(again);
    world.provider.change(&provider_key("w0"), |copy| {
        copy["metadata"]["annotations"][names::ANNOTATION_CONSUMER_UID] =
            again["metadata"]["uid"].clone();
    });
    world.consumer.remove(&consumer_key("w0"));
    world.rest().await;
    world.engine_handle().suspend(false);
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(world.consumer.object(&consumer_key("w0")), None);
    assert_eq!(
        world.provider.object(&provider_key("w0")),
        None,
        "let go while it had a copy"
    );
    assert_eq!(world.counts().held, 29);
}

#[tokio::test(start_paused = true)]
async fn a_body_from_before_a_suspension_is_not_written_after_it() {
    let mut state = listed(&World::new());
    let now = Instant::now();
    state.on_consumer(WatchEvent::Applied(at(5)), now);
    let job = state.next_job(now).expect("it has no copy");
    assert!(job.consumer_body.is_some());
    let suspended = Control {
        suspended: true,
        ..Control::default()
    };
    state.control(suspended, now);
    // The job could not write any more and gives back what it had.
    let finished = Finished {
        key: job.key,
        pair: job.pair,
        lost: Lost::default(),
        bodies: [job.consumer_body, None],
        verdict: Verdict::Barred,
        done: Done::default(),
        epochs: job.epochs,
        known: job.known,
        unsure: false,
    };
    state.finish(finished, now);
    // The server goes back, and what it gives the same version to is another state.
    let known = "5".to_owned();
    state.on_consumer(WatchEvent::ListBegin { known }, now);
    let mut restored = at(5);
    restored["spec"]["size"] = 44.into();
    state.on_consumer(WatchEvent::Listed(restored), now);
    state.on_consumer(list_end(5), now);
    assert!(state.next_job(now).is_none(), "suspended");
    state.control(Control::default(), now);
    let job = state.next_job(now).expect("it still has no copy");
    assert_eq!(job.consumer_body, None, "it is read again");
}
