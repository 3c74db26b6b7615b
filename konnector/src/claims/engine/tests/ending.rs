//! What becomes of claimed objects when a binding ends, and who says so.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_bind_crds::api::APIServiceBinding;

use super::scene::binding;
use super::*;

/// A binding that is being deleted, with a claim on Secrets on record.
fn deleting(name: &str) -> APIServiceBinding {
    let mut binding = binding(name);
    binding.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let claim = json!({"group": "", "resource": "secrets", "selector": nothing()});
    let status = json!({"permissionClaims": [claim]});
    binding.status = Some(serde_json::from_value(status).unwrap());
    binding
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_ends_says_itself_when_its_claimed_copies_may_go() {
    let scene = Scene::with(
        vec![deleting("ends"), binding("other")],
        vec![marked("tls", "ends")],
        vec![lent("tls", "ends")],
    );
    scene.engine.claim("other", rule(&nothing(), None));
    scene.settled().await;
    assert_eq!(scene.provider.writes(), [""; 0], "its objects may need it");
    assert_eq!(scene.consumer.writes(), [""; 0]);
    scene
        .engine
        .claim("ends", rule(&nothing(), None).end(Ending::Delete));
    scene.settled().await;
    assert_eq!(scene.provider.get("tenant-shop", "tls"), None);
    assert!(is_unmarked(scene.consumer.get("shop", "tls")));
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_which_only_the_kind_is_known_is_taken_back_by_its_marks() {
    let (copy, source) = borrowed("theirs", "ends");
    let mine = vec![marked("tls", "ends"), copy];
    let scene = Scene::start(&["ends"], mine, vec![lent("tls", "ends"), source]);
    let engine = &scene.engine;
    engine.claim("ends", rule(&json!({}), None).end(Ending::Delete));
    scene.settled().await;
    assert_eq!(engine.copies_of("ends"), Some(0));
    assert_eq!(scene.provider.get("tenant-shop", "tls"), None);
    assert!(is_unmarked(scene.consumer.get("shop", "tls")));
    assert_eq!(scene.consumer.get("shop", "theirs"), None);
    assert!(scene.provider.get("tenant-shop", "theirs").is_some());
}

/// An object with a finalizer that nobody takes off.
fn stuck(mut object: Value) -> Value {
    let metadata = &mut object["metadata"];
    metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    metadata["finalizers"] = json!(["example.org/backup"]);
    object
}

#[tokio::test(start_paused = true)]
async fn an_orphan_end_does_not_wait_for_what_terminates() {
    let scene = Scene::start(
        &["ends"],
        vec![stuck(marked("tls", "ends"))],
        vec![stuck(lent("tls", "ends"))],
    );
    scene
        .engine
        .claim("ends", rule(&nothing(), None).end(Ending::Orphan));
    scene.settled().await;
    assert_eq!(scene.engine.copies_of("ends"), Some(0));
    assert!(is_unmarked(scene.provider.get("tenant-shop", "tls")));
    assert!(is_unmarked(scene.consumer.get("shop", "tls")));
}

#[tokio::test(start_paused = true)]
async fn an_orphan_end_does_not_wait_for_marks_that_the_provider_keeps_on() {
    let scene = Scene::start(
        &["ends"],
        vec![marked("tls", "ends")],
        vec![lent("tls", "ends")],
    );
    let (engine, provider) = (&scene.engine, &scene.provider);
    provider.refuse(Method::PATCH, "/secrets/tls", failure(403, WEBHOOK_DENIES));
    let ends = |how| engine.claim("ends", rule(&nothing(), None).end(how));
    ends(Ending::Orphan);
    assert_eq!(engine.copies_of("ends"), None, "not listed yet");
    scene.settled().await;
    assert_eq!(engine.copies_of("ends"), Some(0));
    assert!(is_unmarked(scene.consumer.get("shop", "tls")));
    assert_eq!(engine.conflicts_of("ends"), 1);
    let notes = scene.consumer.notes();
    assert!(notes[0].starts_with("ends: Secret shop/tls"), "{notes:?}");
    let why = engine.kept("ends").unwrap();
    assert!(why.contains("shop/tls") && why.contains("denied"), "{why}");

    ends(Ending::Delete);
    assert_eq!(
        engine.copies_of("ends"),
        Some(1),
        "another end needs it gone"
    );
    scene.settled().await;
    assert_eq!(engine.copies_of("ends"), Some(0));
    assert_eq!(engine.kept("ends"), None);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_the_provider_does_not_let_go_is_told_to_the_binding_that_ends() {
    let scene = Scene::start(
        &["ends"],
        vec![marked("tls", "ends")],
        vec![lent("tls", "ends")],
    );
    let (engine, provider) = (&scene.engine, &scene.provider);
    provider.refuse(Method::DELETE, "/secrets/tls", failure(403, WEBHOOK_DENIES));
    let ends = |how| engine.claim("ends", rule(&nothing(), None).end(how));
    ends(Ending::Delete);
    scene.settled().await;
    assert_eq!(engine.copies_of("ends"), Some(1));
    assert!(engine.kept("ends").is_some());

    ends(Ending::Orphan);
    assert_eq!(engine.copies_of("ends"), Some(1), "it was not tried yet");
    scene.settled().await;
    assert_eq!(engine.copies_of("ends"), Some(0));
    assert!(is_unmarked(provider.get("tenant-shop", "tls")));
}
