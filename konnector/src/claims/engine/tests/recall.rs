//! What an earlier claim made where nothing of now leads to it.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_claim_named_before_a_restart_is_taken_back_although_its_source_is_gone() {
    let (copy, _) = borrowed("old", "b");
    let (foreign, _) = borrowed("old", "b");
    let foreign = {
        let mut foreign = foreign;
        foreign["metadata"]["namespace"] = json!("team");
        foreign["metadata"]["annotations"]["kube-bind.io/binding"] = json!("other");
        foreign
    };
    let scene = Scene::start(&["b", "other"], vec![copy, foreign], vec![]);
    let engine = &scene.engine;
    engine.claim("b", rule(&named("new"), None));
    scene.settled().await;
    assert_eq!(scene.consumer.writes(), [""; 0], "nothing leads to it");
    let former = rule(&named("old"), None);
    assert!(!engine.recall("b", &former).await.unwrap());
    scene.settled().await;
    assert_eq!(scene.consumer.writes(), ["DELETE shop/old"]);
    assert!(engine.recall("b", &former).await.unwrap());
    assert!(scene.consumer.get("team", "old").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_claim_made_waits_until_all_have_been_heard() {
    let (copy, source) = borrowed("old", "b");
    let scene = Scene::start(&["b"], vec![copy], vec![source]);
    let engine = &scene.engine;
    let origin = Origin {
        binding: "b".into(),
        resource: GroupResource {
            group: "example.org".into(),
            resource: "widgets".into(),
        },
    };
    let run = engine.expect(&origin);
    engine.claim("b", rule(&named("new"), None));
    let former = rule(&named("old"), None);
    engine.recall("b", &former).await.unwrap();
    scene.settled().await;
    assert!(!engine.recall("b", &former).await.unwrap());
    assert_eq!(scene.consumer.writes(), [""; 0]);
    engine.heard(&origin, run);
    scene.settled().await;
    assert_eq!(scene.consumer.get("shop", "old"), None);
    assert!(engine.recall("b", &former).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_looked_for_again_and_holds_nobody() {
    let (copy, _) = borrowed("old", "b");
    let scene = Scene::start(&["b"], vec![copy], vec![]);
    let (engine, consumer) = (&scene.engine, &scene.consumer);
    engine.claim("b", rule(&named("new"), None));
    consumer.refuse(Method::GET, "/secrets/old", lacks("get", "secrets"));
    let former = rule(&named("old"), None);
    engine.recall("b", &former).await.unwrap();
    scene.settled().await;
    assert!(engine.recall("b", &former).await.unwrap(), "it was told");
    assert_eq!(engine.copies_of("b"), Some(0));
    assert!(consumer.get("shop", "old").is_some());
    let notes = consumer.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("b: Secret shop/old"), "{notes:?}");
    consumer.allow();
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    assert_eq!(consumer.get("shop", "old"), None);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_listed_is_told_once() {
    let (copy, _) = borrowed("old", "b");
    let scene = Scene::start(&["b"], vec![copy], vec![]);
    let (engine, consumer) = (&scene.engine, &scene.consumer);
    engine.claim("b", rule(&named("new"), None));
    consumer.refuse(Method::GET, "name%3Dold", lacks("list", "secrets"));
    for _ in 0..2 {
        let former = rule(&named("old"), None);
        assert!(engine.recall("b", &former).await.unwrap());
    }
    scene.settled().await;
    let notes = consumer.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("cannot list"), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_outside_that_may_not_be_read_keeps_its_marks_and_its_binding_is_told() {
    let scene = Scene::start(&["b"], vec![marked("x", "b")], vec![lent("x", "b")]);
    let (engine, consumer) = (&scene.engine, &scene.consumer);
    consumer.refuse(Method::GET, "/namespaces/shop/", lacks("get", "secrets"));
    let narrow = rule(&json!({"labelSelector": {}}), Some(&["team"]));
    engine.claim("b", narrow.end(Ending::Delete));
    scene.settled().await;
    assert_eq!(engine.copies_of("b"), Some(0));
    assert_eq!(scene.provider.get("tenant-shop", "x"), None);
    let notes = consumer.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("b: Secret shop/x"), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_end_notices_that_what_no_watch_sees_is_gone() {
    let (copy, source) = borrowed("theirs", "ends");
    let scene = Scene::start(&["ends"], vec![copy], vec![source]);
    let engine = &scene.engine;
    // It watches nothing on the consumer.
    engine.claim("ends", rule(&json!({}), None).suspend(true));
    scene.settled().await;
    engine.claim("ends", rule(&json!({}), None).end(Ending::Delete));
    scene.settled().await;
    assert_eq!(scene.consumer.get("shop", "theirs"), None);
    assert_eq!(engine.copies_of("ends"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_in_a_namespace_without_a_counterpart_is_not_looked_for_any_more() {
    let (mut copy, _) = borrowed("old", "b");
    copy["metadata"]["namespace"] = json!("team");
    let scene = Scene::start(&["b"], vec![copy], vec![]);
    let engine = &scene.engine;
    engine.claim("b", rule(&named("new"), None));
    let former = rule(&named("old"), None);
    engine.recall("b", &former).await.unwrap();
    scene.settled().await;
    assert_eq!(scene.consumer.get("team", "old"), None);
    assert!(engine.recall("b", &former).await.unwrap());
    engine.claim("b", rule(&named("new"), None).end(Ending::Delete));
    scene.settled().await;
    assert_eq!(engine.copies_of("b"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_where_no_watch_sees_it_is_told_until_it_is_gone() {
    let (copy, _) = borrowed("old", "b");
    let scene = Scene::start(&["b"], vec![copy], vec![]);
    let (engine, consumer) = (&scene.engine, &scene.consumer);
    engine.claim("b", rule(&named("new"), None));
    consumer.refuse(Method::DELETE, "/secrets/old", failure(403, WEBHOOK_DENIES));
    let former = rule(&named("old"), None);
    engine.recall("b", &former).await.unwrap();
    scene.settled().await;
    assert_eq!(engine.conflicts_of("b"), 1);
    assert!(engine.kept("b").is_some());
    consumer.allow();
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    assert_eq!(consumer.get("shop", "old"), None);
    assert_eq!(engine.conflicts_of("b"), 0);
    assert!(engine.recall("b", &former).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_keeps_of_an_earlier_claim_is_told_until_it_is_gone() {
    let scene = Scene::start(&["b"], vec![], vec![lent("old", "b")]);
    let (engine, provider) = (&scene.engine, &scene.provider);
    provider.refuse(Method::DELETE, "/secrets/old", failure(403, WEBHOOK_DENIES));
    engine.claim("b", rule(&named("new"), None));
    scene.settled().await;
    assert_eq!(engine.conflicts_of("b"), 1);
    provider.vanish("tenant-shop", "old");
    scene.settled().await;
    assert_eq!(engine.conflicts_of("b"), 0);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_written_for_a_binding_its_earlier_claim_stays_on_record() {
    let (copy, _) = borrowed("old", "b");
    let scene = Scene::start(&["b"], vec![copy], vec![]);
    let engine = &scene.engine;
    engine.claim("b", rule(&named("new"), None).suspend(true));
    let former = rule(&named("old"), None);
    for _ in 0..2 {
        assert!(!engine.recall("b", &former).await.unwrap());
        // Until all have had the time to be heard.
        tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    }
    assert!(scene.consumer.get("shop", "old").is_some());
    engine.suspend("b", false);
    engine.recall("b", &former).await.unwrap();
    scene.settled().await;
    assert_eq!(scene.consumer.get("shop", "old"), None);
    assert!(engine.recall("b", &former).await.unwrap());
}
