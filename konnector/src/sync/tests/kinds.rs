//! Kinds of every scope, in every mode, and objects of every sort.

use std::sync::Arc;

use kube_bind_crds::api::{InformerScope, Isolation, ResourceScope};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::fake::FakeCluster;
use super::super::{EngineHandle, Key, start};
use super::world::{CLUSTER_NAMESPACE, World, consumer_key, provider_key, widget};

fn cluster_scoped(world: &World, isolation: Isolation) -> EngineHandle {
    let (mut config, ports) = world.parts();
    config.scope = ResourceScope::Cluster;
    config.isolation = isolation;
    config.informer_scope = InformerScope::Cluster;
    start(config, ports, &CancellationToken::new())
}

fn gadget(name: &str) -> Value {
    let mut object = widget(name);
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("namespace");
    object
}

#[tokio::test(start_paused = true)]
async fn cluster_scoped_objects_live_where_their_mode_says_and_go_with_their_consumer() {
    let own = || json!([{"apiVersion": "v1", "kind": "Namespace", "name": CLUSTER_NAMESPACE, "uid": "u"}]);
    let modes = [
        (Isolation::None, Key::new("", "a"), own()),
        (Isolation::Prefixed, Key::new("", "kube-bind-abc-a"), own()),
        (
            Isolation::Namespaced,
            Key::new(CLUSTER_NAMESPACE, "a"),
            Value::Null,
        ),
    ];
    for (isolation, place, owner) in modes {
        let world = World::new();
        // The provider's own objects, in and out of the way.
        let natives = [Key::new("", "native"), Key::new("", "kube-bind-abc-native")];
        let natives = natives.map(|key| world.provider.put(gadget(&key.name)));
        let engine = cluster_scoped(&world, isolation);
        world.rest().await;
        world.requests();
        let here = Key::new("", "a");
        world.consumer.put(gadget("a"));
        world.rest().await;
        let (consumer, provider) = world.requests();
        assert_eq!((consumer.len(), provider.len()), (2, 1), "{isolation:?}");
        let copy = world.provider.object(&place).expect("the copy exists");
        assert_eq!(copy["metadata"]["ownerReferences"], owner, "{isolation:?}");
        assert_eq!(
            copy["metadata"]["annotations"]["kube-bind.io/consumer-namespace"],
            ""
        );
        world
            .provider
            .change(&place, |copy| copy["status"] = json!({"n": 1}));
        world
            .consumer
            .change(&here, |object| object["spec"] = json!({"size": 4}));
        world.rest().await;
        let original = world.consumer.object(&here).expect("it is there");
        assert_eq!(original["status"], json!({"n": 1}));
        let copy = world.provider.object(&place).expect("the copy exists");
        assert_eq!(copy["spec"], json!({"size": 4}));
        world.consumer.remove(&here);
        world.rest().await;
        assert_eq!(world.provider.object(&place), None);
        assert_eq!(world.consumer.object(&here), None);
        assert_eq!(engine.counts().objects, 0, "{isolation:?}");
        for native in natives {
            let key = Key::new("", native["metadata"]["name"].as_str().unwrap());
            assert_eq!(world.provider.object(&key), Some(native), "{isolation:?}");
        }
        engine.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_mapped_name_that_is_too_long_is_said_once_and_not_tried() {
    let world = World::new();
    let engine = cluster_scoped(&world, Isolation::Prefixed);
    let long = "x".repeat(245);
    world.consumer.put(gadget(&long));
    world.wait(std::time::Duration::from_secs(3600)).await;
    assert_eq!(engine.counts().rejected, 1);
    assert_eq!(world.requests(), (vec!["apply".into()], vec![]));
    let object = world.consumer.object(&Key::new("", long)).unwrap();
    let problem = &object["metadata"]["annotations"]["kube-bind.io/sync-problem"];
    assert!(problem.as_str().unwrap().contains("253"), "{problem}");
    assert_eq!(object["metadata"].get("finalizers"), None);
    let told = world.told.lock().unwrap().raised.clone();
    assert!(told[0].starts_with("SyncImpossibleName: "), "{told:?}");
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespaced_kind_may_be_watched_in_all_namespaces() {
    let world = World::new();
    let (mut config, ports) = world.parts();
    config.informer_scope = InformerScope::Cluster;
    let engine = start(config, ports, &CancellationToken::new());
    // Of another consumer, in a namespace of nobody here.
    let mut other = widget("a");
    other["metadata"]["namespace"] = "kube-bind-xyz-team".into();
    let other = world.provider.put(other);
    world.consumer.put(widget("a"));
    world.rest().await;
    assert!(world.provider.object(&provider_key("a")).is_some());
    assert_eq!((engine.counts().objects, engine.counts().synced), (1, 1));
    let there = Key::new("kube-bind-xyz-team", "a");
    assert_eq!(world.provider.object(&there), Some(other));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_object_went_while_its_namespace_was_not_mapped_goes_when_it_is() {
    let world = World::new();
    let engine = || {
        let (mut config, ports) = world.parts();
        config.informer_scope = InformerScope::Cluster;
        start(config, ports, &CancellationToken::new())
    };
    let first = engine();
    world.consumer.put(widget("a"));
    world.rest().await;
    assert!(world.provider.object(&provider_key("a")).is_some());
    first.stop().await;
    world.consumer.vanish(&consumer_key("a"));
    world.namespaces.unmap_quietly("team");
    let second = engine();
    world.rest().await;
    assert!(world.provider.object(&provider_key("a")).is_some());
    world.namespaces.map("team");
    world.rest().await;
    assert_eq!(world.provider.object(&provider_key("a")), None);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn odd_values_arrive_as_they_are_and_come_to_rest() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let mut world = World::new();
    world.consumer = FakeCluster::new(&schema);
    world.provider = FakeCluster::new(&schema);
    let (mut config, ports) = world.parts();
    config.schema = Arc::new(schema);
    let engine = start(config, ports, &CancellationToken::new());
    let spec = json!({
        "text": "žluťoučký \u{1F980}\u{202E} \u{0}\u{2028} \"quoted\" \\ tab\t",
        "yes": "yes", "octal": "0777", "empty": "",
        "none": {}, "nothing": [], "nested": {"none": {}, "list": [{}, []]},
        "large": 9_007_199_254_740_993_i64, "least": i64::MIN, "float": 1.5e-300, "whole": 2.0,
        "blob": "x".repeat(1_400_000),
    });
    let mut object = widget("a-5f7xk");
    object["metadata"]["generateName"] = "a-".into();
    object["spec"] = spec.clone();
    object["extra"] = json!({"k": ["v"]});
    world.consumer.put(object);
    world.rest().await;
    let copy = world.copy("a-5f7xk");
    assert_eq!(copy["spec"], spec);
    assert_eq!(copy["extra"], json!({"k": ["v"]}));
    assert_eq!(
        copy["metadata"].get("generateName"),
        None,
        "the name is made"
    );
    assert_eq!(engine.counts().synced, 1);
    world.requests();
    world.wait(std::time::Duration::from_secs(600)).await;
    assert_eq!(world.requests(), (vec![], vec![]));

    world.consumer.change(&consumer_key("a-5f7xk"), |object| {
        object["spec"] = json!({"none": {}, "nothing": []});
        object.as_object_mut().unwrap().remove("extra");
        object["metadata"].as_object_mut().unwrap().remove("labels");
    });
    world.rest().await;
    let copy = world.copy("a-5f7xk");
    assert_eq!(copy["spec"], json!({"none": {}, "nothing": []}));
    assert_eq!((copy.get("extra"), engine.counts().synced), (None, 1));
    assert!(
        copy["metadata"]["labels"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    );
    engine.stop().await;
}
