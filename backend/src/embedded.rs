//! The embedded identity provider, for trying things out: it lets everybody in as one demo user.
//! An ordinary OpenID provider otherwise; our relying party treats it like any other. Its key and
//! its memory of used codes last as long as the process.

mod routes;
pub(crate) mod signer;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{CALLBACK_PATH, EMBEDDED_PATH, EMBEDDED_SUBJECT, Sensitive};
use crate::keys::{Error, KeyRing, Purpose, random_id};
use crate::session::login::challenge_of;
use signer::Signer;

pub use routes::router;

/// Shown wherever somebody might take it for a real one.
pub const WARNING: &str = "UNSAFE demo identity provider: everybody can log in as the demo user";
/// Client id of our relying party.
pub const CLIENT_ID: &str = "kube-bind";
const EMAIL: &str = "embedded@kube-bind.io";
const GROUPS: [&str; 2] = ["engineering", "devops"];
const CONSENT_LIFE: Duration = Duration::from_secs(600);
const CODE_LIFE: Duration = Duration::from_secs(60);
const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// The provider and its only client.
pub struct Embedded {
    issuer: String,
    redirect_uri: String,
    client_secret: Sensitive,
    signer: Signer,
    /// Codes that were redeemed, until they would have expired anyway.
    used: Mutex<HashMap<String, Timestamp>>,
}

/// An authorization request that was checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Consent {
    state: String,
    nonce: Option<String>,
    challenge: String,
}

/// What an authorization code stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Grant {
    id: String,
    nonce: Option<String>,
    challenge: String,
}

/// An authorization request as it comes.
#[derive(Clone, Debug, Default, Deserialize)]
struct AuthorizationRequest {
    #[serde(default)]
    response_type: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    redirect_uri: String,
    #[serde(default)]
    state: String,
    nonce: Option<String>,
    #[serde(default)]
    code_challenge: String,
    #[serde(default)]
    code_challenge_method: String,
}

/// Why no tokens are given, in the words of RFC 6749.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnsupportedGrantType,
    ServerError,
}

impl Refusal {
    const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::ServerError => "server_error",
        }
    }
}

impl Embedded {
    /// A provider at `public_url` with a new key and a new client secret.
    pub fn new(public_url: &str) -> Result<Self, Error> {
        Ok(Self {
            issuer: format!("{public_url}{EMBEDDED_PATH}"),
            redirect_uri: format!("{public_url}{CALLBACK_PATH}"),
            client_secret: random_id().into(),
            signer: Signer::generate()?,
            used: Mutex::default(),
        })
    }

    /// Secret of our relying party.
    pub fn client_secret(&self) -> Sensitive {
        self.client_secret.clone()
    }

    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("token"),
            "userinfo_endpoint": at("userinfo"),
            "jwks_uri": at(".well-known/jwks.json"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "email", "groups"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "email", "groups"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// Checks an authorization request; the sealed answer goes into the consent form.
    fn ask(
        &self,
        request: AuthorizationRequest,
        keys: &KeyRing,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let is_good = request.response_type == "code"
            && request.client_id == CLIENT_ID
            && request.redirect_uri == self.redirect_uri
            && request.code_challenge_method == "S256"
            && !request.code_challenge.is_empty()
            && !request.state.is_empty();
        if !is_good {
            return Err(Refusal::InvalidRequest);
        }
        let consent = Consent {
            state: request.state,
            nonce: request.nonce,
            challenge: request.code_challenge,
        };
        keys.seal(Purpose::EmbeddedConsent, &consent, after(now, CONSENT_LIFE))
            .map_err(|_| Refusal::ServerError)
    }

    /// The user pressed the button: where to send the browser.
    fn consent(&self, sealed: &str, keys: &KeyRing, now: Timestamp) -> Result<String, Refusal> {
        let consent: Consent = keys
            .open(Purpose::EmbeddedConsent, sealed, now)
            .map_err(|_| Refusal::InvalidRequest)?;
        let grant = Grant {
            id: random_id(),
            nonce: consent.nonce,
            challenge: consent.challenge,
        };
        let code = keys
            .seal(Purpose::EmbeddedCode, &grant, after(now, CODE_LIFE))
            .map_err(|_| Refusal::ServerError)?;
        let mut url = url::Url::parse(&self.redirect_uri).map_err(|_| Refusal::ServerError)?;
        url.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &consent.state)
            .append_pair("iss", &self.issuer);
        Ok(url.into())
    }

    /// Redeems a code for tokens. The client was authenticated.
    fn redeem(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        keys: &KeyRing,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let grant: Grant = keys
            .open(Purpose::EmbeddedCode, code, now)
            .map_err(|_| Refusal::InvalidGrant)?;
        if redirect_uri != self.redirect_uri || challenge_of(verifier) != grant.challenge {
            return Err(Refusal::InvalidGrant);
        }
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.retain(|_, expires| *expires > now);
            if used.insert(grant.id, after(now, CODE_LIFE)).is_some() {
                return Err(Refusal::InvalidGrant);
            }
        }
        let (issued, life) = (now.as_second(), TOKEN_LIFE.as_secs().cast_signed());
        let mut claims = self.user();
        let common =
            json!({ "iss": self.issuer, "aud": CLIENT_ID, "iat": issued, "exp": issued + life });
        merge(&mut claims, common);
        if let Some(nonce) = grant.nonce {
            claims["nonce"] = nonce.into();
        }
        let access = json!({
            "iss": self.issuer, "aud": self.issuer, "sub": EMBEDDED_SUBJECT,
            "iat": issued, "exp": issued + life,
        });
        let sign = |claims: &Value| self.signer.sign(claims).map_err(|_| Refusal::ServerError);
        Ok(json!({
            "access_token": sign(&access)?,
            "token_type": "Bearer",
            "expires_in": life,
            "id_token": sign(&claims)?,
        }))
    }

    fn user(&self) -> Value {
        json!({
            "sub": EMBEDDED_SUBJECT,
            "email": EMAIL,
            "email_verified": true,
            "name": "Demo User",
            "groups": GROUPS,
        })
    }

    /// Whether this is an access token of ours.
    fn is_access_token(&self, token: &str, now: Timestamp) -> bool {
        self.signer
            .verify(token, &self.issuer)
            .is_some_and(|claims| {
                claims["exp"]
                    .as_i64()
                    .is_some_and(|exp| now.as_second() < exp)
            })
    }
}

fn after(now: Timestamp, life: Duration) -> Timestamp {
    let life = SignedDuration::from_secs(life.as_secs().cast_signed());
    now.saturating_add(life)
        .expect("a duration without calendar units can be added")
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
