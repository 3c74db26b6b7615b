//! `login` and `logout`: what is stored, what is shown, who is listened to.

use crate::harness::{TOKEN, World, error, get};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

async fn world_with_token() -> World {
    let world = World::new().await;
    let token = json!({"accessToken": TOKEN, "tokenType": "Bearer", "expiresIn": 3600});
    world.answer("POST", "/api/token", 200, token).await;
    world
}

fn stored(world: &World) -> Value {
    serde_json::from_slice(&std::fs::read(world.store()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_login_redeems_the_code_and_keeps_the_token_to_itself() {
    let world = world_with_token().await;
    let url = world.url();
    let login = world
        .start_login(&["login", &url, "--skip-browser", "--show-token"])
        .await;
    assert_eq!(login.address.path(), "/api/authorize");
    assert_eq!(login.parameter("client_type"), "cli");
    assert_eq!(login.parameter("code_challenge_method"), "S256");
    assert!(
        login
            .parameter("redirect_url")
            .starts_with("http://127.0.0.1:")
    );
    let (session, challenge) = (
        login.parameter("session_id"),
        login.parameter("code_challenge"),
    );
    let redirect = login.parameter("redirect_url");
    let (status, page) = login
        .come_back(&[("code", "one-time"), ("session_id", &session)])
        .await;
    assert_eq!(status, 200);
    assert!(page.contains("You are logged in"), "{page}");

    let outcome = login.end().await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome
            .stdout
            .starts_with(&format!("server/{url} logged in\ntoken SHA256:")),
        "{}",
        outcome.stdout
    );
    assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains(TOKEN));

    let redeemed: Value = world.requests("/api/token").await[0].body_json().unwrap();
    assert_eq!(
        (&redeemed["code"], &redeemed["redirectUri"]),
        (&json!("one-time"), &json!(redirect))
    );
    let verifier = redeemed["codeVerifier"].as_str().unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)), challenge);

    let store = stored(&world);
    assert_eq!(store["current"], json!(url));
    assert_eq!(store["servers"][&url]["accessToken"], TOKEN);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&world.store()), 0o600);
        assert_eq!(mode(world.store().parent().unwrap()), 0o700);
    }

    let outcome = world.run(&["logout"]).await;
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "server/<provider> logged out\n"),
        "{}",
        outcome.stderr
    );
    assert!(stored(&world)["servers"].as_object().unwrap().is_empty());
}

#[tokio::test]
async fn callbacks_of_others_are_ignored() {
    let world = world_with_token().await;
    let login = world
        .start_login(&["login", &world.url(), "--skip-browser"])
        .await;
    let session = login.parameter("session_id");
    for foreign in [
        &[("code", "evil"), ("session_id", "foreign")][..],
        &[("code", "evil")],
        &[("error", "access_denied"), ("session_id", "foreign")],
        &[
            ("access_token", "evil"),
            ("token_type", "Bearer"),
            ("expires_in", "3600"),
        ],
        &[],
    ] {
        assert_eq!(login.come_back(foreign).await.0, 400, "{foreign:?}");
    }
    let mut elsewhere = Url::parse(&login.parameter("redirect_url")).unwrap();
    elsewhere.set_path("/favicon.ico");
    assert_eq!(get(elsewhere).await.0, 404);
    assert!(world.requests("/api/token").await.is_empty());
    assert_eq!(
        login
            .come_back(&[("code", "good"), ("session_id", &session)])
            .await
            .0,
        200
    );
    assert_eq!(login.end().await.code, 0);
}

#[tokio::test]
async fn the_backends_refusal_ends_the_wait() {
    let world = world_with_token().await;
    let login = world
        .start_login(&["login", &world.url(), "--skip-browser"])
        .await;
    let session = login.parameter("session_id");
    let refusal = [
        ("error", "access_denied"),
        ("error_description", "<b>not you</b>"),
        ("session_id", session.as_str()),
    ];
    let (status, page) = login.come_back(&refusal).await;
    assert_eq!(status, 400);
    assert!(page.contains("&lt;b&gt;not you"), "{page}");
    let outcome = login.end().await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .ends_with("error: the provider refused the login: <b>not you</b> (access_denied)\n"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.stdout, "");
    assert!(!world.store().exists());
}

#[tokio::test]
async fn a_code_that_the_server_does_not_take_is_told_in_both_places() {
    let world = World::new().await;
    world
        .answer(
            "POST",
            "/api/token",
            400,
            error("BAD_REQUEST", "the code was used before"),
        )
        .await;
    let login = world
        .start_login(&["login", &world.url(), "--skip-browser"])
        .await;
    let session = login.parameter("session_id");
    let (status, page) = login
        .come_back(&[("code", "stale"), ("session_id", &session)])
        .await;
    assert_eq!(status, 400);
    assert!(page.contains("the code was used before"), "{page}");
    let outcome = login.end().await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .ends_with("error: the code was used before (BAD_REQUEST)\n"),
        "{}",
        outcome.stderr
    );
}

#[tokio::test]
async fn a_login_that_nobody_finishes_ends() {
    let world = world_with_token().await;
    let outcome = world
        .run(&[
            "login",
            &world.url(),
            "--skip-browser",
            "--timeout",
            "200ms",
        ])
        .await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .ends_with("error: nobody finished the login within 200ms: run the command again\n"),
        "{}",
        outcome.stderr
    );
}

#[tokio::test]
async fn a_token_in_the_redirect_needs_a_flag() {
    let world = World::new().await;
    let token = |session: &str| {
        vec![
            ("access_token".to_owned(), TOKEN.to_owned()),
            ("token_type".to_owned(), "Bearer".to_owned()),
            ("expires_in".to_owned(), "60".to_owned()),
            ("session_id".to_owned(), session.to_owned()),
        ]
    };
    let login = world
        .start_login(&["login", &world.url(), "--skip-browser"])
        .await;
    let session = login.parameter("session_id");
    let parameters = token(&session);
    let borrowed: Vec<(&str, &str)> = parameters
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(login.come_back(&borrowed).await.0, 400);
    let outcome = login.end().await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("--allow-legacy-login") && !outcome.stderr.contains(TOKEN),
        "{}",
        outcome.stderr
    );

    let login = world
        .start_login(&[
            "login",
            &world.url(),
            "--skip-browser",
            "--allow-legacy-login",
        ])
        .await;
    assert!(
        login
            .parameter("redirect_url")
            .ends_with(&login.parameter("session_id"))
    );
    assert_eq!(login.come_back(&borrowed[..3]).await.0, 200);
    assert_eq!(login.end().await.code, 0);
    assert_eq!(stored(&world)["servers"][world.url()]["accessToken"], TOKEN);
}

#[tokio::test]
async fn plain_http_to_another_machine_is_refused() {
    let world = World::new().await;
    let outcome = world
        .run(&["login", "http://provider.example", "--skip-browser"])
        .await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: http://provider.example is not encrypted: use https://, or --insecure-allow-http if you trust everybody on the way\n"
    );
}
