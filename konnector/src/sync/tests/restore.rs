//! API servers that were restored from a backup: versions go back, objects are older or missing.

use std::time::Duration;

use serde_json::json;

use super::world::{World, consumer_key, provider_key, widget};

#[tokio::test(start_paused = true)]
async fn a_restored_provider_gets_what_it_lost() {
    let world = World::synced("a").await;
    let backup = world.provider.backup();
    world.consumer.put(widget("b"));
    for size in 10..30 {
        world.consumer.change(&consumer_key("a"), |object| {
            object["spec"]["size"] = size.into();
        });
        world.rest().await;
    }
    world.provider.restore(backup);
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(world.copy("a")["spec"]["size"], 29);
    assert!(world.provider.object(&provider_key("b")).is_some());
    assert_eq!(world.counts().synced, 2);
    // Its versions are far behind what we knew, and are heard all the same.
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"n": 1});
    });
    world.rest().await;
    assert_eq!(world.original("a")["status"], json!({"n": 1}));
    world.provider.remove(&provider_key("b"));
    world.rest().await;
    assert!(world.provider.object(&provider_key("b")).is_some());
    assert_eq!(world.counts().synced, 2);
}

#[tokio::test(start_paused = true)]
async fn a_restored_consumer_is_the_truth() {
    let world = World::synced("a").await;
    let backup = world.consumer.backup();
    for size in 10..30 {
        world.consumer.change(&consumer_key("a"), |object| {
            object["spec"]["size"] = size.into();
        });
        world.rest().await;
    }
    world.consumer.remove(&consumer_key("a"));
    world.consumer.put(widget("b"));
    world.rest().await;
    world.consumer.restore(backup);
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(world.copy("a")["spec"]["size"], 3);
    assert_eq!(world.provider.object(&provider_key("b")), None);
    assert_eq!(world.counts().synced, 1);
    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"]["size"] = 5.into();
    });
    world.rest().await;
    assert_eq!(world.copy("a")["spec"]["size"], 5);
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_lacks_many_objects_deletes_none_of_their_copies() {
    let world = World::with_held(30).await;
    assert_eq!(world.provider.keys().len(), 31);
}

#[tokio::test(start_paused = true)]
async fn a_backup_whose_versions_were_raised_is_the_truth_too() {
    let world = World::synced("a").await;
    let (objects, _) = world.consumer.backup();
    for size in 10..30 {
        world.consumer.change(&consumer_key("a"), |object| {
            object["spec"]["size"] = size.into();
        });
        world.rest().await;
    }
    world.consumer.restore((objects, 1_000_000));
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(world.copy("a")["spec"]["size"], 3);
}
