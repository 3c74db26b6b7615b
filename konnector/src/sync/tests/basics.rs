//! The life of an object, and what each part of it costs.

use serde_json::json;

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
