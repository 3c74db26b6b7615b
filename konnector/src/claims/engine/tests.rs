//! A whole engine between two scripted clusters: what it deletes, and what it leaves.

use std::time::Instant as Time;

use http::Method;
use kube_bind_crds::api::PermissionClaim;
use serde_json::{Value, json};

use super::super::Ending;
use super::*;
use crate::sync::{Breaker, Share};
use crate::test_support::{WEBHOOK_DENIES, failure, lacks};

mod ending;
mod recall;
mod scene;
mod unheard;

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
    for name in ["tls", "without"] {
        let left = scene.provider.get("tenant-shop", name);
        assert!(is_unmarked(left), "{:?}", scene.provider.writes());
    }
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

fn named(name: &str) -> Value {
    json!({"namedResources": [{"name": name}]})
}

fn is_unmarked(object: Option<Value>) -> bool {
    let Some(object) = object else {
        return false;
    };
    let metadata = &object["metadata"];
    let marks = [&metadata["labels"], &metadata["annotations"]];
    let is_empty = |marks: &&Value| marks.as_object().is_none_or(serde_json::Map::is_empty);
    marks.iter().all(is_empty)
}

/// A copy on the consumer of what the provider has, marked for a binding, and its source.
fn borrowed(name: &str, binding: &str) -> (Value, Value) {
    let owner = json!({"kube-bind.io/owner": "provider"});
    let marks = json!({
        "kube-bind.io/provider-cluster": "uid-1",
        "kube-bind.io/provider-uid": format!("uid-tenant-shop-{name}"),
        "kube-bind.io/binding": binding,
    });
    let source = secret("tenant-shop", name, &owner, &json!({}));
    (secret("shop", name, &owner, &marks), source)
}

#[tokio::test(start_paused = true)]
async fn what_a_claim_does_not_name_any_more_is_taken_back() {
    for restarted in [false, true] {
        let (copy, source) = borrowed("theirs", "b");
        let mine = vec![marked("x", "b"), copy];
        let scene = Scene::start(&["b"], mine, vec![lent("x", "b"), source]);
        let engine = &scene.engine;
        if !restarted {
            let both = json!({"namedResources": [{"name": "x"}, {"name": "theirs"}]});
            engine.claim("b", rule(&both, None));
            scene.settled().await;
            assert_eq!(scene.provider.writes(), [""; 0]);
            assert_eq!(scene.consumer.writes(), [""; 0]);
        }
        engine.claim("b", rule(&named("y"), None));
        scene.settled().await;
        assert_eq!(scene.provider.writes(), ["DELETE tenant-shop/x"]);
        assert!(is_unmarked(scene.consumer.get("shop", "x")));
        assert_eq!(scene.consumer.get("shop", "theirs"), None);
        let reads = scene.consumer.reads().len();
        engine.touch_all();
        scene.settled().await;
        assert_eq!(scene.consumer.reads().len(), reads, "nothing is left there");
        engine.claim("b", rule(&named("y"), None).end(Ending::Delete));
        scene.settled().await;
        assert_eq!(engine.copies_of("b"), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_outside_of_a_narrower_list_stays_until_the_binding_ends() {
    for (ending, right) in [
        (Ending::Delete, true),
        (Ending::Delete, false),
        (Ending::Orphan, false),
    ] {
        let scene = Scene::start(&["b"], vec![marked("x", "b")], vec![lent("x", "b")]);
        let engine = &scene.engine;
        let all = json!({"labelSelector": {}});
        engine.claim("b", rule(&all, None));
        scene.settled().await;
        engine.claim("b", rule(&all, Some(&["team"])));
        if !right {
            let words = lacks("get", "secrets");
            scene
                .consumer
                .refuse(Method::GET, "/namespaces/shop/", words);
        }
        scene.settled().await;
        assert_eq!(scene.provider.writes(), [""; 0]);
        assert_eq!(scene.consumer.reads(), [""; 0]);

        let narrow = rule(&all, Some(&["team"]));
        engine.claim("b", narrow.end(ending));
        scene.settled().await;
        assert_eq!(engine.copies_of("b"), Some(0));
        let copy = scene.provider.get("tenant-shop", "x");
        match ending {
            Ending::Delete => assert_eq!(copy, None),
            Ending::Orphan => assert!(is_unmarked(copy)),
        }
        let source = scene.consumer.get("shop", "x");
        assert_eq!(
            is_unmarked(source),
            right,
            "without the right it stays as it is"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_suspended_binding_has_outside_keeps_no_other_from_ending() {
    let (copy, source) = borrowed("theirs", "suspended");
    let scene = Scene::start(&["ends", "suspended"], vec![copy], vec![source]);
    let engine = &scene.engine;
    engine.claim("suspended", rule(&named("y"), None).suspend(true));
    engine.claim("ends", rule(&named("z"), None).end(Ending::Delete));
    scene.settled().await;
    assert_eq!(engine.copies_of("ends"), Some(0));
    assert!(scene.consumer.get("shop", "theirs").is_some());
    engine.suspend("suspended", false);
    scene.settled().await;
    assert_eq!(scene.consumer.get("shop", "theirs"), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_outside_of_a_narrower_list_stays_although_another_claim_sees_it() {
    let scene = Scene::start(&["b", "wide"], vec![marked("x", "b")], vec![lent("x", "b")]);
    scene.engine.claim("wide", rule(&nothing(), None));
    scene
        .engine
        .claim("b", rule(&json!({"labelSelector": {}}), Some(&["team"])));
    scene.settled().await;
    assert_eq!(scene.provider.writes(), [""; 0]);
}

/// What is said to a binding after a while of what fails now.
fn lasting(engine: &ClaimsEngine) -> Option<String> {
    let now = Time::now();
    let first = engine.failing("b", now);
    assert_eq!(first.why, None, "what has just begun is not said");
    engine.failing("b", now + first.again?).why
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_is_said_until_it_runs_again() {
    const ALL: &str = "/api/v1/secrets";
    const THERE: &str = "/namespaces/tenant-shop/secrets";
    for listed in [true, false] {
        for (side, path) in [(Side::Consumer, ALL), (Side::Provider, THERE)] {
            let scene = Scene::start(&["b"], vec![], vec![]);
            let cluster = match side {
                Side::Consumer => &scene.consumer,
                Side::Provider => &scene.provider,
            };
            if !listed {
                cluster.refuse(Method::GET, path, lacks("list", "secrets"));
            }
            scene.engine.claim("b", rule(&nothing(), None));
            scene.settled().await;
            if listed {
                assert_eq!(lasting(&scene.engine), None);
                cluster.refuse(Method::GET, path, failure(500, "no storage"));
                cluster.expire();
                scene.settled().await;
            }
            assert_eq!(scene.engine.listed("b"), listed);
            let why = lasting(&scene.engine).unwrap();
            let words = if listed { "no storage" } else { "cannot list" };
            assert!(why.contains(words), "{why}");
            cluster.allow();
            scene.settled().await;
            assert_eq!(lasting(&scene.engine), None);
            assert!(scene.engine.listed("b"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_to_write_that_is_missing_is_said_and_a_refused_copy_is_a_conflict() {
    let all = rule(&json!({"labelSelector": {}}), None);
    let mine = || secret("shop", "tls", &json!({}), &json!({}));
    let scene = Scene::start(&["b"], vec![mine()], vec![]);
    let (engine, provider) = (&scene.engine, &scene.provider);
    provider.refuse(Method::POST, "/secrets", lacks("create", "secrets"));
    engine.claim("b", all.clone());
    scene.settled().await;
    let why = lasting(engine).unwrap();
    assert!(why.contains("cannot create"), "{why}");
    assert_eq!(engine.conflicts_of("b"), 0);

    provider.refuse(Method::POST, "/secrets", failure(403, WEBHOOK_DENIES));
    scene.settled().await;
    scene.settled().await;
    assert_eq!(lasting(engine), None, "one object says nothing of others");
    assert_eq!(engine.conflicts_of("b"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_to_one_claim_keeps_no_narrower_one_from_its_sync() {
    let scene = Scene::start(&["b", "wide"], vec![], vec![]);
    let (engine, consumer) = (&scene.engine, &scene.consumer);
    let everywhere = "/api/v1/secrets?";
    consumer.refuse(Method::GET, everywhere, lacks("list", "secrets"));
    engine.claim("wide", rule(&nothing(), None));
    engine.claim("b", rule(&nothing(), Some(&["shop"])));
    scene.settled().await;
    assert!(engine.denied("wide").is_some() && !engine.listed("wide"));
    assert_eq!(engine.denied("b"), None);
    assert!(engine.listed("b"));
    assert_eq!(lasting(engine), None);
    assert_eq!(engine.copies_of("b"), Some(0));

    consumer.allow();
    scene.settled().await;
    assert_eq!(engine.denied("wide"), None);
    assert!(engine.listed("wide") && engine.listed("b"));
    engine.forget("wide");
    scene.settled().await;
    assert!(engine.listed("b"), "it is watched by itself again");
}
