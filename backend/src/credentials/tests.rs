//! The IO of issuing, against a scripted API server.

use kube_bind_runtime::clock::FixedClock;
use serde_json::Value;

use super::*;
use crate::provision::plan::secret_of;
use crate::provision::test_support::{Script, shared_settings};

const SECRETS: &str = "/api/v1/namespaces/cluster-a/secrets";
const NOW: &str = "2026-01-01T00:00:00Z";

fn token_secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": TOKEN_SECRET, "namespace": "cluster-a", "uid": "uid-of-token-secret" },
    })
}

fn owner() -> OwnerReference {
    OwnerReference {
        api_version: "kube-bind.io/v1alpha2".into(),
        kind: "ClusterBinding".into(),
        name: "cluster".into(),
        uid: "uid-of-cluster-binding".into(),
        ..OwnerReference::default()
    }
}

fn token() -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
        "spec": { "audiences": [] },
        "status": { "token": "the-token", "expirationTimestamp": "2026-01-01T10:00:00Z" },
    })
}

#[tokio::test]
async fn the_first_credential_is_bound_to_a_secret_of_its_own() {
    let (client, mut api) = Script::new();
    let clock = FixedClock::new(NOW.parse().unwrap()).shared();
    let credentials = Credentials::new(client, shared_settings(), clock);
    let server = async {
        api.not_found("GET", &format!("{SECRETS}/kubeconfig")).await;
        api.not_found("GET", &format!("{SECRETS}/{TOKEN_SECRET}"))
            .await;
        api.not_found("GET", &format!("{SECRETS}/{TOKEN_SECRET}"))
            .await;
        let made = api.answer("POST", SECRETS, 201, token_secret()).await;
        assert!(
            made.get("data").is_none(),
            "the secret that tokens are bound to is empty"
        );
        assert_eq!(
            made["metadata"]["ownerReferences"][0]["uid"], "uid-of-cluster-binding",
            "tokens end with the connection"
        );
        api.answer(
            "GET",
            &format!("{SECRETS}/{TOKEN_SECRET}"),
            200,
            token_secret(),
        )
        .await;
        let path = "/api/v1/namespaces/cluster-a/serviceaccounts/kube-binder/token";
        let asked = api.answer("POST", path, 201, token()).await;
        assert_eq!(
            asked["spec"]["boundObjectRef"]["uid"],
            "uid-of-token-secret"
        );
        assert_eq!(asked["spec"]["expirationSeconds"], 168 * 3600);
        let kubeconfig = format!("{SECRETS}/kubeconfig");
        let written = api
            .answer(
                "PATCH",
                &kubeconfig,
                200,
                json!({ "metadata": { "name": "kubeconfig" } }),
            )
            .await;
        assert_eq!(written["metadata"]["name"], "kubeconfig");
        let annotations = &written["metadata"]["annotations"];
        assert_eq!(annotations[ANNOTATION_EXPIRES], "2026-01-01T10:00:00Z");
        assert_eq!(annotations[ANNOTATION_BOUND_TO], "uid-of-token-secret");
    };
    let secret = secret_of(None);
    let owner = owner();
    let (credential, ()) = tokio::join!(credentials.ensure("cluster-a", &secret, &owner), server);
    let credential = credential.unwrap_or_else(|error| panic!("{error}"));
    assert!(credential.kubeconfig.contains("the-token"));
    assert_eq!(credential.issued, Some(Reason::Missing));
    // The API server granted ten hours only, so the half of that comes before a day has gone.
    assert_eq!(credential.renew_at, "2026-01-01T05:00:00Z".parse().unwrap());
}

fn revoked(data: Value) -> Value {
    json!({
        "metadata": {
            "name": "kubeconfig", "uid": "uid-of-kubeconfig", "resourceVersion": "5",
            "annotations": { ANNOTATION_BOUND_TO: "uid-of-the-deleted-secret" },
        },
        "data": data,
    })
}

#[tokio::test]
async fn a_revoked_credential_is_withdrawn_and_not_issued_again_without_a_login() {
    let kubeconfig = format!("{SECRETS}/kubeconfig");
    let bound = format!("{SECRETS}/{TOKEN_SECRET}");
    for (data, withdrawn) in [
        (json!({ "kubeconfig": "eA==" }), true),
        (Value::Null, false),
    ] {
        let (client, mut api) = Script::new();
        let clock = FixedClock::new(NOW.parse().unwrap()).shared();
        let credentials = Credentials::new(client, shared_settings(), clock);
        let server = async {
            api.answer("GET", &kubeconfig, 200, revoked(data)).await;
            api.not_found("GET", &bound).await;
            if withdrawn {
                let sent = api
                    .answer("PATCH", &kubeconfig, 200, revoked(Value::Null))
                    .await;
                assert_eq!(sent["metadata"]["resourceVersion"], "5");
                assert_eq!(sent["data"], json!({ "kubeconfig": null }));
            }
        };
        let (secret, owner) = (secret_of(None), owner());
        let renewed = credentials.renew("cluster-a", &secret, &owner);
        let (outcome, ()) = tokio::join!(renewed, server);
        let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
        assert!(
            outcome
                == if withdrawn {
                    Renewal::Withdrawn
                } else {
                    Renewal::None
                }
        );
    }
}

#[tokio::test]
async fn who_binds_again_after_a_revocation_gets_a_new_credential() {
    let kubeconfig = format!("{SECRETS}/kubeconfig");
    let bound = format!("{SECRETS}/{TOKEN_SECRET}");
    for data in [json!({ "kubeconfig": "eA==" }), Value::Null] {
        let (client, mut api) = Script::new();
        let clock = FixedClock::new(NOW.parse().unwrap()).shared();
        let credentials = Credentials::new(client, shared_settings(), clock);
        let server = async {
            api.answer("GET", &kubeconfig, 200, revoked(data)).await;
            api.not_found("GET", &bound).await;
            api.not_found("GET", &bound).await;
            api.answer("POST", SECRETS, 201, token_secret()).await;
            api.answer("GET", &bound, 200, token_secret()).await;
            let path = "/api/v1/namespaces/cluster-a/serviceaccounts/kube-binder/token";
            let asked = api.answer("POST", path, 201, token()).await;
            assert_eq!(
                asked["spec"]["boundObjectRef"]["uid"], "uid-of-token-secret",
                "not the Secret that was deleted"
            );
            let written = api
                .answer("PATCH", &kubeconfig, 200, revoked(Value::Null))
                .await;
            let annotations = &written["metadata"]["annotations"];
            assert_eq!(annotations[ANNOTATION_BOUND_TO], "uid-of-token-secret");
        };
        let (secret, owner) = (secret_of(None), owner());
        let (credential, ()) =
            tokio::join!(credentials.ensure("cluster-a", &secret, &owner), server);
        let credential = credential.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(credential.issued, Some(Reason::Revoked));
        assert!(credential.kubeconfig.contains("the-token"));
    }
}

#[tokio::test]
async fn a_token_secret_of_a_former_connection_is_not_bound_to() {
    let (client, mut api) = Script::new();
    let clock = FixedClock::new(NOW.parse().unwrap()).shared();
    let credentials = Credentials::new(client, shared_settings(), clock);
    let path = format!("{SECRETS}/{TOKEN_SECRET}");
    let mut former = token_secret();
    former["metadata"]["ownerReferences"] = json!([
        { "apiVersion": "kube-bind.io/v1alpha2", "kind": "ClusterBinding", "name": "cluster", "uid": "former" },
    ]);
    let server = async {
        api.not_found("GET", &format!("{SECRETS}/kubeconfig")).await;
        api.answer("GET", &path, 200, former.clone()).await;
        api.answer("GET", &path, 200, former.clone()).await;
        let sent = api.answer("DELETE", &path, 200, former).await;
        assert_eq!(sent["preconditions"]["uid"], "uid-of-token-secret");
        api.answer("POST", SECRETS, 201, token_secret()).await;
    };
    let (secret, owner) = (secret_of(None), owner());
    tokio::select! {
        outcome = credentials.ensure("cluster-a", &secret, &owner) => panic!("{:?}", outcome.err()),
        () = server => {}
    }
}

#[tokio::test]
async fn only_a_token_secret_of_the_original_is_retired() {
    let path = format!("{SECRETS}/{BINDER}");
    for (type_, retired) in [
        ("kubernetes.io/service-account-token", true),
        ("Opaque", false),
    ] {
        let (client, mut api) = Script::new();
        let clock = FixedClock::new(NOW.parse().unwrap()).shared();
        let credentials = Credentials::new(client, shared_settings(), clock);
        let secret =
            json!({ "metadata": { "name": BINDER, "uid": "uid-of-legacy" }, "type": type_ });
        let server = async {
            api.answer("GET", &path, 200, secret.clone()).await;
            if retired {
                let sent = api.answer("DELETE", &path, 200, secret).await;
                assert_eq!(sent["preconditions"]["uid"], "uid-of-legacy");
            }
        };
        let (outcome, ()) = tokio::join!(credentials.retire_legacy("cluster-a"), server);
        assert_eq!(outcome.unwrap(), retired);
    }
}
