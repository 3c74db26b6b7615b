//! Server-side apply, and a time-out for every request.

use std::fmt::{self, Debug};
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use serde::{Serialize, Serializer};
use serde::de::DeserializeOwned;

/// How long one request may take. kube itself waits for an answer without end.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A request got no answer in time; it may or may not have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the API server within {after:?}")]
pub struct TimedOut {
    /// How long the answer was waited for.
    pub after: Duration,
}

/// Runs one request under [`TIMEOUT`].
pub async fn timed<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    timed_for(TIMEOUT, request).await
}

/// Runs one request under a time-out of its own.
pub async fn timed_for<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(kube::Error::Service(Box::new(TimedOut { after: limit }))),
    }
}

/// Whether [`timed`] gave up on the request.
#[must_use]
pub fn is_timeout(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(source) if source.is::<TimedOut>())
}

/// Applies `body` as `manager`, taking over fields that others own.
pub async fn apply<K>(api: &Api<K>, name: &str, manager: &str, body: &impl Serialize) -> Result<K, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    timed(api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(Body(body)))).await
}

/// Applies `body` to the status subresource as `manager`, taking over fields that others own.
pub async fn apply_status<K>(api: &Api<K>, name: &str, manager: &str, body: &impl Serialize) -> Result<K, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    timed(api.patch_status(name, &PatchParams::apply(manager).force(), &Patch::Apply(Body(body)))).await
}

/// What kube may send but, unlike its patches otherwise, cannot print: bodies may hold secrets.
struct Body<'a, B>(&'a B);

impl<B> Debug for Body<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<body>")
    }
}

impl<B: Serialize> Serialize for Body<'_, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
