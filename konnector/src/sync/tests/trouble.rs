//! What goes wrong, and what the engine must not do then.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::cluster::Error;
use super::world::{World, consumer_key, provider_key, widget};

#[tokio::test(start_paused = true)]
async fn an_object_waits_for_its_namespace() {
    let world = World::started().await;
    let mut object = widget("a");
    object["metadata"]["namespace"] = "new".into();
    world.consumer.put(object);
    world.rest().await;
    assert_eq!(world.counts().waiting_namespace, 1);
    assert_eq!(*world.namespaces.requested.lock().unwrap(), ["new"]);
    assert_eq!(world.requests(), (vec![], vec![]));
    world.namespaces.map("new");
    world.rest().await;
    assert_eq!(world.counts().synced, 1);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_still_missing_is_asked_for_again_when_the_request_is_lost() {
    let world = World::started().await;
    let mut object = widget("a");
    object["metadata"]["namespace"] = "new".into();
    world.consumer.put(object);
    world.wait(Duration::from_secs(120)).await;
    world.namespaces.forget_requests();
    world.rest().await;
    assert_eq!(*world.namespaces.requested.lock().unwrap(), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_ready_is_waited_for() {
    let world = World::started().await;
    world.provider.fail_next(
        "apply",
        Error::NamespaceGone {
            message: "m".into(),
        },
    );
    world.consumer.put(widget("a"));
    world.wait(Duration::from_secs(3)).await;
    assert_eq!(world.counts().synced, 1);
    assert!(world.told.lock().unwrap().raised.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_a_request_finds_before_the_watch_is_told_once() {
    let mut world = World::started().await;
    world.provider.silence();
    let mut foreign = widget("a");
    foreign["metadata"]["namespace"] = provider_key("a").namespace.into();
    world.provider.put(foreign);
    world.consumer.put(widget("a"));
    world.rest().await;
    let conflicts = |world: &World| {
        let told = world.told.lock().unwrap();
        let conflict = |told: &&String| told.starts_with("SyncConflict: ");
        (
            told.raised.iter().filter(conflict).count(),
            told.raised.len(),
        )
    };
    assert_eq!(conflicts(&world), (1, 1));
    world.provider.recover();
    world.rest().await;
    assert_eq!(conflicts(&world), (1, 1));
    world.restart().await;
    world.rest().await;
    assert_eq!(conflicts(&world), (1, 1), "it was told before the restart");
}

#[tokio::test(start_paused = true)]
async fn the_list_of_a_namespace_that_is_nobodys_says_nothing_about_the_others() {
    let world = World::synced("a").await;
    world.namespaces.map("other");
    world.rest().await;
    world.provider.change(&provider_key("a"), |copy| {
        copy["metadata"]["finalizers"] = json!(["operator/x"]);
    });
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    world.namespaces.unmap_quietly("other");
    world.provider.relist();
    world.rest().await;
    assert!(
        world.consumer.object(&consumer_key("a")).is_some(),
        "released although its copy is still there"
    );
}

#[tokio::test(start_paused = true)]
async fn a_vanished_copy_is_made_again() {
    let world = World::synced("a").await;
    let first = world.copy("a")["metadata"]["uid"].clone();
    world.provider.remove(&provider_key("a"));
    world.rest().await;
    let copy = world.copy("a");
    assert_ne!(copy["metadata"]["uid"], first);
    let original = world.original("a");
    assert_eq!(
        original["metadata"]["annotations"]["kube-bind.io/provider-uid"],
        copy["metadata"]["uid"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_copy_of_a_vanished_object_is_deleted() {
    let mut world = World::synced("a").await;
    world.consumer.vanish(&consumer_key("a"));
    world.rest().await;
    assert_eq!(world.provider.object(&provider_key("a")), None);

    // And the same when it vanished while nobody looked.
    world.consumer.put(widget("b"));
    world.rest().await;
    world.consumer.vanish(&consumer_key("b"));
    world.restart().await;
    assert_eq!(world.provider.object(&provider_key("b")), None);
}

#[tokio::test(start_paused = true)]
async fn an_object_made_anew_after_its_deletion_gets_a_copy_of_its_own() {
    let world = World::synced("a").await;
    let first = world.copy("a")["metadata"]["uid"].clone();
    world.provider.change(&provider_key("a"), |copy| {
        copy["metadata"]["finalizers"] = json!(["operator/x"]);
    });
    // The watch tells that it was deleted, whoever took its finalizer off.
    world.consumer.vanish(&consumer_key("a"));
    world.consumer.put(widget("a"));
    world.rest().await;
    assert_eq!((world.counts().objects, world.counts().pending), (1, 1));
    world.provider.change(&provider_key("a"), |copy| {
        copy["metadata"]["finalizers"] = json!([]);
    });
    world.rest().await;
    assert_eq!(world.counts().synced, 1);
    assert_ne!(world.copy("a")["metadata"]["uid"], first);
}

#[tokio::test(start_paused = true)]
async fn an_object_made_anew_after_it_vanished_takes_its_copy_over() {
    let mut world = World::synced("a").await;
    let first = world.copy("a")["metadata"]["uid"].clone();
    world.stop().await;
    world.consumer.vanish(&consumer_key("a"));
    let mut again = widget("a");
    again["spec"]["size"] = 44.into();
    world.consumer.put(again);
    world.restart().await;
    assert_eq!(world.counts().synced, 1);
    assert_eq!(world.copy("a")["metadata"]["uid"], first);
    assert_eq!(world.copy("a")["spec"]["size"], 44);
    world.consumer.remove(&consumer_key("a"));
    world.rest().await;
    assert_eq!(world.provider.object(&provider_key("a")), None);
    assert_eq!(world.consumer.object(&consumer_key("a")), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_when_everything_vanishes_at_once() {
    let mut world = World::started().await;
    for n in 0..25 {
        world.consumer.put(widget(&format!("w{n}")));
    }
    world.rest().await;
    assert_eq!(world.counts().synced, 25);
    for n in 0..25 {
        world.consumer.vanish(&consumer_key(&format!("w{n}")));
    }
    world.provider.requests();
    world.restart().await;
    assert!(world.provider.requests().is_empty());
    assert_eq!((world.counts().orphans, world.counts().held), (25, 25));
    // Neither time nor a restart lets them go, but a person can.
    world.wait(Duration::from_secs(600)).await;
    world.restart().await;
    assert_eq!(world.counts().orphans, 25);
    world.release_deletes();
    world.rest().await;
    assert_eq!((world.counts().orphans, world.counts().held), (0, 0));
    assert!(world.provider.keys().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_person_deletes_is_never_held() {
    let world = World::started().await;
    for n in 0..30 {
        world.consumer.put(widget(&format!("w{n}")));
    }
    world.rest().await;
    for n in 0..30 {
        world.consumer.remove(&consumer_key(&format!("w{n}")));
    }
    world.wait(Duration::from_secs(1)).await;
    assert!(world.consumer.keys().is_empty());
    assert!(world.provider.keys().is_empty());
}

#[tokio::test(start_paused = true)]
async fn drift_is_undone_and_what_others_own_is_left_alone() {
    let world = World::synced("a").await;
    world.provider.change(&provider_key("a"), |copy| {
        copy["spec"]["size"] = 8.into();
        copy["spec"]["color"] = "blue".into();
    });
    world.rest().await;
    assert_eq!(world.copy("a")["spec"], json!({"size": 3, "color": "blue"}));
    // The consumer's body is not kept, so it is read again.
    assert_eq!(world.requests(), (vec!["get".into()], vec!["apply".into()]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_got_lost_is_made_up_for() {
    let world = World::started().await;
    let lost = || Error::Unavailable {
        message: "connection reset".into(),
        retry_after: None,
    };
    world.provider.fail_next("apply", lost());
    world.consumer.fail_next("apply", lost());
    world.consumer.put(widget("a"));
    world.wait(Duration::from_secs(1)).await;
    assert_eq!(world.counts().synced, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_server_left_undone_is_done_when_it_is_back() {
    let world = World::started().await;
    for _ in 0..100 {
        let error = Error::Unavailable {
            message: "connect".into(),
            retry_after: None,
        };
        world.provider.fail_next("apply", error);
    }
    world.consumer.put(widget("a"));
    world.wait(Duration::from_secs(120)).await;
    assert_eq!(world.counts().pending, 1);
    assert!(world.counts().provider_failing.is_some());
    let (consumer, _) = world.requests();
    assert_eq!(
        consumer,
        ["apply"],
        "nothing is read again for each attempt"
    );
    world.provider.recover();
    world.provider.relist();
    world.rest().await;
    assert_eq!(world.counts().synced, 1);
    assert_eq!(world.counts().provider_failing, None);
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_cluster_do_not_cross() {
    let world = World::started().await;
    let mut object = widget("a");
    object["metadata"]["annotations"] = json!({
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "argocd.argoproj.io/tracking-id": "x",
        "kube-bind.io/cluster-namespace": "forged",
        "example.io/note": "crosses",
    });
    world.consumer.put(object);
    world.rest().await;
    let annotations = world.copy("a")["metadata"]["annotations"].clone();
    let keys: Vec<_> = annotations.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "example.io/note",
            "kube-bind.io/cluster-namespace",
            "kube-bind.io/consumer-namespace",
            "kube-bind.io/consumer-uid"
        ]
    );
    assert_eq!(
        annotations["kube-bind.io/cluster-namespace"],
        "kube-bind-abc"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_original_is_adopted_before_it_changes() {
    let mut world = World::new();
    let original = world.consumer.put({
        let mut object = widget("a");
        object["metadata"]["finalizers"] = json!(["kubebind.io/syncer"]);
        object
    });
    let mut copy = widget("a");
    copy["metadata"]["namespace"] = "kube-bind-abc-team".into();
    copy["metadata"]["annotations"] = json!({
        "kube-bind.io/cluster-namespace": "kube-bind-abc",
        "kube-bind.io/consumer-namespace": "team",
        "kube-bind.io/consumer-uid": original["metadata"]["uid"],
    });
    let copy = world.provider.put(copy);
    // The original's POST is recorded under the name of its program.
    let rename = |copy: &mut Value| {
        copy["metadata"]["managedFields"][0]["manager"] = "konnector".into();
    };
    world.provider.change(&provider_key("a"), rename);
    world.start();
    world.rest().await;
    assert!(
        world.provider.requests().is_empty(),
        "taking over changes nothing by itself"
    );

    world.consumer.change(&consumer_key("a"), |object| {
        object["spec"] = json!({"color": "red"});
    });
    world.rest().await;
    assert_eq!(
        world.copy("a")["spec"],
        json!({"color": "red"}),
        "what was given at creation can be removed"
    );
    assert_eq!(world.copy("a")["metadata"]["uid"], copy["metadata"]["uid"]);
    assert_eq!(
        world.copy("a")["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
