//! What a person may say while an engine runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::{Ports, start};
use super::world::{World, consumer_key, provider_key, widget};

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_suspended_and_all_is_made_up_for() {
    let world = World::synced("a").await;
    world.consumer.put(widget("gone"));
    world.rest().await;
    world.requests();
    world.engine_handle().suspend(true);
    world.rest().await;
    assert!(world.counts().suspended);
    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"]["size"] = 4.into();
    });
    world.consumer.put(widget("b"));
    world.consumer.remove(&consumer_key("gone"));
    let mut elsewhere = widget("c");
    elsewhere["metadata"]["namespace"] = "new".into();
    world.consumer.put(elsewhere);
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"ready": true});
    });
    world.wait(Duration::from_secs(600)).await;
    assert_eq!(world.requests(), (vec![], vec![]));
    assert!(world.namespaces.requested.lock().unwrap().is_empty());
    assert_eq!(
        (world.counts().objects, world.counts().pending),
        (4, 3),
        "the watches go on"
    );

    world.engine_handle().suspend(false);
    world.rest().await;
    assert!(!world.counts().suspended);
    assert_eq!(world.counts().synced, 2);
    assert_eq!(world.copy("a")["spec"]["size"], 4);
    assert_eq!(world.original("a")["status"], json!({"ready": true}));
    assert_eq!(world.provider.object(&provider_key("gone")), None);
    assert_eq!(*world.namespaces.requested.lock().unwrap(), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_may_not_write_reads_nothing_and_asks_for_all_its_objects_together() {
    const OBJECTS: usize = 50;
    let name = |n: usize| format!("w{n}");
    let world = World::new();
    let leads = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let (config, ports) = world.parts();
    let fence = (Arc::clone(&leads), Arc::clone(&asked));
    let ports = Ports {
        fence: Arc::new(move || {
            fence.1.fetch_add(1, Ordering::Relaxed);
            let leads = fence.0.load(Ordering::Relaxed);
            if leads { Duration::MAX } else { Duration::ZERO }
        }),
        ..ports
    };
    let engine = start(config, ports, &CancellationToken::new());
    for n in 0..OBJECTS {
        world.consumer.put(widget(&name(n)));
    }
    world.rest().await;
    assert_eq!(engine.counts().synced, OBJECTS);
    world.requests();

    leads.store(false, Ordering::Relaxed);
    for n in 0..OBJECTS {
        world.provider.vanish(&provider_key(&name(n)));
    }
    asked.store(0, Ordering::Relaxed);
    world.wait(Duration::from_secs(60)).await;
    assert_eq!(world.requests(), (vec![], vec![]));
    let asked = asked.load(Ordering::Relaxed);
    assert!((50..100).contains(&asked), "asked {asked} times");

    leads.store(true, Ordering::Relaxed);
    world.wait(Duration::from_secs(2)).await;
    assert_eq!(engine.counts().synced, OBJECTS);
}
