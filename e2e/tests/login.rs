//! Login: through the identity provider's own form, with one-time codes, and never with a token in a
//! URL. The backend and the plugin are the built programs.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube_bind_e2e::browser::{Browser, Visit};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::idp::Person;
use kube_bind_e2e::landing::{LANDED, LandingPage};
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::{run, wait_for};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use url::Url;

const VERIFIER: &str = "the-plugins-own-verifier-of-forty-three-characters-or-more";
const SESSION: &str = "session-of-this-test";

static PROVIDER: OnceCell<Provider> = OnceCell::const_new();

/// A provider that offers two things, shared by all tests of this file.
async fn provider() -> &'static Provider {
    let start = async || {
        let options = ProviderOptions {
            without_operator: true,
            ..Default::default()
        };
        let provider = Provider::start(options).await.unwrap();
        let template = |name: &str| {
            json!({
                "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExportTemplate", "metadata": {"name": name},
                "spec": {"scope": "Namespaced", "resources": [{"group": "example.org", "resource": name, "versions": ["v1"]}]},
            })
        };
        provider
            .apply(&[template("widgets"), template("gadgets")])
            .await
            .unwrap();
        provider
    };
    PROVIDER.get_or_init(start).await
}

fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// The login address that the backend names, completed as the plugin does.
async fn login_url(provider: &Provider, redirect: &str, challenge: Option<&str>) -> Url {
    let description: Value = http()
        .get(format!("{}/api/exports", provider.url()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(description["kind"], "BindingProvider", "{description}");
    let named = &description["authenticationMethods"][0]["oauth2CodeGrant"]["authenticatedURL"];
    let mut url = Url::parse(named.as_str().unwrap()).unwrap();
    url.query_pairs_mut()
        .append_pair("client_type", "cli")
        .append_pair("redirect_url", redirect)
        .append_pair("session_id", SESSION);
    if let Some(challenge) = challenge {
        url.query_pairs_mut()
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
    }
    url
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Signs in and gives the one-time code that the plugin would receive.
async fn code(provider: &Provider, person: &Person, landing: &LandingPage) -> (String, Vec<Visit>) {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut browser = Browser::new().unwrap();
    let url = login_url(provider, landing.url(), Some(&challenge)).await;
    let page = browser.sign_in(url.as_str(), person, |_| {}).await.unwrap();
    assert_eq!(page.body, LANDED, "{} at {}", page.status, page.url);
    assert_eq!(parameter(&page.url, "session_id").as_deref(), Some(SESSION));
    let code = parameter(&page.url, "code").unwrap_or_else(|| panic!("no code in {}", page.url));
    (code, browser.visits().to_vec())
}

async fn redeem(
    provider: &Provider,
    code: &str,
    verifier: &str,
    redirect: &str,
) -> (StatusCode, Value) {
    let body = json!({"code": code, "codeVerifier": verifier, "redirectUri": redirect});
    let answer = http()
        .post(format!("{}/api/token", provider.url()))
        .json(&body)
        .send()
        .await
        .unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn get(provider: &Provider, path: &str, token: &str) -> (StatusCode, Value) {
    let answer = http()
        .get(format!("{}{path}", provider.url()))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Does anything that looks like a token, or is this token, appear in a URL?
fn assert_no_token_in_urls(visits: &[Visit], token: &str) {
    assert!(!visits.is_empty());
    for visit in visits {
        let url = visit.url.as_str();
        assert!(!url.contains(token), "{url}");
        for part in ["access_token", "id_token", "eyJ"] {
            assert!(!url.contains(part), "{part} in {url}");
        }
    }
}

#[test]
fn a_code_is_redeemed_once_with_the_right_verifier_and_gives_a_token_for_what_one_may_bind() {
    run(async {
        let provider = provider().await;
        let landing = LandingPage::start("/callback").await.unwrap();

        let (stolen, _) = code(provider, &provider.alice, &landing).await;
        let wrong = "another-verifier-of-forty-three-characters-or-even-more";
        let (status, _) = redeem(provider, &stolen, wrong, landing.url()).await;
        assert!(status.is_client_error(), "{status}");

        let (code, visits) = code(provider, &provider.alice, &landing).await;
        let (status, token) = redeem(provider, &code, VERIFIER, landing.url()).await;
        assert_eq!(status, StatusCode::OK, "{token}");
        let access = token["accessToken"].as_str().unwrap();
        assert_no_token_in_urls(&visits, access);

        let (status, again) = redeem(provider, &code, VERIFIER, landing.url()).await;
        assert!(status.is_client_error(), "{status}: {again}");

        let (status, templates) = get(provider, "/api/templates", access).await;
        assert_eq!(status, StatusCode::OK, "{templates}");
        let mut names: Vec<_> = templates["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|t| t["metadata"]["name"].as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["gadgets", "widgets"]);
    });
}

#[test]
fn who_may_bind_nothing_is_told_so() {
    run(async {
        let provider = provider().await;
        let landing = LandingPage::start("/callback").await.unwrap();
        let (code, _) = code(provider, &provider.mallory, &landing).await;
        let (status, token) = redeem(provider, &code, VERIFIER, landing.url()).await;
        assert_eq!(status, StatusCode::OK, "{token}");
        let (status, refusal) = get(
            provider,
            "/api/templates",
            token["accessToken"].as_str().unwrap(),
        )
        .await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{refusal}");
        assert_eq!(
            (&refusal["kind"], &refusal["code"]),
            (&json!("Error"), &json!("AUTHORIZATION_FAILED"))
        );
    });
}

#[test]
fn a_token_of_somebody_else_is_refused_with_the_contracts_document() {
    run(async {
        let provider = provider().await;
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let claims =
            URL_SAFE_NO_PAD.encode(r#"{"sub":"alice","aud":"kube-bind","exp":4102444800}"#);
        for token in ["nonsense".to_owned(), format!("{header}.{claims}.")] {
            let (status, refusal) = get(provider, "/api/templates", &token).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{refusal}");
            let expected = (
                json!("Error"),
                json!("kube-bind.io/v1alpha2"),
                json!("AUTHENTICATION_FAILED"),
            );
            assert_eq!(
                (&refusal["kind"], &refusal["apiVersion"], &refusal["code"]),
                (&expected.0, &expected.1, &expected.2)
            );
        }
    });
}

#[test]
fn a_login_that_would_put_a_token_or_a_code_elsewhere_does_not_begin() {
    run(async {
        let provider = provider().await;
        let landing = LandingPage::start("/callback").await.unwrap();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let without_proof = login_url(provider, landing.url(), None).await;
        let elsewhere = login_url(
            provider,
            "http://attacker.example/callback",
            Some(&challenge),
        )
        .await;
        let by_name = login_url(
            provider,
            &landing.url().replace("127.0.0.1", "localhost"),
            Some(&challenge),
        )
        .await;
        for url in [without_proof, elsewhere, by_name] {
            let answer = http().get(url.clone()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{url}");
        }
    });
}

#[test]
fn the_plugin_logs_in_and_keeps_the_token_to_itself() {
    run(async {
        let provider = provider().await;
        let consumer = Consumer::start("login-consumer").await.unwrap();
        let login = consumer
            .login(&provider.url(), &provider.alice)
            .await
            .unwrap()
            .success()
            .unwrap();
        assert_eq!(
            login.page.as_ref().map(|page| page.status),
            Some(StatusCode::OK),
            "{}",
            login.stderr
        );

        let store = consumer.home().join(".kube-bind/config");
        let mode = std::fs::metadata(&store).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let stored: Value = serde_json::from_slice(&std::fs::read(&store).unwrap()).unwrap();
        let token = stored["servers"][provider.url()]["accessToken"]
            .as_str()
            .unwrap_or_else(|| panic!("no token stored"));
        assert_eq!(stored["current"], provider.url());
        assert_no_token_in_urls(&login.visits, token);
        assert!(
            !login.stderr.contains(token) && !login.stdout.contains(token),
            "the token was printed"
        );

        let templates = consumer
            .run_plugin(&["bind", "templates", "-o", "json"])
            .await
            .unwrap()
            .success()
            .unwrap();
        let list: Value = serde_json::from_str(&templates.stdout).unwrap();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");

        // Nobody else's log knows the token either.
        let backend = provider.backend().unwrap();
        assert!(!backend.log().contains(token) && !backend.stdout().contains(token));
    });
}

#[test]
fn a_backend_whose_identity_provider_is_silent_says_so_and_recovers_without_a_restart() {
    run(async {
        let options = ProviderOptions {
            without_operator: true,
            without_backend: true,
            ..Default::default()
        };
        let provider = Provider::start(options).await.unwrap();
        provider.identity_provider.process().pause().unwrap();
        let backend = provider
            .launch_backend()
            .unwrap()
            .start(provider.logs())
            .unwrap();
        let ready = format!("{}/readyz", provider.ops_url());
        let login = format!("{}/api/authorize?client_type=cli", provider.url());

        wait_for(
            "the backend to name its identity provider as the problem",
            || async {
                backend.check_running()?;
                let answer = http().get(&ready).send().await?;
                let status = answer.status();
                let text = answer.text().await?;
                match status == StatusCode::SERVICE_UNAVAILABLE && text.contains("oidc") {
                    true => Ok(()),
                    false => Err(anyhow::anyhow!("{status}: {text}")),
                }
            },
        )
        .await
        .unwrap();
        let landing = LandingPage::start("/callback").await.unwrap();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let mut url = Url::parse(&login).unwrap();
        url.query_pairs_mut()
            .append_pair("redirect_url", landing.url())
            .append_pair("session_id", SESSION)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        assert_eq!(
            http().get(url).send().await.unwrap().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );

        provider.identity_provider.process().resume().unwrap();
        backend.wait_ready(&http(), &ready).await.unwrap();
        let (code, _) = code(&provider, &provider.alice, &landing).await;
        assert_eq!(
            redeem(&provider, &code, VERIFIER, landing.url()).await.0,
            StatusCode::OK
        );
    });
}
