//! The identity provider and the scripted browser, before anything of ours relies on them.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube_bind_e2e::browser::Browser;
use kube_bind_e2e::idp::{IdentityProvider, Person};
use kube_bind_e2e::landing::{LANDED, LandingPage};
use kube_bind_e2e::run;
use serde_json::Value;
use sha2::{Digest, Sha256};

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-in-length";

fn authorize(idp: &IdentityProvider, redirect: &str, challenge: Option<&str>) -> String {
    let mut url = url::Url::parse(&format!("{}/auth", idp.issuer())).unwrap();
    url.query_pairs_mut()
        .append_pair("client_id", idp.client_id())
        .append_pair("redirect_uri", redirect)
        .append_pair("response_type", "code")
        .append_pair("scope", "openid profile email groups")
        .append_pair("state", "s")
        .append_pair("nonce", "n");
    if let Some(challenge) = challenge {
        url.query_pairs_mut()
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
    }
    url.into()
}

#[test]
fn a_person_signs_in_through_the_form_and_the_id_token_carries_their_groups() {
    run(async {
        let landing = LandingPage::start("/api/callback").await.unwrap();
        let redirect = landing.url();
        let alice = Person::new("alice", &["platform", "consumers"]);
        let idp = IdentityProvider::start(redirect, std::slice::from_ref(&alice))
            .await
            .unwrap();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let url = authorize(&idp, redirect, Some(&challenge));

        let mut stranger = Browser::new().unwrap();
        let mallory = Person {
            password: "guess".to_owned(),
            ..alice.clone()
        };
        let page = stranger.sign_in(&url, &mallory, |_| {}).await.unwrap();
        assert_eq!(page.status, 401, "{}", page.body);

        let mut forms = Vec::new();
        let mut browser = Browser::new().unwrap();
        let page = browser
            .sign_in(&url, &alice, |form| forms.push(form.to_owned()))
            .await
            .unwrap();
        assert_eq!(page.body, LANDED, "{}", page.url);
        assert_eq!(forms.len(), 2, "sign-in and consent, but: {forms:?}");
        let code = page
            .url
            .query_pairs()
            .find(|(key, _)| key == "code")
            .unwrap()
            .1
            .into_owned();

        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", redirect),
            ("code_verifier", VERIFIER),
        ];
        let token = format!("{}/token", idp.issuer());
        let answer = request
            .post(token)
            .basic_auth(idp.client_id(), Some(idp.client_secret()))
            .form(&form)
            .send()
            .await
            .unwrap();
        let document: Value = answer.json().await.unwrap();
        let payload = document["id_token"]
            .as_str()
            .unwrap()
            .split('.')
            .nth(1)
            .unwrap()
            .to_owned();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!(claims["sub"], "alice");
        assert_eq!(
            claims["groups"],
            serde_json::json!(["platform", "consumers"])
        );
        assert_eq!(claims["nonce"], "n");
    });
}

#[test]
fn a_client_without_pkce_gets_no_code() {
    run(async {
        let landing = LandingPage::start("/api/callback").await.unwrap();
        let redirect = landing.url();
        let idp = IdentityProvider::start(redirect, &[Person::new("alice", &[])])
            .await
            .unwrap();
        let page = Browser::new()
            .unwrap()
            .open(&authorize(&idp, redirect, None))
            .await
            .unwrap();
        let query: std::collections::HashMap<_, _> = page.url.query_pairs().into_owned().collect();
        assert_eq!(
            query.get("error").map(String::as_str),
            Some("invalid_request"),
            "{}",
            page.url
        );
        assert!(!query.contains_key("code"));
    });
}
