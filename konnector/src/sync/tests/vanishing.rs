//! Objects that vanish by the dozen, and those that only seem to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::super::cluster::Error;
use super::world::{World, consumer_key, provider_key, widget};

const MANY: usize = 30;

fn name(n: usize) -> String {
    format!("w{n}")
}

async fn many() -> World {
    let world = World::started().await;
    for n in 0..MANY {
        world.consumer.put(widget(&name(n)));
    }
    world.rest().await;
    assert_eq!(world.counts().synced, MANY);
    world.requests();
    world
}

fn delete_all(world: &World) {
    for n in 0..MANY {
        world.consumer.remove(&consumer_key(&name(n)));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_of_copies_before_it_is_known_where_they_may_be() {
    let mut world = many().await;
    world.stop().await;
    for n in 0..MANY {
        world.consumer.vanish(&consumer_key(&name(n)));
    }
    let mapped = world.namespaces.unlist();
    world.start();
    world.rest().await;
    assert!(
        !world.counts().listed,
        "whoever ends would leave them behind"
    );
    world.namespaces.list(mapped);
    world.rest().await;
    assert!(world.counts().listed);
    assert_eq!(world.counts().held, MANY);

    world.stop().await;
    world.namespaces.unlist();
    world.start();
    world.namespaces.list(Default::default());
    world.rest().await;
    assert!(world.counts().listed, "there is no copy to list");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_whose_answer_was_lost_counts_once_for_each_copy() {
    let world = World::started().await;
    for n in 1..=20 {
        world.consumer.put(widget("a"));
        world.rest().await;
        let lost = || Error::TimedOut {
            after: Duration::from_secs(10),
        };
        for _ in 0..100 {
            world.provider.fail_next("delete", lost());
        }
        world.consumer.lose(&consumer_key("a"));
        world.consumer.relist();
        world.rest().await;
        assert_eq!(world.counts().held, usize::from(n == 20), "the {n}. copy");
        // The first attempt reached the server.
        world.provider.vanish(&provider_key("a"));
        world.provider.recover();
        world.rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn objects_that_terminate_only_because_their_crd_does_are_held() {
    let world = many().await;
    world.definition.terminating.store(true, Ordering::Relaxed);
    delete_all(&world);
    world.wait(Duration::from_secs(5)).await;
    let left = world.provider.keys().len();
    assert!(left >= MANY - 20, "{left} copies are left");
    assert_eq!(world.counts().held, left, "exactly those are held");
    let one = world.consumer.keys().pop().expect("some are left");
    let told = world.consumer.object(&one).expect("it is there");
    let problem = &told["metadata"]["annotations"]["kube-bind.io/sync-problem"];
    assert!(
        problem
            .as_str()
            .unwrap()
            .contains("kept until somebody decides")
    );
    assert!(world.told.lock().unwrap().raised.len() >= left);

    world.requests();
    world.wait(Duration::from_secs(3600)).await;
    assert_eq!(
        world.requests(),
        (vec![], vec![]),
        "time does not let them go"
    );

    world.release_deletes();
    world.wait(Duration::from_secs(5)).await;
    assert!(world.provider.keys().is_empty());
    assert!(world.consumer.keys().is_empty());
    assert_eq!(world.counts().held, 0);
}

#[tokio::test(start_paused = true)]
async fn objects_that_only_answers_showed_to_terminate_are_held_too() {
    let world = many().await;
    world.consumer.silence();
    world.definition.terminating.store(true, Ordering::Relaxed);
    delete_all(&world);
    for n in 0..MANY {
        world.provider.change(&provider_key(&name(n)), |copy| {
            copy["status"] = json!({"n": n});
        });
    }
    world.wait(Duration::from_secs(5)).await;
    let left = world.provider.keys().len();
    assert!(left >= MANY - 20, "{left} copies are left");
    assert_eq!(world.counts().held, left, "exactly those are held");

    world.release_deletes();
    world.wait(Duration::from_secs(5)).await;
    assert!(world.provider.keys().is_empty());
    assert!(world.consumer.keys().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_copy_goes_when_the_crd_was_seen_to_and_persons_are_obeyed_when_it_is_back() {
    let world = many().await;
    let originals: Vec<_> = (0..MANY).map(|n| world.original(&name(n))).collect();
    let definition = world.definition.clone();
    definition.terminating.store(true, Ordering::Relaxed);
    definition.seen.store(true, Ordering::Relaxed);
    delete_all(&world);
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(
        (world.provider.keys().len(), world.counts().held),
        (MANY, MANY)
    );
    assert_eq!(definition.asked.load(Ordering::Relaxed), 1);

    // Somebody takes our finalizers off, and the CRD and the objects are made anew.
    for n in 0..MANY {
        world.consumer.vanish(&consumer_key(&name(n)));
    }
    world.rest().await;
    assert_eq!(world.provider.keys().len(), MANY);
    definition.terminating.store(false, Ordering::Relaxed);
    definition.seen.store(false, Ordering::Relaxed);
    for original in originals {
        world.consumer.put(original);
    }
    world.rest().await;
    assert_eq!((world.counts().held, world.counts().synced), (0, MANY));
    delete_all(&world);
    world.wait(Duration::from_secs(5)).await;
    assert!(world.provider.keys().is_empty(), "a person did this");
}

#[tokio::test(start_paused = true)]
async fn unbinding_deletes_the_crd_and_nothing_is_held() {
    let world = many().await;
    world.definition.terminating.store(true, Ordering::Relaxed);
    world.engine_handle().unbind();
    delete_all(&world);
    world.rest().await;
    assert!(world.provider.keys().is_empty());
    assert!(world.consumer.keys().is_empty());
    assert_eq!(world.definition.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_few_deletions_ask_nobody_and_many_ask_rarely() {
    let world = World::synced("a").await;
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert_eq!(world.definition.asked.load(Ordering::Relaxed), 0);
    let world = many().await;
    delete_all(&world);
    world.wait(Duration::from_secs(5)).await;
    assert!(world.provider.keys().is_empty());
    let asked = world.definition.asked.load(Ordering::Relaxed);
    assert!((1..=2).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn deletions_that_the_watch_told_are_believed_without_finalizers() {
    let world = many().await;
    for n in 0..MANY {
        world.consumer.vanish(&consumer_key(&name(n)));
    }
    world.wait(Duration::from_secs(1)).await;
    assert!(world.provider.keys().is_empty());
}

#[tokio::test(start_paused = true)]
async fn objects_that_come_back_end_the_hold_and_keep_their_copies() {
    let mut world = many().await;
    let originals: Vec<_> = (0..MANY).map(|n| world.original(&name(n))).collect();
    world.stop().await;
    for n in 0..MANY {
        world.consumer.vanish(&consumer_key(&name(n)));
    }
    world.restart().await;
    assert_eq!(world.counts().held, MANY);
    let copy = world.copy("w0")["metadata"]["uid"].clone();
    for original in originals {
        world.consumer.put(original);
    }
    world.rest().await;
    assert_eq!((world.counts().held, world.counts().synced), (0, MANY));
    assert_eq!(world.copy("w0")["metadata"]["uid"], copy);
    assert!(world.provider.object(&provider_key("w1")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_crd_that_the_provider_deleted_costs_no_object_and_all_copies_are_made_again() {
    let world = many().await;
    for _ in 0..10_000 {
        let error = Error::NotServed {
            message: "create not allowed while custom resource definition is terminating".into(),
        };
        world.provider.fail_next("apply", error);
    }
    for n in 0..MANY {
        world.provider.remove(&provider_key(&name(n)));
    }
    world.wait(Duration::from_secs(600)).await;
    assert!(world.provider.keys().is_empty());
    assert_eq!((world.counts().pending, world.counts().held), (MANY, 0));
    assert_eq!(world.consumer.keys().len(), MANY);
    assert!(world.told.lock().unwrap().raised.is_empty(), "it waits");
    // It is served again, and the watch that broke is back.
    world.provider.recover();
    world.provider.relist();
    world.wait(Duration::from_secs(1)).await;
    assert_eq!(world.counts().synced, MANY);
}

#[tokio::test(start_paused = true)]
async fn what_writes_find_gone_is_counted_with_all_that_a_list_misses() {
    let world = many().await;
    for n in 0..MANY {
        world.consumer.lose(&consumer_key(&name(n)));
    }
    for n in 0..15 {
        world.provider.change(&provider_key(&name(n)), |copy| {
            copy["status"] = serde_json::json!({"phase": "Built"});
        });
    }
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(
        world.provider.keys().len(),
        MANY,
        "nobody said why they went"
    );
    world.consumer.relist();
    world.wait(Duration::from_secs(5)).await;
    assert_eq!(world.provider.keys().len(), MANY);
    assert_eq!(world.counts().held, MANY);
}
