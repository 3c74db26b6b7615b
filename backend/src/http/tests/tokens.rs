//! What the identity provider's answer must be to be believed. Every case is a good login with one
//! thing wrong.

use http::StatusCode;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::idp::{self, unsigned, with_other_claims};
use super::{Harness, parameter};
use crate::embedded::signer::Signer;
use crate::metrics::LoginResult;

/// Ends a login with the ID token that `make` makes from the good claims: error and description.
async fn end(
    harness: &Harness,
    query: &str,
    make: impl FnOnce(&Harness, Value) -> String,
) -> Result<String, (String, String)> {
    let (begun, cookie) = harness.begin().await;
    let at_idp = begun.location();
    let nonce = parameter(&at_idp, "nonce").unwrap();
    let state = parameter(&at_idp, "state").unwrap();
    let id_token = make(harness, harness.idp.claims(&nonce));
    harness.idp.answer_with(id_token).await;
    let answer = harness
        .come_back(&format!("code=c0de&state={state}{query}"), Some(&cookie))
        .await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.body);
    let location = answer.location();
    match parameter(&location, "error") {
        Some(error) => {
            assert_eq!(parameter(&location, "code"), None);
            Err((error, parameter(&location, "error_description").unwrap()))
        }
        None => Ok(parameter(&location, "code").unwrap()),
    }
}

async fn assert_refused(name: &str, make: impl FnOnce(&Harness, Value) -> String) {
    let harness = Harness::new().await;
    let (error, _) = end(&harness, "", make).await.expect_err(name);
    assert_eq!(error, "access_denied", "{name}");
    assert_eq!(
        harness.state.metrics.logins(LoginResult::Invalid),
        1,
        "{name}"
    );
}

fn changed(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_good_id_token_is_believed() {
    let harness = Harness::new().await;
    let result = end(&harness, "", |harness, claims| {
        harness.idp.signer.sign(&claims).unwrap()
    })
    .await;
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test]
async fn wrong_claims_are_not_believed() {
    let past = json!(1_000_000_000);
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("aud", json!("another-client")),
        ("aud", json!([idp::CLIENT_ID, "another-client"])),
        ("azp", json!("another-client")),
        ("exp", past),
        ("nonce", json!("another-nonce")),
    ] {
        assert_refused(name, |harness, claims| {
            harness
                .idp
                .signer
                .sign(&changed(claims, name, value))
                .unwrap()
        })
        .await;
    }
    assert_refused("no nonce", |harness, mut claims| {
        claims.as_object_mut().unwrap().remove("nonce");
        harness.idp.signer.sign(&claims).unwrap()
    })
    .await;
}

#[tokio::test]
async fn wrong_signatures_are_not_believed() {
    assert_refused("alg none", |_, claims| unsigned(&claims)).await;
    assert_refused("altered", |harness, claims| {
        let signed = harness.idp.signer.sign(&claims).unwrap();
        with_other_claims(&signed, &changed(claims, "sub", json!("mallory")))
    })
    .await;
    assert_refused("unknown key", |_, claims| {
        Signer::generate().unwrap().sign(&claims).unwrap()
    })
    .await;
    // The identity provider even offers HS256; whoever knows the client secret could forge.
    assert_refused("shared secret", |_, claims| {
        let key = EncodingKey::from_secret(idp::CLIENT_SECRET.as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_new_key_of_the_identity_provider_is_learned_at_once() {
    let harness = Harness::new().await;
    let fresh = Signer::generate().unwrap();
    harness.idp.publish(&fresh).await;
    let result = end(&harness, "", |_, claims| fresh.sign(&claims).unwrap()).await;
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test]
async fn an_answer_that_names_another_issuer_is_not_redeemed() {
    let harness = Harness::new().await;
    let sign = |harness: &Harness, claims: Value| harness.idp.signer.sign(&claims).unwrap();
    let (error, _) = end(&harness, "&iss=https%3A%2F%2Fother.example", sign)
        .await
        .unwrap_err();
    assert_eq!(error, "access_denied");
    assert!(harness.idp.redeemed().await.is_empty());
}

#[tokio::test]
async fn groups_come_from_userinfo_when_the_id_token_has_none() {
    let harness = Harness::new().await;
    harness
        .idp
        .userinfo(json!({ "sub": "ada", "groups": ["from-userinfo"] }))
        .await;
    let code = end(&harness, "", |harness, mut claims| {
        claims.as_object_mut().unwrap().remove("groups");
        harness.idp.signer.sign(&claims).unwrap()
    })
    .await
    .unwrap();
    let answer = harness
        .redeem(&code, super::VERIFIER, super::REDIRECT)
        .await;
    let token = answer.json()["accessToken"].as_str().unwrap().to_owned();
    harness.get_as("/api/templates", &token).await;
    let reviews = harness.kube.reviews.lock().unwrap();
    assert_eq!(reviews[0]["groups"], json!(["oidc:from-userinfo"]));
}

#[tokio::test]
async fn userinfo_of_another_subject_gives_no_groups() {
    let harness = Harness::new().await;
    harness
        .idp
        .userinfo(json!({ "sub": "mallory", "groups": ["admins"] }))
        .await;
    let code = end(&harness, "", |harness, mut claims| {
        claims.as_object_mut().unwrap().remove("groups");
        harness.idp.signer.sign(&claims).unwrap()
    })
    .await
    .unwrap();
    let answer = harness
        .redeem(&code, super::VERIFIER, super::REDIRECT)
        .await;
    let token = answer.json()["accessToken"].as_str().unwrap().to_owned();
    harness.get_as("/api/templates", &token).await;
    let reviews = harness.kube.reviews.lock().unwrap();
    assert_eq!(reviews[0]["groups"].as_array().map_or(0, Vec::len), 0);
}
