//! What HTTP handlers work with. Everything is set; tests put other implementations behind the traits.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kube_bind_runtime::clock::SharedClock;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::embedded::Embedded;
use crate::keys::store::Keys;
use crate::metrics::Metrics;
use crate::oidc::RelyingParty;
use crate::provision::{Consumer, Error as ProvisionError, Provisioned, Provisioner};
use crate::session::markers::Markers;
use crate::user_access::Authorizer;

/// Gives a consumer what it needs on the provider.
pub trait Provision: Send + Sync {
    /// See [`Provisioner::provision`].
    fn provision<'a>(
        &'a self,
        consumer: &'a Consumer,
        offering: &'a str,
    ) -> BoxFuture<'a, Result<Provisioned, ProvisionError>>;
}

impl Provision for Provisioner {
    fn provision<'a>(
        &'a self,
        consumer: &'a Consumer,
        offering: &'a str,
    ) -> BoxFuture<'a, Result<Provisioned, ProvisionError>> {
        Box::pin(Self::provision(self, consumer, offering))
    }
}

/// The part of the configuration that handlers need.
#[derive(Clone, Debug)]
pub struct Site {
    /// URL of the backend for users, without a trailing slash.
    pub public_url: String,
    /// Whether that is https.
    pub is_https: bool,
    /// Name of the provider for people.
    pub pretty_name: String,
    /// Life of an access token.
    pub token_expiry: Duration,
    /// Whether the original's plugin may log in.
    pub allow_legacy_login: bool,
}

impl From<&Config> for Site {
    fn from(config: &Config) -> Self {
        Self {
            public_url: config.public_url(),
            is_https: config.is_https(),
            pretty_name: config.pretty_name.clone(),
            token_expiry: config.token_expiry,
            allow_legacy_login: config.allow_legacy_login,
        }
    }
}

/// State of the router; clones share everything.
#[derive(Clone)]
pub struct AppState {
    /// Configuration.
    pub site: Arc<Site>,
    /// Time.
    pub clock: SharedClock,
    /// Keys.
    pub keys: Keys,
    /// Login.
    pub relying_party: Arc<RelyingParty>,
    /// Redeemed codes and logged-out tokens.
    pub markers: Arc<Markers>,
    /// Offerings.
    pub catalogue: Catalogue,
    /// Permissions.
    pub authorizer: Arc<dyn Authorizer>,
    /// Binding.
    pub provisioner: Arc<dyn Provision>,
    /// The built-in identity provider, if it is used.
    pub embedded: Option<Arc<Embedded>>,
    /// Counters.
    pub metrics: Metrics,
}
