//! Somebody else keeps changing what the engine writes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::cluster::Error;
use super::world::{World, consumer_key, provider_key};

#[tokio::test(start_paused = true)]
async fn a_fight_is_fought_ever_more_slowly() {
    let world = World::synced("a").await;
    let begun = Instant::now();
    for size in 10..20 {
        world.provider.change(&provider_key("a"), |copy| {
            copy["spec"]["size"] = size.into();
        });
        while world.copy("a")["spec"]["size"] != 3 {
            world.rest().await;
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_fight_delays_no_status_and_no_status_hurries_the_fight() {
    let world = World::synced("a").await;
    let begun = Instant::now();
    for size in 10..20 {
        world.provider.change(&provider_key("a"), |copy| {
            copy["spec"]["size"] = size.into();
            copy["status"] = json!({"seen": size});
        });
        world.rest().await;
        assert_eq!(world.original("a")["status"], json!({"seen": size}));
        while world.copy("a")["spec"]["size"] != 3 {
            world.provider.change(&provider_key("a"), |copy| {
                let beat = copy["status"]["beat"].as_i64().unwrap_or_default();
                copy["status"]["beat"] = (beat + 1).into();
            });
            world.rest().await;
            let beats = |object: Value| object["status"]["beat"].clone();
            assert_eq!(beats(world.original("a")), beats(world.copy("a")));
        }
    }
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(60), "{waited:?}");
    // Nor do the rounds of long ago slow down the undoing of today.
    world.wait(Duration::from_secs(3600)).await;
    world.provider.change(&provider_key("a"), |copy| {
        copy["spec"]["size"] = 9.into();
    });
    world.rest().await;
    assert_eq!(world.copy("a")["spec"]["size"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_fight_over_our_marks_is_fought_ever_more_slowly_too() {
    let world = World::synced("a").await;
    let marks = |world: &World| {
        let metadata = world.original("a")["metadata"].clone();
        (
            metadata["finalizers"].clone(),
            metadata["annotations"].clone(),
        )
    };
    let ours = marks(&world);
    let begun = Instant::now();
    for _ in 0..10 {
        world.consumer.change(&consumer_key("a"), |object| {
            object["metadata"]["finalizers"] = json!([]);
            object["metadata"]["annotations"] = json!({});
        });
        while marks(&world) != ours {
            world.rest().await;
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(60));
    // What the author changes does not wait for the end of it.
    world.consumer.change(&consumer_key("a"), |object| {
        object["metadata"]["finalizers"] = json!([]);
        object["spec"]["size"] = 5.into();
    });
    world.rest().await;
    assert_eq!(world.copy("a")["spec"]["size"], 5);
    assert_eq!(marks(&world), ours);
}

/// Somebody changes the copy, until it is as it should be so many times.
async fn rounds(world: &World, count: i64) -> Duration {
    let begun = Instant::now();
    for size in 10..10 + count {
        world.provider.change(&provider_key("a"), |copy| {
            copy["spec"]["size"] = size.into();
        });
        while world.copy("a")["spec"]["size"] != 3 {
            world.rest().await;
        }
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_round_that_fails_is_tried_again_soon() {
    let world = World::synced("a").await;
    rounds(&world, 8).await;
    let waits_for = rounds(&world, 1).await;
    world.provider.change(&provider_key("a"), |copy| {
        copy["spec"]["size"] = 9.into();
    });
    for _ in 0..3 {
        let error = Error::Unavailable {
            message: "connection reset".into(),
            retry_after: None,
        };
        world.provider.fail_next("apply", error);
    }
    world.wait(waits_for * 2 + Duration::from_secs(5)).await;
    assert_eq!(world.copy("a")["spec"]["size"], 3);
}

#[tokio::test(start_paused = true)]
async fn what_else_fails_at_an_object_does_not_hurry_the_fight() {
    let world = World::synced("a").await;
    for _ in 0..10_000 {
        let message = "failed calling webhook".into();
        let error = Error::Internal { message };
        world.consumer.fail_next("json_patch", error);
    }
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"ready": true});
    });
    let waited = rounds(&world, 10).await;
    assert!(waited > Duration::from_secs(60), "{waited:?}");
}
