//! What the backend counts. No IO.

use std::sync::PoisonError;

use kube_bind_runtime::health::SharedRegistry;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Labels of a request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route, not the path: paths are chosen by clients.
    pub route: String,
    /// Status code.
    pub code: u16,
}

/// How a login ended.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum LoginResult {
    /// A token was given out.
    Success,
    /// The identity provider or the user said no.
    Refused,
    /// Something was altered, stale, used twice or came from another browser.
    Invalid,
    /// It could not be completed for technical reasons.
    Error,
}

impl EncodeLabelValue for LoginResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Error => "error",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

/// Labels of a login.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct LoginLabels {
    /// How it ended.
    pub result: LoginResult,
}

/// The counters of the HTTP side; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
}

impl Metrics {
    /// Counters that show in `registry`.
    pub fn register(registry: &SharedRegistry) -> Self {
        let metrics = Self::default();
        let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(
            "kube_bind_http_requests",
            "HTTP requests by route and status code",
            metrics.requests.clone(),
        );
        registry.register(
            "kube_bind_logins",
            "Logins by result",
            metrics.logins.clone(),
        );
        metrics
    }

    /// Counts a request.
    pub fn request(&self, route: &str, code: u16) {
        self.requests
            .get_or_create(&RequestLabels {
                route: route.to_owned(),
                code,
            })
            .inc();
    }

    /// Counts the end of a login.
    pub fn login(&self, result: LoginResult) {
        self.logins.get_or_create(&LoginLabels { result }).inc();
    }

    /// How many logins ended so.
    pub fn logins(&self, result: LoginResult) -> u64 {
        self.logins.get_or_create(&LoginLabels { result }).get()
    }
}
