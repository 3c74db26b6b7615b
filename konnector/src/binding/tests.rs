//! Whole looks at one binding, against scripted servers.

mod former;
mod world;

use std::time::Duration;

use kube::runtime::controller::Action;
use kube_bind_crds::conditions::types;
use kube_bind_crds::names::{ANNOTATION_BINDING, ANNOTATION_RESOURCES};
use kube_bind_crds::switches::CLAIM_NAMESPACES;
use serde_json::{Value, json};

use crate::test_support::{WEBHOOK_DENIES, failure, lacks};
use world::World;

/// Longer than what is kept quiet of failures.
const A_WHILE: Duration = Duration::from_secs(6);

fn webhook_is_down() -> (u16, Value) {
    failure(
        500,
        "Internal error occurred: failed calling webhook \"guard.example.org\": connection refused",
    )
}

fn invalid() -> (u16, Value) {
    failure(422, "spec.versions[0].schema: Invalid value")
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_cannot_be_written_is_said_and_keeps_no_other_kind_from_its_sync() {
    let mut world = World::with(&[]).await;
    world.refuse("PATCH", "gadgets.example.org", webhook_is_down());
    world.look().await.unwrap();
    assert_eq!(world.running(), ["widgets"]);
    assert!(world.is_ready(), "it may pass in a moment");
    world.clock.advance(A_WHILE);
    world.look().await.unwrap();
    assert!(!world.is_ready());
    let connected = world.condition(types::CONNECTED);
    assert_eq!(connected.reason.as_deref(), Some("RequestFailed"));
    let words = connected.message.unwrap();
    assert!(words.contains("failed calling webhook"), "{words}");
    assert_eq!(world.running(), ["widgets"]);

    world.allow();
    world.look().await.unwrap();
    assert_eq!(world.running(), ["gadgets", "widgets"]);
}

#[tokio::test(start_paused = true)]
async fn a_kind_whose_definition_cannot_be_changed_is_synced_as_it_is_installed() {
    for (refusal, reason) in [
        (invalid(), "CustomResourceDefinitionUpdateFailed"),
        (
            failure(403, WEBHOOK_DENIES),
            "CustomResourceDefinitionUpdateFailed",
        ),
        (webhook_is_down(), "RequestFailed"),
    ] {
        // Nothing runs, as after a restart.
        let mut world = World::with(&[("gadgets", 10), ("widgets", 100)]).await;
        world.refuse("PATCH", "gadgets.example.org", refusal);
        world.look().await.unwrap();
        assert_eq!(world.running(), ["gadgets", "widgets"], "{reason}");
        let installed = gadgets_schema(&world);
        assert!(installed.contains("\"maximum\":10,"), "{installed}");
        world.clock.advance(A_WHILE);
        world.look().await.unwrap();
        assert_eq!(world.running(), ["gadgets", "widgets"]);
        let connected = world.condition(types::CONNECTED);
        assert_eq!(connected.reason.as_deref(), Some(reason));

        world.allow();
        world.clock.advance(A_WHILE);
        world.look().await.unwrap();
        let exported = gadgets_schema(&world);
        assert!(exported.contains("\"maximum\":100,"), "{exported}");
    }
}

fn gadgets_schema(world: &World) -> String {
    let gadgets = world.subtree.running().remove(0);
    let bound = world.subtree.bound(&gadgets).unwrap();
    bound.spec.versions[0].schema.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_denial_of_admission_leaves_the_sync_alone_and_a_missing_right_stops_it() {
    let mut world = World::with(&[("gadgets", 100), ("widgets", 100)]).await;
    world.look().await.unwrap();
    assert_eq!(world.running(), ["gadgets", "widgets"]);
    // Somebody changes the definition, and it is to be put right.
    let applied = world.subtree.applied.get_mut("gadgets.example.org");
    applied.unwrap().generation = 0;
    world.refuse("PATCH", "gadgets.example.org", failure(403, WEBHOOK_DENIES));
    world.look().await.unwrap();
    assert_eq!(world.running(), ["gadgets", "widgets"]);
    let connected = world.condition(types::CONNECTED).reason;
    assert_eq!(
        connected.as_deref(),
        Some("CustomResourceDefinitionUpdateFailed")
    );
    let sent = world.asked("PATCH", "customresourcedefinitions/gadgets");
    world.look().await.unwrap();
    let again = world.asked("PATCH", "customresourcedefinitions/gadgets");
    assert_eq!(sent, again, "it is not sent again at once");

    world.allow();
    world.refuse(
        "PATCH",
        "gadgets.example.org",
        lacks("patch", "customresourcedefinitions"),
    );
    world.clock.advance(A_WHILE * 2);
    world.look().await.unwrap();
    assert_eq!(world.running(), ["widgets"]);
    let connected = world.condition(types::CONNECTED).reason;
    assert_eq!(connected.as_deref(), Some("MissingPermissions"));
}

#[tokio::test(start_paused = true)]
async fn reviews_that_fail_stop_nothing() {
    let mut world = World::with(&[]).await;
    let fails = failure(500, "the authorizer is away");
    world.refuse("POST", "selfsubjectaccessreviews", fails);
    world.look().await.unwrap();
    assert_eq!(world.running(), ["gadgets", "widgets"]);
}

#[tokio::test(start_paused = true)]
async fn a_review_that_finds_nothing_new_puts_no_object_forward() {
    const OBJECTS: usize = 20;
    let mut world = World::with_widgets(OBJECTS).await;
    // The authorizer says so only when it is asked for real.
    world.refuse("PATCH", "/widgets/", lacks("patch", "widgets"));
    world.look().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let tried = world.asked("PATCH", "/widgets/");
    assert!(tried > OBJECTS, "{tried}");
    for _ in 0..3 {
        world.change_rights();
        world.look().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let again = world.asked("PATCH", "/widgets/") - tried;
    assert!(again < OBJECTS, "{again} tried again");
}

/// A world with a kind that left the export, whose objects may not be listed.
async fn with_a_relic() -> World {
    let mut world = World::with(&[("relics", 100)]).await;
    let relics = json!({"group": "example.org", "resource": "relics"});
    let status = world.binding.status.as_mut().unwrap();
    status
        .bound_schemas
        .push(serde_json::from_value(relics).unwrap());
    world.refuse("GET", "/v1/relics", lacks("list", "relics"));
    world
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_kind_whose_objects_cannot_be_released_says_so() {
    let mut world = with_a_relic().await;
    world.look().await.unwrap();
    assert_eq!(world.running(), ["gadgets", "widgets"]);
    world.clock.advance(A_WHILE);
    world.look().await.unwrap();
    let in_sync = world.condition(types::SCHEMA_IN_SYNC);
    assert_eq!(in_sync.reason.as_deref(), Some("ResourceWithdrawn"));
    let words = in_sync.message.unwrap();
    assert!(words.contains("cannot be released"), "{words}");
    assert!(words.contains("cannot list"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_while_the_export_is_missing_waits_for_it_or_for_the_end_of_the_binding() {
    let mut world = World::without_exports(&[("gadgets", 100)]).await;
    world.look().await.unwrap();
    assert_eq!(world.running(), [""; 0]);
    let connected = world.condition(types::CONNECTED);
    assert_eq!(
        connected.reason.as_deref(),
        Some("APIServiceExportNotFound")
    );
    let words = connected.message.unwrap();
    assert!(words.contains("or the binding is deleted"), "{words}");
    // A list may lack an export that is there again later: then the copies go first.
    assert_eq!(world.asked("GET", "/v1/gadgets"), 0, "nothing is released");
    world.end();
    world.delete_crd("gadgets.example.org");
    world.look().await.unwrap();
    assert_ne!(world.asked("GET", "/v1/gadgets"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unbinding_that_is_refused_something_is_blocked() {
    let mut world = with_a_relic().await;
    world.end();
    world.delete_crd("relics.example.org");
    assert!(world.look().await.is_err(), "it is tried again");
    world.clock.advance(A_WHILE);
    assert!(world.look().await.is_err(), "and again");
    let connected = world.condition(types::CONNECTED);
    assert_eq!(connected.reason.as_deref(), Some("UnbindingBlocked"));
    let words = connected.message.unwrap();
    assert!(words.contains("cannot list"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_ends_before_its_first_status_knows_what_it_installed() {
    let mut world = World::with(&[("gadgets", 100)]).await;
    world.binding.status = None;
    world.end();
    world.away = true;
    world.look().await.unwrap();
    let connected = world.condition(types::CONNECTED);
    assert_eq!(connected.reason.as_deref(), Some("UnbindingBlocked"));
    assert_eq!(world.asked("PATCH", "/tools?"), 0, "it is not let go");
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_ends_before_its_first_status_knows_what_it_claimed() {
    let mut world = World::with(&[]).await;
    world.binding.status = None;
    let annotations = world.binding.metadata.annotations.as_mut().unwrap();
    annotations.insert(ANNOTATION_RESOURCES.into(), "secrets".into());
    world.end();
    world.away = true;
    world.look().await.unwrap();
    let words = world.condition(types::CONNECTED).message.unwrap();
    assert!(words.contains("claimed objects are left"), "{words}");
    assert_eq!(world.asked("PATCH", "/tools?"), 0, "it is not let go");
}

/// A binding with a claim on Secrets that ends and leaves everything.
async fn letting_go() -> World {
    let mut world = World::with(&[]).await;
    let claim = json!({"group": "", "resource": "secrets", "selector": {"labelSelector": {}}});
    let status = world.binding.status.as_mut().unwrap();
    let claim = serde_json::from_value(claim).unwrap();
    status.permission_claims.push(claim);
    let annotations = world.binding.metadata.annotations.as_mut().unwrap();
    annotations.insert("kube-bind.io/deletion-policy".into(), "Orphan".into());
    world.end();
    world
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_left_the_export_is_forgotten_when_nothing_is_left_of_it() {
    let mut world = World::with(&[]).await;
    let claim = json!({"group": "", "resource": "secrets", "selector": {"labelSelector": {}}});
    let claims = |world: &World| world.binding.status.clone().unwrap().permission_claims;
    let status = world.binding.status.as_mut().unwrap();
    status
        .permission_claims
        .push(serde_json::from_value(claim).unwrap());
    world.look().await.unwrap();
    assert_eq!(world.claims().await, ["secrets"]);
    assert_eq!(claims(&world).len(), 1, "it is not known what is left");
    assert_eq!(world.pending_claims(), Some(vec![]), "nobody waits for it");
    tokio::time::sleep(A_WHILE).await;
    world.look().await.unwrap();
    assert_eq!(claims(&world), []);
    assert_eq!(world.claims().await, [""; 0]);
    world.look().await.unwrap();
    assert_eq!(world.claims().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_cannot_be_set_up_is_not_taken_for_none() {
    let mut world = World::with_claim().await;
    let review = json!({"spec": {}, "status": {"allowed": false}});
    world.refuse("POST", "/selfsubjectaccessreviews", (201, review));
    world.look().await.unwrap();
    assert_eq!(world.pending_claims(), Some(vec!["secrets".into()]));
    world.allow();

    let annotations = world.binding.metadata.annotations.as_mut().unwrap();
    annotations.insert(CLAIM_NAMESPACES.into(), "Not A Namespace".into());
    world.look().await.unwrap();
    assert_eq!(world.pending_claims(), Some(vec!["secrets".into()]));
    assert_eq!(world.claims().await, [""; 0]);

    let annotations = world.binding.metadata.annotations.as_mut().unwrap();
    annotations.remove(CLAIM_NAMESPACES);
    world.change_rights();
    world.look().await.unwrap();
    assert_eq!(world.pending_claims(), Some(vec![]));
    assert_eq!(world.claims().await, ["secrets"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_waits_for_others_is_not_looked_at_all_the_time() {
    let mut world = letting_go().await;
    // What is claimed is not known yet.
    world.ignore("GET", "/secrets");
    let next = world.look().await.unwrap();
    assert_eq!(next, Action::requeue(Duration::from_secs(3)));
    let connected = world.condition(types::CONNECTED).message.unwrap();
    assert!(connected.contains("claimed secrets"), "{connected}");
}

#[tokio::test(start_paused = true)]
async fn marks_that_admission_keeps_on_are_not_left_behind_in_silence() {
    let secret = json!({"metadata": {"name": "tls", "namespace": "shop", "uid": "s", "resourceVersion": "4",
        "labels": {"kube-bind.io/owner": "provider"}, "annotations": {ANNOTATION_BINDING: "tools"}}});
    let list = json!({"metadata": {"resourceVersion": "10"}, "items": [secret]});
    let denied = failure(403, WEBHOOK_DENIES);
    for (refusal, is_let_go) in [(denied, false), (lacks("patch", "secrets"), true)] {
        let mut world = letting_go().await;
        world.away = true;
        world.refuse("GET", "/secrets", (200, list.clone()));
        world.refuse("PATCH", "/secrets/tls", refusal);
        assert_eq!(world.look().await.is_ok(), is_let_go);
        let released = world.asked("PATCH", "/tools?");
        assert_eq!(released > 0, is_let_go);
    }
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_cannot_be_marked_says_so() {
    let mut world = World::with(&[]).await;
    world.binding.metadata.finalizers = None;
    // The webhook is not asked about the status.
    world.refuse("PATCH", "/apiservicebindings/tools?", webhook_is_down());
    assert!(world.look().await.is_err());
    world.clock.advance(A_WHILE);
    assert!(world.look().await.is_err());
    let connected = world.condition(types::CONNECTED);
    assert_eq!(connected.reason.as_deref(), Some("RequestFailed"));
    let synced = world.condition(types::INFORMERS_SYNCED);
    assert_eq!(synced.status, "True", "nothing is known of it yet");
    assert!(!world.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_provider_whose_objects_cannot_be_listed_is_not_ready_for_ever() {
    for plural in ["apiserviceexportrequests", "apiservicenamespaces"] {
        let mut world = World::without(plural, Some(lacks("list", plural)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.look().await.unwrap();
        assert!(world.is_ready(), "it was before, and this may pass");
        world.clock.advance(A_WHILE);
        tokio::time::sleep(A_WHILE * 3).await;
        world.look().await.unwrap();
        assert!(!world.is_ready());
        let synced = world.condition(types::INFORMERS_SYNCED);
        assert_eq!(synced.reason.as_deref(), Some("InformerSyncTimeout"));
        let words = synced.message.unwrap();
        assert!(words.contains("cannot list"), "{words}");
        let heart = world.condition(types::HEARTBEATING);
        assert_eq!(heart.reason.as_deref(), Some("ClusterBindingUpdateFailed"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_true_before_a_restart_counts_for_a_while_only() {
    for plural in ["apiserviceexportrequests", "apiservicenamespaces"] {
        let mut world = World::without(plural, None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.look().await.unwrap();
        assert!(world.is_ready());
        world.clock.advance(Duration::from_secs(121));
        world.look().await.unwrap();
        let synced = world.condition(types::INFORMERS_SYNCED);
        assert_eq!(synced.reason.as_deref(), Some("Syncing"), "{plural}");
        assert!(!world.is_ready(), "{plural}");
    }
}
