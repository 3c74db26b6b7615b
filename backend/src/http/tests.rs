//! The whole router against a fake identity provider (signed tokens over HTTP) and a fake API server
//! (in process), with fixed time and keys.

mod api;
mod embedded_login;
mod idp;
mod kube_api;
mod login;
mod surface;
mod tokens;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use futures::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode, header};
use jiff::Timestamp;
use kube_bind_runtime::clock::FixedClock;
use serde_json::{Value, json};
use tower::ServiceExt;
use url::Url;

use crate::catalogue::Catalogue;
use crate::keys::KeyRing;
use crate::keys::store::Keys;
use crate::metrics::Metrics;
use crate::oidc::{HttpClient, RelyingParty, Settings};
use crate::provision::{Consumer, Error as ProvisionError, Provisioned};
use crate::session::login::challenge_of;
use crate::session::markers::Markers;
use crate::session::{User, token};
use crate::state::{AppState, Provision, Site};
use crate::user_access::{AccessReviews, Prefixes};
use idp::Idp;
use kube_api::KubeApi;

const PUBLIC: &str = "https://provider.example";
const VERIFIER: &str = "the-verifier-of-the-plugin-with-enough-characters";
const REDIRECT: &str = "http://127.0.0.1:39999/callback";
const SESSION: &str = "session-of-the-plugin";

/// Counts what is provisioned.
#[derive(Default)]
struct CountingProvisioner {
    calls: AtomicUsize,
    seen: Mutex<Option<Consumer>>,
    offering: Mutex<Option<String>>,
}

impl Provision for CountingProvisioner {
    fn provision<'a>(
        &'a self,
        consumer: &'a Consumer,
        offering: &'a str,
    ) -> BoxFuture<'a, Result<Provisioned, ProvisionError>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::SeqCst);
            *self.seen.lock().unwrap() = Some(consumer.clone());
            *self.offering.lock().unwrap() = Some(offering.to_owned());
            if consumer.identity == "taken" {
                return Err(ProvisionError::OtherAuthor {
                    namespace: "cluster-x".to_owned(),
                });
            }
            Ok(Provisioned {
                namespace: "cluster-abc".to_owned(),
                kubeconfig: "kind: Config\n".to_owned(),
            })
        })
    }
}

struct Harness {
    router: Router,
    state: AppState,
    clock: FixedClock,
    idp: Idp,
    kube: KubeApi,
    provisioner: Arc<CountingProvisioner>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    fn location(&self) -> Url {
        Url::parse(self.headers[header::LOCATION].to_str().unwrap()).unwrap()
    }

    /// Asserts the contract's error document.
    fn assert_error(&self, status: u16, code: &str) {
        let document = self.json();
        assert_eq!(self.status.as_u16(), status, "{document}");
        assert_eq!(document["kind"], "Error");
        assert_eq!(document["apiVersion"], "kube-bind.io/v1alpha2");
        assert_eq!(document["code"], code, "{document}");
        assert!(!document["message"].as_str().unwrap().is_empty());
    }
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// A state for what needs no login.
pub(super) async fn state() -> AppState {
    Harness::new().await.state
}

impl Harness {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Site)) -> Self {
        kube_bind_runtime::tls::install_provider();
        let clock = FixedClock::new("2026-03-01T12:00:00Z".parse().unwrap());
        let idp = Idp::start(&clock).await;
        let kube = KubeApi::default();
        let client = kube.client();
        let settings = Settings {
            issuer: idp.issuer(),
            client_id: idp::CLIENT_ID.to_owned(),
            client_secret: Some(idp::CLIENT_SECRET.to_owned().into()),
            callback_url: format!("{PUBLIC}/api/callback"),
            scopes: vec!["groups".to_owned()],
        };
        let relying_party =
            RelyingParty::new(settings, HttpClient::new(None).unwrap(), clock.shared()).unwrap();
        relying_party.discover().await.unwrap();
        let ring = KeyRing::new([("k1".to_owned(), [42; 64].as_slice())]).unwrap();
        let provisioner = Arc::new(CountingProvisioner::default());
        let mut site = Site {
            public_url: PUBLIC.to_owned(),
            is_https: true,
            pretty_name: "Ada's <Cloud>".to_owned(),
            token_expiry: Duration::from_secs(3600),
            allow_legacy_login: false,
        };
        change(&mut site);
        let prefixes = Prefixes {
            username: "oidc:".to_owned(),
            groups: "oidc:".to_owned(),
        };
        let state = AppState {
            site: Arc::new(site),
            clock: clock.shared(),
            keys: Keys::fixed(ring),
            relying_party: Arc::new(relying_party),
            markers: Arc::new(Markers::new(client.clone(), "kube-bind", clock.shared())),
            catalogue: Catalogue::new(
                client.clone(),
                crate::provision::test_support::shared_settings(),
            ),
            authorizer: Arc::new(AccessReviews::new(client, prefixes, clock.shared())),
            provisioner: Arc::clone(&provisioner) as Arc<dyn Provision>,
            embedded: None,
            metrics: Metrics::default(),
        };
        Self {
            router: super::router(state.clone()),
            state,
            clock,
            idp,
            kube,
            provisioner,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    async fn get_as(&self, path: &str, token: &str) -> Answer {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    /// A token as a login would give it.
    fn token_of(&self, subject: &str) -> String {
        let user = User {
            subject: subject.to_owned(),
            issuer: self.idp.issuer(),
            groups: Vec::new(),
        };
        let now: Timestamp = self.state.clock.now();
        token::issue(
            &self.state.keys.get(),
            PUBLIC,
            user,
            now,
            Duration::from_secs(3600),
        )
        .unwrap()
    }

    /// Begins a login: the answer, and the cookie as a browser sends it back.
    async fn begin(&self) -> (Answer, String) {
        let answer = self.get(&authorize_path(REDIRECT)).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.body);
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        (answer, cookie)
    }

    /// The browser comes back from the identity provider.
    async fn come_back(&self, query: &str, cookie: Option<&str>) -> Answer {
        let mut request = Request::get(format!("/api/callback?{query}"));
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn redeem(&self, code: &str, verifier: &str, redirect: &str) -> Answer {
        let body = json!({ "code": code, "codeVerifier": verifier, "redirectUri": redirect });
        self.post("/api/token", None, &body).await
    }
}

fn authorize_path(redirect: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("client_type", "cli")
        .append_pair("redirect_url", redirect)
        .append_pair("session_id", SESSION)
        .append_pair("code_challenge", &challenge_of(VERIFIER))
        .append_pair("code_challenge_method", "S256");
    format!("/api/authorize?{}", query.finish())
}
