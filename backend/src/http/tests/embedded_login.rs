//! A login through the embedded identity provider, both halves over real HTTP on the loopback
//! interface, as in the process.

use std::sync::Arc;

use http::{StatusCode, header};
use kube_bind_runtime::shutdown::Shutdown;
use reqwest::redirect::Policy;
use url::Url;

use super::{Harness, REDIRECT, VERIFIER, authorize_path, parameter};
use crate::embedded::{CLIENT_ID, Embedded};
use crate::http::router;
use crate::http::server::Listener;
use crate::oidc::{HttpClient, RelyingParty, Settings};

struct Running {
    url: String,
    shutdown: Shutdown,
}

async fn start() -> Running {
    let harness = Harness::new().await;
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None)
        .await
        .unwrap();
    let url = format!("http://{}", listener.address());
    let embedded = Arc::new(Embedded::new(&url).unwrap());
    let settings = Settings {
        issuer: format!("{url}/oidc"),
        client_id: CLIENT_ID.to_owned(),
        client_secret: Some(embedded.client_secret()),
        callback_url: format!("{url}/api/callback"),
        scopes: vec!["groups".to_owned()],
    };
    let clock = harness.clock.shared();
    let relying_party = RelyingParty::new(settings, HttpClient::new(None).unwrap(), clock).unwrap();
    let relying_party = Arc::new(relying_party);
    let mut state = harness.state.clone();
    let mut site = (*state.site).clone();
    site.public_url = url.clone();
    site.is_https = false;
    state.site = Arc::new(site);
    state.embedded = Some(embedded);
    state.relying_party = Arc::clone(&relying_party);
    let shutdown = Shutdown::new();
    shutdown.spawn("http", listener.serve(router(state), shutdown.clone()));
    relying_party.discover().await.unwrap();
    Running { url, shutdown }
}

fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(Policy::none())
        .cookie_store(true)
        .build()
        .unwrap()
}

fn location(response: &reqwest::Response) -> Url {
    Url::parse(response.headers()[header::LOCATION].to_str().unwrap()).unwrap()
}

fn consent_of(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"consent\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_demo_user_logs_in_after_consent() {
    let running = start().await;
    let browser = browser();
    let page = browser
        .get(&running.url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains("UNSAFE demo identity provider"));
    let begun = browser
        .get(format!("{}{}", running.url, authorize_path(REDIRECT)))
        .send()
        .await
        .unwrap();
    let asked = browser.get(location(&begun)).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::OK);
    let page = asked.text().await.unwrap();
    assert!(page.contains("UNSAFE demo identity provider"));
    let form = [("consent", consent_of(&page))];
    let consented = browser
        .post(format!("{}/oidc/authorize", running.url))
        .form(&form)
        .send()
        .await
        .unwrap();
    let back = location(&consented);
    let ended = browser.get(back.clone()).send().await.unwrap();
    let to_plugin = location(&ended);
    assert_eq!(parameter(&to_plugin, "error_description"), None);
    let body = serde_json::json!({
        "code": parameter(&to_plugin, "code").unwrap(), "codeVerifier": VERIFIER, "redirectUri": REDIRECT,
    });
    let token = browser
        .post(format!("{}/api/token", running.url))
        .json(&body)
        .send()
        .await
        .unwrap();
    let token: serde_json::Value = token.json().await.unwrap();
    let ping = browser.get(format!("{}/api/ping", running.url));
    let ping = ping
        .bearer_auth(token["accessToken"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(ping.status(), StatusCode::OK);

    // The authorization code is used up.
    let form = [
        ("grant_type", "authorization_code".to_owned()),
        ("code", parameter(&back, "code").unwrap()),
        ("code_verifier", VERIFIER.to_owned()),
        ("redirect_uri", format!("{}/api/callback", running.url)),
    ];
    let again = browser
        .post(format!("{}/oidc/token", running.url))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(
        again.status(),
        StatusCode::UNAUTHORIZED,
        "without the client's secret"
    );
    running.shutdown.token.cancel();
}

#[tokio::test]
async fn the_embedded_provider_serves_its_own_client_only() {
    let running = start().await;
    let browser = browser();
    let authorize = format!("{}/oidc/authorize", running.url);
    for (name, value) in [
        ("client_id", "another"),
        ("redirect_uri", "https://evil.example/api/callback"),
        ("response_type", "token"),
        ("code_challenge_method", "plain"),
    ] {
        let begun = browser
            .get(format!("{}{}", running.url, authorize_path(REDIRECT)))
            .send()
            .await
            .unwrap();
        let mut url = location(&begun);
        let pairs: Vec<_> = url
            .query_pairs()
            .into_owned()
            .filter(|(key, _)| key != name)
            .collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(pairs)
            .append_pair(name, value);
        let answer = browser.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}");
        assert!(!answer.headers().contains_key(header::LOCATION));
    }
    let forged = browser
        .post(&authorize)
        .form(&[("consent", "forged")])
        .send()
        .await
        .unwrap();
    assert_eq!(forged.status(), StatusCode::BAD_REQUEST);
    running.shutdown.token.cancel();
}
