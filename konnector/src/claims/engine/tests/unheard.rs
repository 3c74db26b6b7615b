//! What another binding may claim that has not been heard, after a restart.

use kube_bind_crds::api::APIServiceBinding;

use super::super::super::unheard::HEARING;
use super::scene::binding;
use super::*;

/// A binding to the provider that claimed this when it was heard last.
fn unheard(name: &str, selector: &Value) -> APIServiceBinding {
    let mut binding = binding(name);
    let claim = json!({"group": "", "resource": "secrets", "selector": selector});
    let status = json!({"permissionClaims": [claim]});
    binding.status = Some(serde_json::from_value(status).unwrap());
    let annotations = binding.metadata.annotations.get_or_insert_default();
    annotations.insert("kube-bind.io/provider-cluster".into(), "uid-1".into());
    binding
}

/// `ends` made the copies of `both`, which `other` claims too, and of `own`, which nobody else does.
fn scene(other: APIServiceBinding) -> Scene {
    let labelled = |mut object: Value| {
        object["metadata"]["labels"]["app"] = json!("both");
        object
    };
    Scene::with(
        vec![binding("ends"), other],
        vec![labelled(marked("both", "ends")), marked("own", "ends")],
        vec![labelled(lent("both", "ends")), lent("own", "ends")],
    )
}

fn selectors() -> [Value; 2] {
    let labels = json!({"labelSelector": {"matchLabels": {"app": "both"}}});
    [named("both"), labels]
}

fn ends(scene: &Scene, how: Ending) {
    let all = json!({"labelSelector": {}});
    scene.engine.claim("ends", rule(&all, None).end(how));
}

/// Whose the copy on the provider is.
fn owner(scene: &Scene, name: &str) -> Value {
    let copy = scene.provider.get("tenant-shop", name).unwrap();
    copy["metadata"]["annotations"]["kube-bind.io/consumer-binding"].clone()
}

/// All bindings have had the time to be heard.
async fn heard() {
    tokio::time::sleep(HEARING).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_binding_may_claim_that_was_not_heard_yet_waits_for_it() {
    for selector in selectors() {
        for how in [Ending::Delete, Ending::Orphan] {
            let scene = scene(unheard("other", &selector));
            let engine = &scene.engine;
            ends(&scene, how);
            scene.settled().await;
            assert_eq!(owner(&scene, "both"), "ends");
            let own = scene.provider.get("tenant-shop", "own");
            assert!(own.is_none() || is_unmarked(own), "nobody else claims it");
            assert_eq!(engine.copies_of("ends"), Some(1));
            assert_eq!(engine.unheard("ends"), ["other".to_owned()].into());

            engine.claim("other", rule(&selector, None));
            scene.settled().await;
            assert_eq!(owner(&scene, "both"), "other");
            assert_eq!(engine.copies_of("ends"), Some(0));
            assert!(engine.unheard("ends").is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_binding_does_not_claim_as_it_says_then_is_taken_back() {
    let scene = scene(unheard("other", &named("both")));
    let engine = &scene.engine;
    ends(&scene, Ending::Delete);
    scene.settled().await;
    assert_eq!(engine.copies_of("ends"), Some(1));
    engine.provider.tell_claims("other", vec![]).await;
    engine.reconsider();
    scene.settled().await;
    assert_eq!(scene.provider.get("tenant-shop", "both"), None);
    assert_eq!(engine.copies_of("ends"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn what_a_binding_claims_that_cannot_be_set_up_is_not_taken_back_as_another_ends() {
    for selector in selectors() {
        let mut other = unheard("other", &selector);
        let pending = other.status.take().unwrap().permission_claims;
        let scene = scene(other);
        let engine = &scene.engine;
        engine.provider.tell_claims("other", pending).await;
        ends(&scene, Ending::Delete);
        scene.settled().await;
        assert_eq!(scene.provider.writes(), ["DELETE tenant-shop/own"]);
        assert_eq!(engine.unheard("ends"), ["other".to_owned()].into());
        heard().await;
        scene.settled().await;
        assert_eq!(owner(&scene, "both"), "other");
        assert_eq!(
            engine.copies_of("ends"),
            Some(0),
            "it keeps no other from ending"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn labels_of_a_claim_that_cannot_be_set_up_are_matched_with_what_was_listed_before() {
    let [_, labels] = selectors();
    let pending = unheard("other", &labels).status.unwrap();
    let bindings = vec![binding("ends"), unheard("other", &named("another"))];
    let (mut source, mut copy) = (marked("both", "ends"), lent("both", "ends"));
    for object in [&mut source, &mut copy] {
        object["metadata"]["labels"]["app"] = json!("both");
    }
    let scene = Scene::with(bindings, vec![source], vec![copy]);
    let engine = &scene.engine;
    engine.claim("ends", rule(&json!({"labelSelector": {}}), None));
    scene.settled().await;
    let provider = &engine.provider;
    provider
        .tell_claims("other", pending.permission_claims)
        .await;
    engine.reconsider();
    scene.settled().await;
    ends(&scene, Ending::Delete);
    scene.settled().await;
    assert_eq!(scene.provider.writes(), [""; 0]);
    assert_eq!(engine.copies_of("ends"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_can_be_set_up_at_last_takes_nothing_from_what_others_know() {
    let [_, labels] = selectors();
    let scene = scene(unheard("other", &named("another")));
    let engine = &scene.engine;
    engine.claim("ends", rule(&json!({"labelSelector": {}}), None));
    let pending = unheard("other", &labels).status.unwrap().permission_claims;
    engine.provider.tell_claims("other", pending).await;
    engine.reconsider();
    scene.settled().await;
    assert!(engine.listed("ends"));
    engine.claim("other", rule(&labels, None));
    assert!(
        engine.listed("ends"),
        "the same labels were matched already"
    );
    engine.provider.tell_claims("other", Vec::new()).await;
    engine.reconsider();
    assert!(engine.listed("ends"));
}

#[tokio::test(start_paused = true)]
async fn what_a_binding_claims_now_counts_and_not_what_it_claimed_before() {
    let scene = scene(unheard("other", &named("both")));
    let pending = unheard("other", &named("another")).status.unwrap();
    let provider = &scene.engine.provider;
    provider
        .tell_claims("other", pending.permission_claims)
        .await;
    ends(&scene, Ending::Delete);
    scene.settled().await;
    assert_eq!(scene.provider.get("tenant-shop", "both"), None);
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_cannot_be_heard_gets_what_it_may_claim_and_keeps_no_other_from_ending() {
    let refers = json!({"references": [{"group": "example.org", "resource": "widgets",
        "jsonPath": {"name": "spec.secret"}}]});
    for selector in selectors().into_iter().chain([refers.clone()]) {
        for how in [Ending::Delete, Ending::Orphan] {
            let scene = scene(unheard("other", &selector));
            ends(&scene, how);
            heard().await;
            scene.settled().await;
            assert_eq!(owner(&scene, "both"), "other", "{selector} {how:?}");
            let source = scene.consumer.get("shop", "both").unwrap();
            let marks = &source["metadata"]["annotations"];
            assert_eq!(marks["kube-bind.io/binding"], "other");
            assert_eq!(scene.engine.copies_of("ends"), Some(0));
            if selector == refers {
                assert_eq!(owner(&scene, "own"), "other", "it may refer to anything");
            }
            // It is not synced further before it is heard, and taken back if it is not claimed then.
            let writes = scene.provider.writes().len();
            scene.engine.touch_all();
            scene.settled().await;
            assert_eq!(scene.provider.writes().len(), writes);
            scene.engine.claim("other", rule(&nothing(), None));
            scene.settled().await;
            assert_eq!(scene.provider.get("tenant-shop", "both"), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_suspended_binding_may_claim_stays_as_it_is_until_it_is_heard() {
    let mut other = unheard("other", &named("both"));
    let annotations = other.metadata.annotations.get_or_insert_default();
    annotations.insert("kube-bind.io/suspend".into(), "true".into());
    let scene = scene(other);
    ends(&scene, Ending::Delete);
    heard().await;
    scene.settled().await;
    assert_eq!(scene.provider.writes(), ["DELETE tenant-shop/own"]);
    assert_eq!(scene.engine.copies_of("ends"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn what_no_watch_sees_is_left_to_a_binding_that_may_claim_it() {
    let scene = scene(unheard("other", &named("both")));
    let engine = &scene.engine;
    engine.claim("ends", rule(&named("another"), None));
    scene.settled().await;
    assert_eq!(scene.provider.writes(), ["DELETE tenant-shop/own"]);
    heard().await;
    engine.claim("ends", rule(&named("another"), None).end(Ending::Delete));
    scene.settled().await;
    assert_eq!(owner(&scene, "both"), "ends");
    assert_eq!(engine.copies_of("ends"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_binding_to_another_provider_is_not_waited_for() {
    let mut other = unheard("other", &named("both"));
    let annotations = other.metadata.annotations.get_or_insert_default();
    annotations.insert("kube-bind.io/provider-cluster".into(), "uid-2".into());
    let scene = scene(other);
    ends(&scene, Ending::Delete);
    scene.settled().await;
    assert_eq!(scene.engine.copies_of("ends"), Some(0));
    assert_eq!(scene.provider.get("tenant-shop", "both"), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_half_another_bindings_becomes_it_wholly() {
    let other = unheard("other", &named("both"));
    let (source, copy) = (marked("both", "other"), lent("both", "ends"));
    let scene = Scene::with(vec![binding("ends"), other], vec![source], vec![copy]);
    ends(&scene, Ending::Delete);
    scene.settled().await;
    assert_eq!(scene.provider.writes(), [""; 0]);
    heard().await;
    scene.settled().await;
    assert_eq!(owner(&scene, "both"), "other");
    assert_eq!(scene.engine.copies_of("ends"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_binding_of_which_only_the_claimed_kinds_are_known_may_claim_anything() {
    let mut other = unheard("other", &nothing());
    other.status = None;
    let annotations = other.metadata.annotations.get_or_insert_default();
    annotations.insert("kube-bind.io/resources".into(), "secrets".into());
    let scene = scene(other);
    ends(&scene, Ending::Delete);
    heard().await;
    scene.settled().await;
    assert_eq!(owner(&scene, "both"), "other");
    assert_eq!(scene.engine.copies_of("ends"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_for_another_binding_keeps_none_from_ending() {
    for refusal in [lacks("update", "secrets"), failure(403, WEBHOOK_DENIES)] {
        let scene = scene(unheard("other", &named("both")));
        ends(&scene, Ending::Delete);
        scene.settled().await;
        let provider = &scene.provider;
        provider.refuse(Method::PUT, "/secrets/both", refusal);
        heard().await;
        scene.settled().await;
        assert_eq!(owner(&scene, "both"), "ends");
        assert_eq!(scene.engine.copies_of("ends"), Some(0));
        // It is tried again.
        provider.allow();
        tokio::time::sleep(HEARING).await;
        assert_eq!(owner(&scene, "both"), "other");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_binding_selected_by_label_before_is_not_its_own_when_it_only_names_something() {
    let labels = json!({"labelSelector": {"matchLabels": {"app": "x"}}});
    let mine = secret("shop", "private", &json!({"app": "x"}), &json!({}));
    let other = unheard("other", &labels);
    let scene = Scene::with(vec![binding("a"), other], vec![mine], vec![]);
    let engine = &scene.engine;
    // Its watch sees what the other one may have selected.
    engine.claim("a", rule(&nothing(), None));
    scene.settled().await;
    for selector in [named("another"), labels] {
        assert_eq!(scene.consumer.writes(), [""; 0]);
        engine.claim("other", rule(&selector, None));
        scene.settled().await;
    }
    let claimed = &scene.consumer.writes()[0];
    assert_eq!(claimed, "PATCH shop/private", "labels select it now");
}
