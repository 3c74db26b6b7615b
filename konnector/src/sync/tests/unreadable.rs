//! Objects of which only the metadata can be read.

use std::time::Duration;

use kube_bind_crds::names;
use serde_json::{Value, json};

use super::super::fake::legible::UNREADABLE;
use super::world::{World, consumer_key, provider_key, widget};

fn problem(world: &World) -> Value {
    world.original("a")["metadata"]["annotations"]["kube-bind.io/sync-problem"].clone()
}

/// A synced object that somebody then made unreadable.
async fn changed() -> World {
    let world = World::synced("a").await;
    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"]["color"] = UNREADABLE.into();
    });
    world.rest().await;
    world
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_told_and_left_alone() {
    let mut world = changed().await;
    assert!(problem(&world).as_str().unwrap().contains("cannot be read"));
    assert_eq!(world.counts().rejected, 1);
    assert_eq!(world.requests(), (vec!["apply".into()], vec![]));
    assert_eq!(world.copy("a")["spec"], json!({"size": 3}));
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"n": 1});
    });
    world.restart().await;
    world.wait(Duration::from_secs(600)).await;
    assert_eq!(world.requests(), (vec![], vec![]));
    let told = world.told.lock().unwrap().raised.clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("SyncUnreadable: "), "{told:?}");

    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"]["color"] = "red".into();
    });
    world.rest().await;
    assert_eq!((problem(&world), world.counts().synced), (Value::Null, 1));
    assert_eq!(world.original("a")["status"], json!({"n": 1}));
    assert_eq!(world.copy("a")["spec"]["color"], "red");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_can_be_deleted() {
    for restarted in [false, true] {
        let mut world = changed().await;
        if restarted {
            world.restart().await;
        }
        world.consumer.remove(&consumer_key("a"));
        world.wait(Duration::from_secs(5)).await;
        assert!(world.provider.object(&provider_key("a")).is_none());
        assert!(world.consumer.object(&consumer_key("a")).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn finalizers_of_others_stay_on_what_cannot_be_read() {
    let world = changed().await;
    world.consumer.change(&consumer_key("a"), |object| {
        let finalizers = json!([names::FINALIZER_SYNCER, "example.io/backup"]);
        object["metadata"]["finalizers"] = finalizers;
    });
    world.consumer.remove(&consumer_key("a"));
    world.wait(Duration::from_secs(5)).await;
    let left = &world.original("a")["metadata"]["finalizers"];
    assert_eq!(*left, json!(["example.io/backup"]));
    assert!(world.provider.object(&provider_key("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_never_read_gets_no_copy() {
    let world = World::started().await;
    let mut object = widget("a");
    object["spec"]["color"] = UNREADABLE.into();
    world.consumer.put(object);
    world.rest().await;
    assert!(problem(&world).is_string());
    assert_eq!(world.requests(), (vec!["apply".into()], vec![]));
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert!(world.consumer.object(&consumer_key("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_read_is_told_and_goes_with_its_object() {
    for restarted in [false, true] {
        let mut world = World::synced("a").await;
        world.provider.change(&provider_key("a"), |copy| {
            copy["status"] = json!({"phase": UNREADABLE});
        });
        world.rest().await;
        assert!(problem(&world).as_str().unwrap().contains("copy"));
        if restarted {
            world.restart().await;
        }
        world.consumer.remove(&consumer_key("a"));
        world.wait(Duration::from_secs(5)).await;
        assert!(world.provider.object(&provider_key("a")).is_none());
        assert!(world.consumer.object(&consumer_key("a")).is_none());
    }
}
