//! The life of an object, and what each part of it costs.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::{Key, start};
use super::world::{World, consumer_key, provider_key, widget};

#[tokio::test(start_paused = true)]
async fn creating_takes_three_requests_and_sets_all_markers() {
    let world = World::started().await;
    world.consumer.put(widget("a"));
    world.rest().await;
    assert_eq!(
        world.requests(),
        (vec!["apply".into(), "apply".into()], vec!["apply".into()])
    );
    let (original, copy) = (world.original("a"), world.copy("a"));
    assert_eq!(copy["spec"], json!({"size": 3}));
    assert_eq!(copy["metadata"]["labels"], json!({"tier": "gold"}));
    assert_eq!(
        copy["metadata"]["annotations"],
        json!({
            "kube-bind.io/cluster-namespace": "kube-bind-abc",
            "kube-bind.io/consumer-namespace": "team",
            "kube-bind.io/consumer-uid": original["metadata"]["uid"],
        })
    );
    assert_eq!(
        original["metadata"]["finalizers"],
        json!(["kubebind.io/syncer"])
    );
    assert_eq!(
        original["metadata"]["annotations"],
        json!({
            "kube-bind.io/provider-namespace": "kube-bind-abc-team",
            "kube-bind.io/provider-uid": copy["metadata"]["uid"],
        })
    );
    assert_eq!((world.counts().objects, world.counts().synced), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_change_takes_one_request_and_removals_arrive() {
    let world = World::synced("a").await;
    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"] = json!({"color": "red"});
        object["metadata"]["labels"] = json!({"other": "1"});
        object["data"] = json!({"k": "v"});
    });
    world.rest().await;
    assert_eq!(world.requests(), (vec![], vec!["apply".into()]));
    let copy = world.copy("a");
    assert_eq!(copy["spec"], json!({"color": "red"}));
    assert_eq!(copy["metadata"]["labels"], json!({"other": "1"}));
    assert_eq!(copy["data"], json!({"k": "v"}));
}

#[tokio::test(start_paused = true)]
async fn a_status_takes_one_request_and_its_removal_too() {
    let world = World::synced("a").await;
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"ready": true, "n": 1.0});
    });
    world.rest().await;
    assert_eq!(
        world.original("a")["status"],
        json!({"ready": true, "n": 1.0})
    );
    assert_eq!(world.requests(), (vec!["json_patch".into()], vec![]));
    world.provider.change(&provider_key("a"), |copy| {
        copy.as_object_mut().unwrap().remove("status");
    });
    world.rest().await;
    assert_eq!(world.original("a").get("status"), None);
    assert_eq!(world.requests(), (vec!["json_patch".into()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_kind_without_status_subresource_gets_its_status_and_keeps_its_spec() {
    let world = World::new();
    world.consumer.without_status_subresource();
    world.provider.without_status_subresource();
    let (mut config, ports) = world.parts();
    config.has_status_subresource = false;
    let engine = start(config, ports, &CancellationToken::new());
    world.consumer.put(widget("a"));
    world.rest().await;
    world.requests();
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"ready": true});
        copy["spec"]["size"] = 9.into();
    });
    world.rest().await;
    let original = world.original("a");
    assert_eq!(original["status"], json!({"ready": true}));
    assert_eq!(original["spec"], json!({"size": 3}));
    // What a user writes into the status goes nowhere and does not stay.
    world.consumer.change(&consumer_key("a"), |object| {
        object["status"] = json!({"ready": false});
    });
    // A fight over it is fought slowly.
    world.wait(Duration::from_secs(30)).await;
    assert_eq!(world.copy("a")["status"], json!({"ready": true}));
    assert_eq!(world.copy("a")["spec"], json!({"size": 3}));
    assert_eq!(world.original("a")["status"], json!({"ready": true}));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_nothing_happens() {
    let mut world = World::synced("a").await;
    let mut waiting = widget("b");
    waiting["metadata"]["namespace"] = "new".into();
    world.consumer.put(waiting);
    world.rest().await;
    assert_eq!(world.counts().waiting_namespace, 1);
    // After a minute it is told that somebody is needed.
    world.wait(Duration::from_secs(70)).await;
    assert_eq!(world.requests(), (vec!["apply".into()], vec![]));
    let waiting = world
        .consumer
        .object(&Key::new("new", "b"))
        .expect("it is there");
    let problem = &waiting["metadata"]["annotations"]["kube-bind.io/sync-problem"];
    assert!(problem.as_str().unwrap().contains("no namespace"));
    world.wait(Duration::from_secs(3600)).await;
    assert_eq!(world.requests(), (vec![], vec![]));
    assert_eq!(world.counts().waiting_namespace, 1);
    assert_eq!(*world.namespaces.requested.lock().unwrap(), ["new"]);
    // Whoever comes later learns from the object for how long it has waited.
    world.restart().await;
    assert_eq!(world.requests(), (vec![], vec![]));
    assert_eq!(world.told.lock().unwrap().raised.len(), 1);
    // It was waiting all the time.
    world.namespaces.map("new");
    world.rest().await;
    assert_eq!(world.counts().synced, 2);
}

#[tokio::test(start_paused = true)]
async fn deleting_takes_two_requests() {
    let world = World::synced("a").await;
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert_eq!(
        world.requests(),
        (vec!["merge_patch".into()], vec!["delete".into()])
    );
    assert_eq!(world.consumer.object(&consumer_key("a")), None);
    assert_eq!(world.provider.object(&provider_key("a")), None);
    assert_eq!(world.counts().objects, 0);
}

#[tokio::test(start_paused = true)]
async fn deleting_waits_for_the_finalizers_of_the_provider() {
    let world = World::synced("a").await;
    world.provider.change(&provider_key("a"), |copy| {
        copy["metadata"]["finalizers"] = json!(["operator/x"]);
    });
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert!(
        world.consumer.object(&consumer_key("a")).is_some(),
        "held until the copy is gone"
    );
    world.provider.change(&provider_key("a"), |copy| {
        copy["metadata"]["finalizers"] = json!([]);
    });
    world.rest().await;
    assert_eq!(world.consumer.object(&consumer_key("a")), None);
}

#[tokio::test(start_paused = true)]
async fn finalizers_of_others_on_the_consumer_stay() {
    let world = World::synced("a").await;
    world.consumer.change(&consumer_key("a"), |object| {
        object["metadata"]["finalizers"] = json!(["kubebind.io/syncer", "team/x"]);
    });
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert_eq!(world.provider.object(&provider_key("a")), None);
    assert_eq!(
        world.original("a")["metadata"]["finalizers"],
        json!(["team/x"])
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_nothing_changed_takes_no_request() {
    let mut world = World::synced("a").await;
    world.provider.change(&provider_key("a"), |copy| {
        copy["status"] = json!({"ready": true});
    });
    world.rest().await;
    world.requests();
    world.restart().await;
    assert_eq!(world.counts().synced, 1);
    assert_eq!(world.requests(), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_changed_during_downtime_is_made_up_for() {
    let mut world = World::new();
    world.consumer.put(widget("a"));
    world.start();
    world.rest().await;
    assert_eq!(world.counts().synced, 1);
    world.consumer.put(widget("b"));
    world.restart().await;
    assert_eq!(world.counts().synced, 2);
}

#[tokio::test(start_paused = true)]
async fn lists_again_without_writing_anything() {
    let world = World::synced("a").await;
    world.consumer.relist();
    world.provider.relist();
    world.rest().await;
    assert_eq!(world.requests(), (vec![], vec![]));
    assert_eq!(world.counts().synced, 1);
}
