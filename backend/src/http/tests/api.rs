//! The routes that need a login.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{Harness, PUBLIC};
use crate::keys::KeyRing;
use crate::session::{User, token};

fn bind_body(template: &str, identity: &str) -> Value {
    json!({
        "metadata": { "name": "my-widgets", "creationTimestamp": null },
        "spec": {
            "templateRef": { "name": template },
            "clusterIdentity": { "identity": identity },
            "author": "mallory",
        },
        "status": {},
    })
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_shown() {
    let harness = Harness::new().await;
    let expired = harness.token_of("ada");
    harness.clock.advance(Duration::from_secs(3600));
    let foreign_keys = KeyRing::new([("k1".to_owned(), [1; 64].as_slice())]).unwrap();
    let ada = User {
        subject: "ada".into(),
        issuer: harness.idp.issuer(),
        groups: Vec::new(),
    };
    let now = harness.state.clock.now();
    let hour = Duration::from_secs(3600);
    let foreign = token::issue(&foreign_keys, PUBLIC, ada.clone(), now, hour).unwrap();
    let keys = harness.state.keys.get();
    let other_site = token::issue(&keys, "https://other.example", ada, now, hour).unwrap();
    for path in ["/api/templates", "/api/collections", "/api/ping"] {
        let answer = harness.get(path).await;
        answer.assert_error(401, "AUTHENTICATION_FAILED");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
        for token in [expired.as_str(), &foreign, &other_site, "nonsense"] {
            harness
                .get_as(path, token)
                .await
                .assert_error(401, "AUTHENTICATION_FAILED");
        }
    }
    let answer = harness
        .post("/api/bind", Some(&foreign), &bind_body("widgets", "uid"))
        .await;
    answer.assert_error(401, "AUTHENTICATION_FAILED");
}

#[tokio::test]
async fn a_logged_out_token_is_worth_nothing() {
    let harness = Harness::new().await;
    let token = harness.token_of("ada");
    assert_eq!(
        harness.get_as("/api/ping", &token).await.status,
        StatusCode::OK
    );
    let answer = harness
        .post("/api/logout", Some(&token), &Value::Null)
        .await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "logged out")
    );
    harness
        .get_as("/api/ping", &token)
        .await
        .assert_error(401, "AUTHENTICATION_FAILED");
    let answer = harness.post("/api/logout", None, &Value::Null).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "logging out twice is no error"
    );
    let other = harness.token_of("ada");
    assert_eq!(
        harness.get_as("/api/ping", &other).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn users_see_what_they_may_bind() {
    let harness = Harness::new().await;
    let answer = harness
        .get_as("/api/templates", &harness.token_of("ada"))
        .await;
    let list = answer.json();
    assert_eq!(list["kind"], "APIServiceExportTemplateList");
    let names: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .collect();
    assert_eq!(names, ["widgets"]);
    let metadata = &list["items"][0]["metadata"];
    assert_eq!(
        *metadata,
        json!({ "name": "widgets", "annotations": { "kept": "yes" } })
    );
    let answer = harness
        .get_as("/api/collections", &harness.token_of("ada"))
        .await;
    let list = answer.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["metadata"]["name"], "all");
    assert_eq!(
        list["items"][0]["spec"]["templates"],
        json!([{ "name": "widgets" }])
    );
}

#[tokio::test]
async fn access_is_reviewed_per_offering_with_prefixed_names() {
    let harness = Harness::new().await;
    harness
        .get_as("/api/templates", &harness.token_of("ada"))
        .await;
    harness
        .get_as("/api/templates", &harness.token_of("ada"))
        .await;
    let reviews = harness.kube.reviews.lock().unwrap();
    assert_eq!(reviews.len(), 2, "answers are believed for some seconds");
    assert_eq!(reviews[0]["user"], "oidc:ada");
    assert_eq!(
        reviews[0]["resourceAttributes"],
        json!({
            "verb": "bind", "group": "kube-bind.io", "version": "v1alpha2",
            "resource": "apiserviceexporttemplates", "name": "widgets",
        })
    );
}

#[tokio::test]
async fn a_permission_that_was_taken_away_is_noticed_after_seconds() {
    let harness = Harness::new().await;
    harness
        .get_as("/api/templates", &harness.token_of("ada"))
        .await;
    harness.clock.advance(Duration::from_secs(3));
    harness
        .get_as("/api/templates", &harness.token_of("ada"))
        .await;
    assert_eq!(harness.kube.reviews.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn users_without_any_permission_are_told_what_to_ask_for() {
    let harness = Harness::new().await;
    let token = harness.token_of("grace");
    for path in ["/api/templates", "/api/collections"] {
        let answer = harness.get_as(path, &token).await;
        answer.assert_error(403, "AUTHORIZATION_FAILED");
        assert!(
            answer.json()["details"]
                .as_str()
                .unwrap()
                .contains("--oidc-allowed-users=grace")
        );
    }
    let answer = harness
        .post("/api/bind", Some(&token), &bind_body("widgets", "uid"))
        .await;
    answer.assert_error(403, "AUTHORIZATION_FAILED");
    assert_eq!(harness.provisioner.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_bind_answers_with_credentials_and_the_templates_request() {
    let harness = Harness::new().await;
    let token = harness.token_of("ada");
    let answer = harness
        .post("/api/bind", Some(&token), &bind_body("widgets", "uid-1"))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let document = answer.json();
    assert_eq!(document["apiVersion"], "kube-bind.io/v1alpha2");
    assert_eq!(document["kubeconfig"], "a2luZDogQ29uZmlnCg==");
    assert_eq!(document["providerNamespace"], "cluster-abc");
    let id = format!("{}/ada", harness.idp.issuer());
    assert_eq!(document["authentication"]["oauth2CodeGrant"]["id"], id);
    let request = &document["requests"][0];
    assert_eq!(request["kind"], "APIServiceExportRequest");
    assert_eq!(request["apiVersion"], "kube-bind.io/v1alpha2");
    assert_eq!(request["metadata"]["name"], "my-widgets");
    assert_eq!(request["spec"]["resources"][0]["resource"], "widgets");
    assert_eq!(
        request["spec"]["permissionClaims"][0]["resource"],
        "secrets"
    );
    assert_eq!(request["spec"]["namespaces"][0]["name"], "prepared");
    assert_eq!(request["spec"]["schemaUpdatePolicy"], "Always");
    let seen = harness.provisioner.seen.lock().unwrap().clone().unwrap();
    assert_eq!(
        (seen.identity.as_str(), seen.pretty_name.as_str()),
        ("uid-1", "my-widgets")
    );
    assert_eq!(
        seen.author.subject, "ada",
        "the login decides, not the body"
    );
    assert_eq!(seen.author.issuer, harness.idp.issuer());
    let offering = harness.provisioner.offering.lock().unwrap().clone();
    assert_eq!(
        offering.as_deref(),
        Some("widgets"),
        "what the consumer may order is the template, not the name of its binding"
    );
}

#[tokio::test]
async fn an_unknown_template_provisions_nothing() {
    let harness = Harness::new().await;
    let token = harness.token_of("ada");
    let answer = harness
        .post("/api/bind", Some(&token), &bind_body("gadgets", "uid-1"))
        .await;
    answer.assert_error(404, "RESOURCE_NOT_FOUND");
    let answer = harness
        .post(
            "/api/bind",
            Some(&token),
            &bind_body("secret-project", "uid-1"),
        )
        .await;
    answer.assert_error(403, "AUTHORIZATION_FAILED");
    assert_eq!(harness.provisioner.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn wrong_bind_requests_are_named_as_such() {
    let harness = Harness::new().await;
    let token = harness.token_of("ada");
    let mut bad_name = bind_body("widgets", "uid-1");
    bad_name["metadata"]["name"] = json!("Not_A_Name");
    for body in [
        json!({}),
        json!([]),
        bind_body("", "uid-1"),
        bind_body("../secrets", "uid-1"),
        bind_body("widgets", ""),
        bind_body("widgets", "ui-identity"),
        bad_name,
    ] {
        let answer = harness.post("/api/bind", Some(&token), &body).await;
        answer.assert_error(400, "BAD_REQUEST");
    }
    assert_eq!(harness.provisioner.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn somebody_elses_consumer_is_not_handed_out() {
    let harness = Harness::new().await;
    let token = harness.token_of("ada");
    let answer = harness
        .post("/api/bind", Some(&token), &bind_body("widgets", "taken"))
        .await;
    answer.assert_error(403, "AUTHORIZATION_FAILED");
    assert!(
        !answer.body.contains("cluster-x"),
        "names of others stay in the log"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_413() {
    let harness = Harness::new().await;
    let mut body = bind_body("widgets", "uid-1");
    body["metadata"]["annotations"] = json!("x".repeat(1024 * 1024));
    let answer = harness
        .post("/api/bind", Some(&harness.token_of("ada")), &body)
        .await;
    answer.assert_error(413, "BAD_REQUEST");
}

#[tokio::test]
async fn an_announced_length_is_enough_to_refuse_a_body() {
    let harness = Harness::new().await;
    let request = Request::post("/api/token").header(header::CONTENT_LENGTH, 2_000_000);
    let endless = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let answer = harness.send(request.body(endless).unwrap()).await;
    answer.assert_error(413, "BAD_REQUEST");
}

#[tokio::test]
async fn there_is_only_one_cluster() {
    let harness = Harness::new().await;
    let token = harness.token_of("ada");
    let answer = harness
        .get_as("/api/templates?cluster_id=root", &token)
        .await;
    answer.assert_error(404, "RESOURCE_NOT_FOUND");
    let answer = harness.get_as("/api/templates?cluster_id=", &token).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn names_for_people_are_one_short_line() {
    let harness = Harness::new().await;
    let token = harness.token_of("ada");
    for pretty in [
        "x".repeat(254),
        "two\nlines".to_owned(),
        "\u{1b}[31m".to_owned(),
    ] {
        let mut body = bind_body("widgets", "uid");
        body["spec"]["clusterIdentity"]["prettyName"] = json!(pretty);
        let answer = harness.post("/api/bind", Some(&token), &body).await;
        answer.assert_error(400, "BAD_REQUEST");
        assert!(answer.body.contains("prettyName"), "{}", answer.body);
    }
}
