//! One login against the identity provider: where to send the browser, and what to make of the
//! answer. Does IO: token endpoint, userinfo.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kube_bind_runtime::clock::SharedClock;
use openidconnect::core::{CoreAuthenticationFlow, CoreIdTokenVerifier};
use openidconnect::{
    AccessToken, AuthorizationCode, ClaimsVerificationError, CsrfToken, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    SignatureVerificationError, SubjectIdentifier, TokenResponse,
};
use tokio::sync::Mutex;
use tracing::warn;

use super::http_client::HttpClient;
use super::provider::{ALGORITHMS, Client, Metadata, Tokens, UserInfo, client};
use crate::config::Sensitive;
use crate::keys::random_id;
use crate::session::User;

/// Why a login cannot begin or end well. `Display` is safe to show; sources are for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configured URLs are none; [`crate::config::Config::validate`] prevents that.
    #[error("failed to use the configured URL {0}")]
    Url(String),
    /// The identity provider could not be discovered (yet).
    #[error("the identity provider cannot be reached at the moment: try again in a minute")]
    NotReady,
    /// Discovery failed; the text says why.
    #[error("failed to discover the identity provider {issuer}: {problem}")]
    Discover {
        /// The issuer.
        issuer: String,
        /// What happened, with its causes.
        problem: String,
    },
    /// RFC 9207: the answer is another identity provider's.
    #[error("the answer does not come from the identity provider that was asked")]
    Issuer,
    /// The token endpoint refused the code, or cannot be reached.
    #[error("the identity provider did not accept the login")]
    Exchange(String),
    /// There is no ID token.
    #[error("the identity provider sent no ID token")]
    NoIdToken,
    /// The ID token is not to be trusted.
    #[error("the identity provider's ID token is not valid")]
    IdToken(#[source] ClaimsVerificationError),
    /// The ID token was made for another client.
    #[error("the identity provider's ID token was made for another client")]
    AuthorizedParty,
}

/// What is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Issuer URL.
    pub issuer: String,
    /// Our id there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    pub client_secret: Option<Sensitive>,
    /// Our callback URL, exactly as registered there.
    pub callback_url: String,
    /// Scopes beside `openid`.
    pub scopes: Vec<String>,
}

/// A login that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where to send the browser.
    pub url: String,
    /// `state`.
    pub state: String,
    /// `nonce`.
    pub nonce: String,
    /// PKCE verifier.
    pub verifier: String,
}

/// What the browser brings back, and what the login's cookie knows.
pub struct Callback {
    /// Authorization code.
    pub code: String,
    /// `iss` of RFC 9207.
    pub issuer: Option<String>,
    /// `nonce` of the login.
    pub nonce: String,
    /// PKCE verifier of the login.
    pub verifier: String,
}

/// The relying party.
pub struct RelyingParty {
    pub(super) settings: Settings,
    pub(super) issuer: IssuerUrl,
    redirect_url: RedirectUrl,
    pub(super) http: HttpClient,
    pub(super) clock: SharedClock,
    /// What was discovered last.
    pub(super) metadata: ArcSwapOption<Metadata>,
    /// When discovery was last tried because of an unknown key.
    pub(super) refreshed: Mutex<Option<Instant>>,
}

impl RelyingParty {
    /// Nothing is discovered yet.
    pub fn new(settings: Settings, http: HttpClient, clock: SharedClock) -> Result<Self, Error> {
        let issuer = IssuerUrl::new(settings.issuer.clone());
        let redirect_url = RedirectUrl::new(settings.callback_url.clone());
        Ok(Self {
            issuer: issuer.map_err(|_| Error::Url(settings.issuer.clone()))?,
            redirect_url: redirect_url.map_err(|_| Error::Url(settings.callback_url.clone()))?,
            settings,
            http,
            clock,
            metadata: ArcSwapOption::empty(),
            refreshed: Mutex::new(None),
        })
    }

    fn client(&self) -> Result<(Arc<Metadata>, Client), Error> {
        let metadata = self.metadata.load_full().ok_or(Error::NotReady)?;
        let secret = self.settings.client_secret.as_ref().map(Sensitive::expose);
        let client = client(
            &metadata,
            &self.settings.client_id,
            secret,
            self.redirect_url.clone(),
        );
        Ok((metadata, client))
    }

    /// Begins a login.
    pub fn begin(&self) -> Result<Begun, Error> {
        let (_, client) = self.client()?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let scopes = self
            .settings
            .scopes
            .iter()
            .filter(|scope| !scope.is_empty() && *scope != "openid");
        let (url, state, nonce) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                || CsrfToken::new(random_id()),
                || Nonce::new(random_id()),
            )
            .add_scopes(scopes.cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .url();
        Ok(Begun {
            url: url.into(),
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
        })
    }

    /// Ends a login: redeems the code and verifies the ID token.
    pub async fn finish(&self, callback: Callback) -> Result<User, Error> {
        let (metadata, client) = self.client()?;
        let names_issuer = metadata
            .additional_metadata()
            .authorization_response_iss_parameter_supported;
        match &callback.issuer {
            Some(issuer) if *issuer != self.settings.issuer => return Err(Error::Issuer),
            None if names_issuer => return Err(Error::Issuer),
            _ => {}
        }
        let tokens: Tokens = client
            .exchange_code(AuthorizationCode::new(callback.code))
            .map_err(|err| Error::Exchange(with_causes(&err)))?
            .set_pkce_verifier(PkceCodeVerifier::new(callback.verifier))
            .request_async(&self.http)
            .await
            .map_err(|err| Error::Exchange(with_causes(&err)))?;
        let nonce = Nonce::new(callback.nonce);
        let verified = match self.verify(&client, &tokens, &nonce) {
            Err(Error::IdToken(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            ))) if self.refresh().await => {
                let (_, client) = self.client()?;
                self.verify(&client, &tokens, &nonce)?
            }
            verified => verified?,
        };
        let groups = match verified.groups {
            Some(groups) => groups,
            None => {
                self.groups_of(&client, tokens.access_token().clone(), &verified.subject)
                    .await
            }
        };
        Ok(User {
            subject: verified.subject,
            issuer: self.settings.issuer.clone(),
            groups,
        })
    }

    fn verify(&self, client: &Client, tokens: &Tokens, nonce: &Nonce) -> Result<Verified, Error> {
        let id_token = tokens.id_token().ok_or(Error::NoIdToken)?;
        let clock = Arc::clone(&self.clock);
        let verifier: CoreIdTokenVerifier<'_> = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || chrono_time(clock.now()));
        let claims = id_token.claims(&verifier, nonce).map_err(Error::IdToken)?;
        let azp = claims.authorized_party().map(|azp| azp.as_str());
        if azp.is_some_and(|azp| azp != self.settings.client_id) {
            return Err(Error::AuthorizedParty);
        }
        Ok(Verified {
            subject: claims.subject().as_str().to_owned(),
            groups: claims.additional_claims().list(),
        })
    }

    /// Groups from the userinfo endpoint. Without an answer the user has none, which only takes rights away.
    async fn groups_of(&self, client: &Client, token: AccessToken, subject: &str) -> Vec<String> {
        let expected = SubjectIdentifier::new(subject.to_owned());
        let Ok(request) = client.user_info(token, Some(expected)) else {
            return Vec::new();
        };
        match request.request_async(&self.http).await {
            Ok(info) => {
                let info: UserInfo = info;
                info.additional_claims().list().unwrap_or_default()
            }
            Err(err) => {
                warn!(error = %with_causes(&err), "failed to read userinfo; the user has no groups");
                Vec::new()
            }
        }
    }
}

struct Verified {
    subject: String,
    groups: Option<Vec<String>>,
}

/// The error and its causes in one line: the library's types do not live long enough to be a source.
pub(super) fn with_causes(err: &dyn StdError) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text.push_str(": ");
        text.push_str(&err.to_string());
        cause = err.source();
    }
    text
}

fn chrono_time(now: Timestamp) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(now.as_second(), 0).unwrap_or_default()
}
