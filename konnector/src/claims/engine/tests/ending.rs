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
