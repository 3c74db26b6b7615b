//! The way of a login through `/api/authorize`, `/api/callback` and `/api/token`.

use std::time::Duration;

use http::{StatusCode, header};
use jsonwebtoken::dangerous::insecure_decode;
use serde_json::{Value, json};

use super::{Harness, PUBLIC, REDIRECT, SESSION, VERIFIER, authorize_path, idp, parameter};
use crate::metrics::LoginResult;
use crate::session::login::challenge_of;

/// A login up to the redirect to the plugin: the code.
async fn log_in(harness: &Harness) -> String {
    let (begun, cookie) = harness.begin().await;
    let at_idp = begun.location();
    let nonce = parameter(&at_idp, "nonce").unwrap();
    let state = parameter(&at_idp, "state").unwrap();
    harness
        .idp
        .answer_with(
            harness
                .idp
                .signer
                .sign(&harness.idp.claims(&nonce))
                .unwrap(),
        )
        .await;
    let answer = harness
        .come_back(&format!("code=c0de&state={state}"), Some(&cookie))
        .await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.body);
    let location = answer.location();
    assert!(location.as_str().starts_with(REDIRECT));
    assert_eq!(parameter(&location, "session_id").as_deref(), Some(SESSION));
    assert_eq!(parameter(&location, "error"), None, "{location}");
    parameter(&location, "code").unwrap()
}

#[tokio::test]
async fn a_login_ends_in_a_token_that_works() {
    let harness = Harness::new().await;
    let (begun, cookie) = harness.begin().await;
    let at_idp = begun.location();
    assert!(
        at_idp
            .as_str()
            .starts_with(&format!("{}/auth?", harness.idp.issuer()))
    );
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", idp::CLIENT_ID),
        ("redirect_uri", "https://provider.example/api/callback"),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(parameter(&at_idp, name).as_deref(), Some(value), "{name}");
    }
    // Our challenge towards the identity provider is not the plugin's.
    assert_ne!(
        parameter(&at_idp, "code_challenge"),
        Some(challenge_of(VERIFIER))
    );
    let nonce = parameter(&at_idp, "nonce").unwrap();
    let state = parameter(&at_idp, "state").unwrap();
    harness
        .idp
        .answer_with(
            harness
                .idp
                .signer
                .sign(&harness.idp.claims(&nonce))
                .unwrap(),
        )
        .await;
    let answer = harness
        .come_back(&format!("code=c0de&state={state}"), Some(&cookie))
        .await;
    let location = answer.location();
    let names: Vec<_> = location
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    assert_eq!(
        names,
        ["code", "session_id"],
        "nothing else travels in the URL"
    );

    let redeemed = harness.idp.redeemed().await;
    let form = String::from_utf8(redeemed[0].body.clone()).unwrap();
    let verifier = url::form_urlencoded::parse(form.as_bytes())
        .find(|(name, _)| name == "code_verifier")
        .unwrap()
        .1
        .into_owned();
    assert_eq!(
        Some(challenge_of(&verifier)),
        parameter(&at_idp, "code_challenge")
    );

    let code = parameter(&location, "code").unwrap();
    let answer = harness.redeem(&code, VERIFIER, REDIRECT).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let document = answer.json();
    assert_eq!(document["tokenType"], "Bearer");
    assert_eq!(document["expiresIn"], 3600);
    let token = document["accessToken"].as_str().unwrap();
    assert!(!location.as_str().contains(token));
    let claims: Value = insecure_decode(token).unwrap().claims;
    assert_eq!(claims["sub"], "ada");
    assert_eq!(claims["idp"], harness.idp.issuer());
    assert_eq!(claims["groups"], json!(["ops"]));
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!(PUBLIC), &json!("kube-bind"))
    );
    let pong = harness.get_as("/api/ping", token).await;
    assert_eq!((pong.status, pong.body.as_str()), (StatusCode::OK, "pong"));
    assert_eq!(harness.state.metrics.logins(LoginResult::Success), 1);
}

#[tokio::test]
async fn the_login_cookie_is_bound_to_this_site_and_sealed() {
    let harness = Harness::new().await;
    let (begun, _) = harness.begin().await;
    let cookie = begun.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-kube-bind-login-"), "{cookie}");
    for attribute in [
        "HttpOnly",
        "Secure",
        "SameSite=Lax",
        "Path=/",
        "Max-Age=600",
    ] {
        assert!(
            cookie.split("; ").any(|part| part == attribute),
            "{attribute}: {cookie}"
        );
    }
    assert!(!cookie.contains("Domain"));
    let at_idp = begun.location();
    for secret in ["state", "nonce"] {
        assert!(!cookie.contains(&parameter(&at_idp, secret).unwrap()));
    }
}

#[tokio::test]
async fn over_http_the_cookie_is_plain_because_browsers_drop_the_other_kind() {
    let harness = Harness::with(|site| site.is_https = false).await;
    let (begun, _) = harness.begin().await;
    let cookie = begun.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("kube-bind-login-"));
    assert!(!cookie.contains("Secure"));
    assert!(
        !begun
            .headers
            .contains_key(header::STRICT_TRANSPORT_SECURITY)
    );
}

#[tokio::test]
async fn the_callback_makes_the_browser_forget_the_login() {
    let harness = Harness::new().await;
    let (begun, cookie) = harness.begin().await;
    let state = parameter(&begun.location(), "state").unwrap();
    let answer = harness
        .come_back(&format!("error=access_denied&state={state}"), Some(&cookie))
        .await;
    let removal = answer.headers[header::SET_COOKIE].to_str().unwrap();
    let name = cookie.split('=').next().unwrap();
    assert!(removal.starts_with(&format!("{name}=;")), "{removal}");
    for attribute in ["Max-Age=0", "Secure", "Path=/"] {
        assert!(
            removal.split("; ").any(|part| part == attribute),
            "{attribute}: {removal}"
        );
    }
}

#[tokio::test]
async fn a_state_from_another_browser_is_refused() {
    let harness = Harness::new().await;
    let (begun, _) = harness.begin().await;
    let (_, other_cookie) = harness.begin().await;
    let state = parameter(&begun.location(), "state").unwrap();
    let query = format!("code=c0de&state={state}");
    harness
        .come_back(&query, None)
        .await
        .assert_error(400, "BAD_REQUEST");
    harness
        .come_back(&query, Some(&other_cookie))
        .await
        .assert_error(400, "BAD_REQUEST");
    // The other browser's content under the expected name.
    let name = crate::session::login::cookie_name(&state, true);
    let forged = format!("{name}={}", other_cookie.split_once('=').unwrap().1);
    harness
        .come_back(&query, Some(&forged))
        .await
        .assert_error(400, "BAD_REQUEST");
    assert!(harness.idp.redeemed().await.is_empty());
    assert_eq!(harness.state.metrics.logins(LoginResult::Invalid), 3);
}

#[tokio::test]
async fn a_login_that_took_too_long_is_refused() {
    let harness = Harness::new().await;
    let (begun, cookie) = harness.begin().await;
    let state = parameter(&begun.location(), "state").unwrap();
    harness.clock.advance(Duration::from_secs(600));
    let answer = harness
        .come_back(&format!("code=c0de&state={state}"), Some(&cookie))
        .await;
    answer.assert_error(400, "BAD_REQUEST");
}

#[tokio::test]
async fn a_refusal_of_the_identity_provider_reaches_the_plugin() {
    let harness = Harness::new().await;
    let (begun, cookie) = harness.begin().await;
    let state = parameter(&begun.location(), "state").unwrap();
    let query = format!("error=access_denied&error_description=not%0Atoday&state={state}");
    let location = harness.come_back(&query, Some(&cookie)).await.location();
    assert!(location.as_str().starts_with(REDIRECT));
    assert_eq!(
        parameter(&location, "error").as_deref(),
        Some("access_denied")
    );
    assert_eq!(
        parameter(&location, "error_description").as_deref(),
        Some("nottoday")
    );
    assert_eq!(parameter(&location, "session_id").as_deref(), Some(SESSION));
    assert_eq!(harness.state.metrics.logins(LoginResult::Refused), 1);
}

#[tokio::test]
async fn a_code_works_once() {
    let harness = Harness::new().await;
    let code = log_in(&harness).await;
    assert_eq!(
        harness.redeem(&code, VERIFIER, REDIRECT).await.status,
        StatusCode::OK
    );
    harness
        .redeem(&code, VERIFIER, REDIRECT)
        .await
        .assert_error(400, "BAD_REQUEST");
    let markers = harness.kube.markers.lock().unwrap();
    let (name, marker) = markers.first_key_value().unwrap();
    assert!(name.starts_with("login-code-"));
    assert_eq!(
        marker["metadata"]["labels"]["backend.kube-bind.io/login-marker"],
        "login-code"
    );
    assert_eq!(
        marker["metadata"]["annotations"]["backend.kube-bind.io/expires"],
        "2026-03-01T12:10:00Z"
    );
}

#[tokio::test]
async fn a_code_is_worth_nothing_to_others_or_later() {
    let harness = Harness::new().await;
    let code = log_in(&harness).await;
    let wrong = "another-verifier-that-is-also-long-enough-for-pkce";
    harness
        .redeem(&code, wrong, REDIRECT)
        .await
        .assert_error(400, "BAD_REQUEST");
    harness
        .redeem(&code, "", REDIRECT)
        .await
        .assert_error(400, "BAD_REQUEST");
    let elsewhere = "http://127.0.0.1:40000/callback";
    harness
        .redeem(&code, VERIFIER, elsewhere)
        .await
        .assert_error(400, "BAD_REQUEST");
    harness
        .redeem(&code[1..], VERIFIER, REDIRECT)
        .await
        .assert_error(400, "BAD_REQUEST");
    assert!(
        harness.kube.markers.lock().unwrap().is_empty(),
        "guessing does not use the code up"
    );
    harness.clock.advance(Duration::from_secs(60));
    harness
        .redeem(&code, VERIFIER, REDIRECT)
        .await
        .assert_error(400, "BAD_REQUEST");
}

#[tokio::test]
async fn redirects_that_are_no_loopback_literal_are_refused() {
    let harness = Harness::new().await;
    for redirect in [
        "http://localhost:1234/callback",
        "https://127.0.0.1:1234/callback",
        "http://127.0.0.1:1234@evil.example/",
        "http://evil.example:1234/",
    ] {
        let answer = harness.get(&authorize_path(redirect)).await;
        answer.assert_error(400, "BAD_REQUEST");
        assert!(!answer.headers.contains_key(header::LOCATION));
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
    }
}

#[tokio::test]
async fn the_originals_plugin_is_told_why_it_cannot_log_in() {
    let harness = Harness::new().await;
    let path =
        format!("/api/authorize?client_type=cli&redirect_url={REDIRECT}&session_id={SESSION}");
    let answer = harness.get(&path).await;
    answer.assert_error(400, "BAD_REQUEST");
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .contains("--allow-legacy-login")
    );
}

#[tokio::test]
async fn with_the_legacy_flag_the_originals_plugin_gets_its_token() {
    let harness = Harness::with(|site| site.allow_legacy_login = true).await;
    let path =
        format!("/api/authorize?client_type=cli&redirect_url={REDIRECT}&session_id={SESSION}");
    let begun = harness.get(&path).await;
    let cookie = begun.headers[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let at_idp = begun.location();
    let nonce = parameter(&at_idp, "nonce").unwrap();
    let state = parameter(&at_idp, "state").unwrap();
    harness
        .idp
        .answer_with(
            harness
                .idp
                .signer
                .sign(&harness.idp.claims(&nonce))
                .unwrap(),
        )
        .await;
    let location = harness
        .come_back(&format!("code=c&state={state}"), Some(cookie))
        .await
        .location();
    assert_eq!(
        parameter(&location, "token_type").as_deref(),
        Some("Bearer")
    );
    assert_eq!(parameter(&location, "expires_in").as_deref(), Some("3600"));
    let token = parameter(&location, "access_token").unwrap();
    assert_eq!(
        harness.get_as("/api/ping", &token).await.status,
        StatusCode::OK
    );
}
