//! What a person may say while an engine runs.

use std::time::Duration;

use serde_json::json;

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
