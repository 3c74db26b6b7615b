//! A fake identity provider that signs what it is told to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube_bind_runtime::clock::{Clock, FixedClock};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::embedded::signer::Signer;

pub const CLIENT_ID: &str = "backend-client";
pub const CLIENT_SECRET: &str = "backend-secret";

pub struct Idp {
    server: MockServer,
    pub signer: Signer,
    clock: FixedClock,
}

impl Idp {
    pub async fn start(clock: &FixedClock) -> Self {
        let server = MockServer::start().await;
        let idp = Self {
            signer: Signer::generate().unwrap(),
            server,
            clock: clock.clone(),
        };
        let issuer = idp.issuer();
        idp.serve(
            "/.well-known/openid-configuration",
            json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/auth"),
                "token_endpoint": format!("{issuer}/token"),
                "userinfo_endpoint": format!("{issuer}/userinfo"),
                "jwks_uri": format!("{issuer}/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
            }),
        )
        .await;
        idp.publish(&idp.signer).await;
        idp
    }

    pub fn issuer(&self) -> String {
        self.server.uri()
    }

    /// Publishes the key of `signer` instead of what was published before.
    pub async fn publish(&self, signer: &Signer) {
        let template = ResponseTemplate::new(200).set_body_json(signer.key_set());
        // The latest of equal priority does not win in wiremock, a higher priority does.
        let priority = if std::ptr::eq(signer, &self.signer) {
            5
        } else {
            1
        };
        let mock = Mock::given(method("GET"))
            .and(path("/keys"))
            .respond_with(template);
        mock.with_priority(priority).mount(&self.server).await;
    }

    async fn serve(&self, at: &str, body: Value) {
        let template = ResponseTemplate::new(200).set_body_json(body);
        Mock::given(path(at))
            .respond_with(template)
            .mount(&self.server)
            .await;
    }

    /// Claims of a good ID token.
    pub fn claims(&self, nonce: &str) -> Value {
        let now = self.clock.now().as_second();
        json!({
            "iss": self.issuer(), "aud": CLIENT_ID, "sub": "ada", "groups": ["ops"],
            "nonce": nonce, "iat": now, "exp": now + 300,
        })
    }

    /// The token endpoint answers with this ID token.
    pub async fn answer_with(&self, id_token: String) {
        let body = json!({
            "access_token": "access-token-of-the-idp", "token_type": "Bearer", "id_token": id_token,
        });
        self.serve("/token", body).await;
    }

    /// The userinfo endpoint answers with this.
    pub async fn userinfo(&self, body: Value) {
        self.serve("/userinfo", body).await;
    }

    /// Requests to the token endpoint.
    pub async fn redeemed(&self) -> Vec<Request> {
        let requests = self.server.received_requests().await.unwrap();
        requests
            .into_iter()
            .filter(|request| request.url.path() == "/token")
            .collect()
    }
}

/// A token that nobody signed.
pub fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.",
        part(&json!({ "alg": "none", "typ": "JWT" })),
        part(claims)
    )
}

/// The token with other claims under the old signature.
pub fn with_other_claims(token: &str, claims: &Value) -> String {
    let parts: Vec<_> = token.split('.').collect();
    format!(
        "{}.{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        parts[2]
    )
}
