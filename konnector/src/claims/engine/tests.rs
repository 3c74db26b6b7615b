//! A whole engine between two scripted clusters: what it deletes, and what it leaves.

use kube_bind_crds::api::PermissionClaim;
use serde_json::{Value, json};

use super::super::Ending;
use super::*;
use crate::sync::{Breaker, Share};

mod scene;

use scene::{Scene, secret};

fn rule(selector: &Value, namespaces: Option<&[&str]>) -> Rule {
    let claim = json!({"group": "", "resource": "secrets", "selector": selector});
    let claim: PermissionClaim = serde_json::from_value(claim).unwrap();
    let namespaces = namespaces.map(|all| all.iter().map(|n| (*n).to_owned()).collect());
    Rule::new(&claim, namespaces)
}

/// What nothing in these tests has.
fn nothing() -> Value {
    json!({"labelSelector": {"matchLabels": {"no": "such"}}})
}

/// The copy of a source of the consumer, marked for a binding.
fn lent(name: &str, binding: &str) -> Value {
    secret(
        "tenant-shop",
        name,
        &json!({"kube-bind.io/owner": "consumer"}),
        &json!({
            "kube-bind.io/cluster-namespace": "tenant",
            "kube-bind.io/consumer-namespace": "shop",
            "kube-bind.io/consumer-uid": format!("uid-shop-{name}"),
            "kube-bind.io/consumer-binding": binding,
        }),
    )
}

/// A source of the consumer, marked for a binding.
fn marked(name: &str, binding: &str) -> Value {
    secret(
        "shop",
        name,
        &json!({"kube-bind.io/owner": "consumer"}),
        &json!({"kube-bind.io/provider-cluster": "uid-1", "kube-bind.io/binding": binding}),
    )
}

#[tokio::test(start_paused = true)]
async fn what_a_binding_left_behind_stays_for_the_claims_of_others() {
    // It was let go while the provider was away: nothing is left of it but the marks there.
    let source = secret("shop", "tls", &json!({}), &json!({}));
    let copies = vec![lent("tls", "gone"), lent("without", "gone")];
    let scene = Scene::start(&["other"], vec![source], copies);
    scene.engine.claim("other", rule(&nothing(), None));
    scene.settled().await;
    let clean = |name: &str| {
        let metadata = scene.provider.get("tenant-shop", name)?["metadata"].clone();
        let marks = [&metadata["labels"], &metadata["annotations"]];
        Some(
            marks
                .iter()
                .all(|m| m.as_object().is_none_or(serde_json::Map::is_empty)),
        )
    };
    assert_eq!(clean("tls"), Some(true), "{:?}", scene.provider.writes());
    assert_eq!(clean("without"), Some(true));
    assert_eq!(scene.consumer.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn copies_of_a_binding_that_ends_go() {
    let scene = Scene::start(
        &["ends"],
        vec![marked("tls", "ends")],
        vec![lent("tls", "ends")],
    );
    scene
        .engine
        .claim("ends", rule(&nothing(), None).end(Ending::Delete));
    scene.settled().await;
    assert_eq!(scene.provider.get("tenant-shop", "tls"), None);
    let left = scene.consumer.get("shop", "tls").unwrap();
    assert_eq!(left["metadata"]["labels"], json!({}));
    assert_eq!(scene.engine.copies_of("ends"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn copies_of_the_original_are_left_alone_while_it_is_not_known_who_claims_them() {
    let annotations = json!({"kube-bind.io/provider-uid": "uid-tenant-shop-tls"});
    let owner = json!({"kube-bind.io/owner": "provider"});
    let copy = secret("shop", "tls", &owner, &annotations);
    let source = secret("tenant-shop", "tls", &owner, &json!({}));
    let scene = Scene::start(&["first", "second"], vec![copy], vec![source]);
    scene.engine.claim("first", rule(&nothing(), None));
    scene.settled().await;
    assert_eq!(scene.consumer.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_ended_claim_has_no_part_in_the_breaker() {
    for forgotten in [false, true] {
        let scene = Scene::start(&["b"], vec![], vec![]);
        let breaker = Breaker::default();
        let engine = &scene.engine;
        engine.claim("b", rule(&nothing(), None));
        engine.watch_over("b", &breaker);
        let vanished = Share {
            vanished: 40,
            listed: true,
            ..Share::default()
        };
        engine.members()["b"].update(vanished, Instant::now());
        assert_eq!(breaker.held(), 40);
        if forgotten {
            engine.end("b");
        } else {
            engine.claim("b", rule(&nothing(), None).end(Ending::Delete));
        }
        assert_eq!(breaker.held(), 0);
        let other = breaker.join(Instant::now());
        other.update(
            Share {
                vanished: 1,
                ..vanished
            },
            Instant::now(),
        );
        assert!(!other.holds(Instant::now()));
    }
}
