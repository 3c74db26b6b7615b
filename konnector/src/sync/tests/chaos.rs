//! Many seeded schedules of changes, lost answers, lists, restarts, and two leaders at once: what is left in the end is
//! what the consumer wants, and nothing foreign was touched.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::world::{World, consumer_key, provider_key, widget};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// The provider's own object, whose name a consumer may take.
const FOREIGN: &str = "d";

fn foreign() -> Value {
    let mut object = widget(FOREIGN);
    object["metadata"]["namespace"] = "kube-bind-abc-team".into();
    object["spec"] = json!({"color": "theirs"});
    object
}

/// One thing that happens.
async fn happen(world: &mut World, random: &mut SmallRng) {
    let name = NAMES[random.random_range(0..NAMES.len())];
    let number = random.random_range(0..100);
    let (consumer, provider) = (consumer_key(name), provider_key(name));
    let original = world.consumer.object(&consumer);
    let copy = world.provider.object(&provider).filter(|_| name != FOREIGN);
    match (random.random_range(0..9), original, copy) {
        (0..3, None, _) => {
            world.consumer.put(widget(name));
        }
        (0..2, Some(_), _) => {
            world
                .consumer
                .change(&consumer, |object| object["spec"] = json!({"size": number}));
        }
        (2, Some(_), _) => world.consumer.remove(&consumer),
        (3, _, Some(_)) => {
            world
                .provider
                .change(&provider, |copy| copy["status"] = json!({"n": number}));
        }
        (4, _, Some(_)) => {
            world
                .provider
                .change(&provider, |copy| copy["spec"]["size"] = number.into());
        }
        (5, _, Some(_)) => world.provider.remove(&provider),
        (6, Some(_), _) => world.consumer.vanish(&consumer),
        (7, _, _) => {
            world.consumer.relist();
            world.provider.relist();
        }
        (8, _, _) if number < 20 => world.restart().await,
        _ => {}
    }
    let pause = [0, 0, 1, 5, 60][random.random_range(0..5)];
    world.wait(Duration::from_millis(pause)).await;
}

async fn schedule(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut world = World::started().await;
    let theirs = world.provider.put(foreign());
    world.consumer.disturb(seed, 0.2);
    world.provider.disturb(seed + 1, 0.2);
    if seed.is_multiple_of(3) {
        world.start_rival();
    }
    for _ in 0..40 {
        happen(&mut world, &mut random).await;
    }
    world.stop_rival().await;
    world.consumer.recover();
    world.provider.recover();
    world.wait(Duration::from_secs(700)).await;

    assert_eq!(world.copy(FOREIGN), theirs, "seed {seed}");
    for name in NAMES.into_iter().filter(|name| *name != FOREIGN) {
        let original = world.consumer.object(&consumer_key(name));
        let copy = world.provider.object(&provider_key(name));
        let part =
            |object: &Option<Value>, part: &str| object.as_ref().map(|object| object[part].clone());
        let size =
            |object: &Option<Value>| object.as_ref().map(|object| object["spec"]["size"].clone());
        assert_eq!(size(&original), size(&copy), "seed {seed} {name}");
        assert_eq!(
            part(&original, "status"),
            part(&copy, "status"),
            "seed {seed} {name}"
        );
        let uid = copy
            .as_ref()
            .map(|copy| copy["metadata"]["annotations"]["kube-bind.io/consumer-uid"].clone());
        assert_eq!(
            uid,
            original.map(|object| object["metadata"]["uid"].clone()),
            "seed {seed} {name}"
        );
    }
    // A rival tells the same listener, and may have been stopped in the middle of an old story.
    if !seed.is_multiple_of(3) {
        let existing = NAMES
            .into_iter()
            .filter(|name| world.consumer.object(&consumer_key(name)).is_some());
        let existing: std::collections::BTreeSet<String> = existing.map(str::to_owned).collect();
        assert_eq!(
            world.told.lock().unwrap().referrers,
            existing,
            "seed {seed}: who may refer"
        );
    }
    assert_eq!(
        world.provider.keys().len() - 1,
        world.counts().synced,
        "seed {seed}"
    );
    assert_eq!(
        (world.counts().pending, world.counts().orphans),
        (0, 0),
        "seed {seed}"
    );
    world.requests();
    world.wait(Duration::from_secs(60)).await;
    assert_eq!(world.requests(), (vec![], vec![]), "seed {seed}: at rest");
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_it_ends_well() {
    for seed in 0..150 {
        schedule(seed).await;
    }
}
