//! What is on record of claims that were others before.

use super::*;

/// Secrets are claimed by one name, and were by another one.
async fn world() -> World {
    let mut world = World::with(&[]).await;
    let status = world.binding.status.as_mut().unwrap();
    for name in ["now", "before"] {
        let selector = json!({"namedResources": [{"name": name}]});
        let claim = json!({"group": "", "resource": "secrets", "selector": selector});
        let claim = serde_json::from_value(claim).unwrap();
        status.permission_claims.push(claim);
    }
    world
}

#[tokio::test(start_paused = true)]
async fn an_end_looks_for_what_an_earlier_claim_made() {
    let mut world = world().await;
    world.end();
    world.look().await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert!(world.asked("GET", "name%3Dnow") > 0);
    assert!(world.asked("GET", "name%3Dbefore") > 0);
    world.look().await.unwrap();
    assert!(world.asked("PATCH", "/tools?") > 0, "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn an_end_waits_while_it_cannot_look_for_what_an_earlier_claim_made() {
    let mut world = world().await;
    world.refuse("GET", "name%3Dbefore", failure(500, "InternalError"));
    world.end();
    for _ in 0..2 {
        world.look().await.unwrap();
        tokio::time::sleep(A_WHILE).await;
    }
    let words = world.condition(types::CONNECTED).message.unwrap();
    assert!(words.contains("cannot be taken back"), "{words}");
    assert_eq!(world.asked("PATCH", "/tools?"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_left_the_export_is_on_record_until_what_an_earlier_claim_made_was_looked_for() {
    let mut world = world().await;
    let recorded = |world: &World| {
        let status = world.binding.status.clone().unwrap();
        status.permission_claims.len()
    };
    world.refuse("GET", "name%3Dbefore", failure(500, "InternalError"));
    for _ in 0..2 {
        world.look().await.unwrap();
        assert_eq!(recorded(&world), 2);
        tokio::time::sleep(A_WHILE).await;
    }
    world.allow();
    world.look().await.unwrap();
    assert!(world.asked("GET", "name%3Dbefore") > 0);
    assert_eq!(recorded(&world), 0);
}
