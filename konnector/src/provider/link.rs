//! Whether a provider answers. IO: one small read when somebody doubts it.
//!
//! Nobody polls a provider that works. Whoever meets a failure asks for a check; while the check
//! fails it is repeated with a growing pause, and everybody is told when the state changes.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use kube_bind_runtime::{apply, backoff::Backoff};
use tokio::sync::{Notify, watch};

use super::Provider;
use crate::context::Context;
use crate::fault;

/// A check that takes longer has failed.
const PROBE: Duration = Duration::from_secs(10);

/// What the last check said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It answers, and it is the provider that we know.
    Up,
    /// No answer, or none that makes sense.
    Unreachable(String),
    /// The credential is not accepted any more.
    Unauthorized(String),
    /// The address leads to something else now: nothing is done until a person looks.
    OtherProvider(String),
}

/// The state of the way to one provider.
pub struct Link {
    api: Api<Namespace>,
    namespace: String,
    uid: String,
    state: watch::Sender<LinkState>,
    doubt: Notify,
}

impl Link {
    /// Up, because the uid has just been read.
    pub fn new(client: Client, namespace: String, uid: String) -> Self {
        Self {
            api: Api::all(client),
            namespace,
            uid,
            state: watch::Sender::new(LinkState::Up),
            doubt: Notify::new(),
        }
    }

    /// What the last check said.
    pub fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Asks for a check.
    pub fn check(&self) {
        self.doubt.notify_one();
    }

    async fn probe(&self) -> LinkState {
        match identify(&self.api, &self.namespace).await {
            Ok(uid) if uid == self.uid => LinkState::Up,
            Ok(uid) => LinkState::OtherProvider(format!(
                "namespace {} has uid {uid} now, it was {}",
                self.namespace, self.uid
            )),
            Err(error) => judge(&error),
        }
    }

    /// Stores a new state and says whether it is another one. Other words for the same state are not,
    /// or a condition would be written for each way in which a server does not answer.
    fn publish(&self, state: LinkState) -> bool {
        self.state.send_if_modified(|old| {
            let changed = discriminant(old) != discriminant(&state);
            if changed {
                *old = state;
            }
            changed
        })
    }
}

/// Uid of the cluster namespace.
pub async fn identify(api: &Api<Namespace>, namespace: &str) -> Result<String, kube::Error> {
    let found = apply::timed_for(PROBE, api.get(namespace)).await?;
    Ok(found.metadata.uid.unwrap_or_default())
}

/// What a failed read of the cluster namespace says about the provider.
pub fn judge(error: &kube::Error) -> LinkState {
    let message = fault::describe(error);
    if fault::is_unauthorized(error) {
        LinkState::Unauthorized(message)
    } else {
        LinkState::Unreachable(message)
    }
}

/// Checks on demand until the provider stops.
pub(super) fn start(ctx: &Arc<Context>, provider: &Arc<Provider>) {
    let (ctx, provider) = (ctx.clone(), provider.clone());
    let shutdown = provider.shutdown.clone();
    let stop = shutdown.token.clone();
    shutdown.spawn("provider link", async move {
        let backoff = Backoff::between(Duration::from_millis(500), Duration::from_secs(30));
        let link = provider.link.clone();
        let work = async {
            loop {
                link.doubt.notified().await;
                loop {
                    let state = link.probe().await;
                    let up = state == LinkState::Up;
                    let words = format!("{state:?}");
                    if link.publish(state) {
                        tracing::info!(
                            provider.uid = %provider.uid,
                            "provider {} is {words}",
                            provider.uid
                        );
                        ctx.wake_users(&provider.secrets());
                        provider.beat.notify_one();
                    }
                    if up {
                        break;
                    }
                    // A new credential is a reason to look at once.
                    let pause = backoff.next(&());
                    let _ = tokio::time::timeout(pause, link.doubt.notified()).await;
                }
                backoff.reset(&());
            }
        };
        stop.run_until_cancelled(work).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{answering, failure};
    use serde_json::json;

    fn link(script: impl Fn() -> (u16, serde_json::Value) + Send + 'static) -> Link {
        Link::new(
            answering(move |_| script()),
            "tenant".into(),
            "uid-1".into(),
        )
    }

    fn namespace(uid: &str) -> (u16, serde_json::Value) {
        (
            200,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant", "uid": uid}}),
        )
    }

    #[tokio::test]
    async fn a_probe_tells_a_dead_credential_from_a_dead_server_and_from_another_cluster() {
        assert_eq!(link(|| namespace("uid-1")).probe().await, LinkState::Up);
        assert!(matches!(
            link(|| namespace("uid-2")).probe().await,
            LinkState::OtherProvider(_)
        ));
        assert!(matches!(
            link(|| failure(401, "Unauthorized")).probe().await,
            LinkState::Unauthorized(_)
        ));
        assert!(matches!(
            link(|| failure(503, "ServiceUnavailable")).probe().await,
            LinkState::Unreachable(_)
        ));
    }

    #[test]
    fn only_another_state_is_news() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let link = link(|| namespace("uid-1"));
        assert!(!link.publish(LinkState::Up));
        assert!(link.publish(LinkState::Unreachable("refused".into())));
        assert!(!link.publish(LinkState::Unreachable("timed out".into())));
    }
}
