//! Whether a provider answers. IO: one small read when somebody doubts it.
//!
//! Nobody polls a provider that talks. Whoever meets a failure asks for a check, and so does a
//! silence: a server that hangs breaks no connection. While the check fails it is repeated with a
//! growing pause, and everybody is told when the state changes; an outage of a few seconds is none.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use kube_bind_runtime::{apply, backoff::Backoff};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Provider;
use super::swap::Heard;
use crate::context::Context;
use crate::fault;
use crate::patience::Patience;

/// A check that takes longer has failed.
const PROBE: Duration = Duration::from_secs(10);
/// Each watch brings a bookmark about once a minute; longer silence of all of them is suspicious.
const SILENCE: Duration = Duration::from_secs(90);

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
    heard: Heard,
}

impl Link {
    /// Up, because the uid has just been read.
    pub fn new(client: Client, namespace: String, uid: String, heard: Heard) -> Self {
        Self {
            api: Api::all(client),
            namespace,
            uid,
            state: watch::Sender::new(LinkState::Up),
            doubt: Notify::new(),
            heard,
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

    /// Whether the address leads to the provider that we know, asked now: for what cannot be undone. If it
    /// does not, everybody hears of it.
    pub async fn leads_home(&self) -> Result<bool, kube::Error> {
        let is_home = identify(&self.api, &self.namespace).await? == self.uid;
        if !is_home {
            self.check();
        }
        Ok(is_home)
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

    /// Checks whenever somebody doubts or nothing is heard, and tells of each new state.
    async fn follow(&self, tell: impl Fn(&str)) {
        let backoff = Backoff::between(Duration::from_millis(500), Duration::from_secs(30));
        loop {
            tokio::select! {
                () = self.doubt.notified() => {}
                () = self.heard.silent_for(SILENCE) => {}
            }
            let mut patience = Patience::default();
            loop {
                let began = Instant::now();
                let state = self.probe().await;
                let up = state == LinkState::Up;
                let mut pause = backoff.next(&());
                let left = match &state {
                    LinkState::Unreachable(_) => {
                        patience.failed(began.into_std(), Instant::now().into_std())
                    }
                    _ => None,
                };
                let words = format!("{state:?}");
                match left {
                    Some(left) => pause = pause.min(left),
                    None if self.publish(state) => tell(&words),
                    None => {}
                }
                if up {
                    break;
                }
                // A new credential is a reason to look at once.
                let _ = tokio::time::timeout(pause, self.doubt.notified()).await;
            }
            backoff.reset(&());
            self.heard.note();
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
    shutdown.keep("provider link", move || {
        let (ctx, provider) = (ctx.clone(), provider.clone());
        async move {
            let tell = |words: &str| {
                tracing::info!(
                    provider.uid = %provider.uid,
                    "provider {} is {words}",
                    provider.uid
                );
                ctx.wake_users(&provider.secrets());
                provider.beat.notify_one();
            };
            provider.link.follow(tell).await;
        }
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
            Heard::new(),
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

    async fn after(link: &Link, wait: Duration) -> LinkState {
        let _ = tokio::time::timeout(wait, link.follow(|_| {})).await;
        link.state()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_noticed_by_its_silence() {
        let (service, _unanswered) = tower_test::mock::pair::<
            http::Request<kube::client::Body>,
            http::Response<kube::client::Body>,
        >();
        let client = Client::new(service, "default");
        let link = Link::new(client, "tenant".into(), "uid-1".into(), Heard::new());
        assert_eq!(after(&link, SILENCE).await, LinkState::Up);
        let state = after(&link, PROBE + Duration::from_secs(1)).await;
        assert!(matches!(state, LinkState::Unreachable(_)), "{state:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_a_moment_is_none_and_a_longer_one_is_said_within_seconds() {
        let began = Instant::now();
        let short = link(move || match began.elapsed().as_secs() {
            0..4 => failure(429, "TooManyRequests"),
            _ => namespace("uid-1"),
        });
        short.check();
        let told = std::cell::Cell::new(0);
        let follow = short.follow(|_| told.set(told.get() + 1));
        let _ = tokio::time::timeout(Duration::from_secs(60), follow).await;
        assert_eq!((told.get(), short.state()), (0, LinkState::Up));

        let dead = link(|| failure(503, "ServiceUnavailable"));
        dead.check();
        let state = after(&dead, Duration::from_secs(4)).await;
        assert_eq!(state, LinkState::Up);
        dead.check();
        let state = after(&dead, Duration::from_secs(6)).await;
        assert!(matches!(state, LinkState::Unreachable(_)), "{state:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_credential_is_said_at_once() {
        let link = link(|| failure(401, "Unauthorized"));
        link.check();
        let state = after(&link, Duration::from_millis(100)).await;
        assert!(matches!(state, LinkState::Unauthorized(_)), "{state:?}");
    }
}
