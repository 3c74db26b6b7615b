//! The heartbeat of one provider connection (contract section 5.5): reports the konnector on the
//! `ClusterBinding` and brings a renewed kubeconfig to the consumer's Secrets. IO on both sides;
//! what to write is decided in `decide`.

mod decide;
mod secret;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::{reflector, watcher};
use kube_bind_crds::api::ClusterBinding;
use kube_bind_crds::names::CLUSTER_BINDING_NAME;
use kube_bind_runtime::apply;
use kube_bind_runtime::backoff::Backoff;
use tokio::sync::watch;

use crate::consumer::Secrets;
use crate::context::Context;
use crate::fault;
use crate::names::MANAGER_HEARTBEAT;
use crate::patience::Patience;
use crate::provider::{LinkState, Provider, exports};
use crate::watch::{Listed, Signal, reflect};

/// How often the konnector reports at least; half of the interval that it promises.
const TICK: Duration = Duration::from_secs(150);

/// How the last heartbeat went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HeartbeatState {
    /// None was tried yet.
    #[default]
    Pending,
    /// It arrived.
    Beating,
    /// It did not: why.
    Failed(String),
}

/// Beats until the provider stops.
pub fn start(
    ctx: &Arc<Context>,
    secrets: &Arc<Secrets>,
    provider: &Arc<Provider>,
    state: watch::Sender<HeartbeatState>,
) {
    let (ctx, secrets) = (ctx.clone(), secrets.clone());
    let beating = provider.clone();
    provider.shutdown.keep("heartbeat", move || {
        let heart = Heart {
            ctx: ctx.clone(),
            secrets: secrets.clone(),
            provider: beating.clone(),
            state: state.clone(),
            backoff: Backoff::between(Duration::from_secs(1), Duration::from_secs(60)),
            patience: Patience::default(),
        };
        heart.run()
    });
}

struct Heart {
    ctx: Arc<Context>,
    secrets: Arc<Secrets>,
    provider: Arc<Provider>,
    state: watch::Sender<HeartbeatState>,
    backoff: Backoff<()>,
    patience: Patience,
}

impl Heart {
    async fn run(mut self) {
        let mut watched: Option<WatchedSecret> = None;
        loop {
            let pause = if self.provider.stores.synced() {
                self.follow_secret(&mut watched);
                self.beat(watched.as_ref()).await
            } else {
                self.say_why_not();
                TICK
            };
            let _ = tokio::time::timeout(pause, self.provider.beat.notified()).await;
        }
    }

    /// Before the provider's objects are known nothing is sent. Whoever cannot list them tells us.
    fn say_why_not(&self) {
        let trouble = self.provider.trouble.words();
        self.publish(trouble.map_or(HeartbeatState::Pending, |why| {
            HeartbeatState::Failed(format!("no heartbeat is sent: {why}"))
        }));
    }

    /// Keeps a watch on the Secret that the `ClusterBinding` names.
    fn follow_secret(&self, watched: &mut Option<WatchedSecret>) {
        let Some(cluster_binding) = self.provider.stores.cluster_binding() else {
            return;
        };
        let name = &cluster_binding.spec.kubeconfig_secret_ref.name;
        if watched.as_ref().is_some_and(|w| w.name == *name) {
            return;
        }
        let (store, writer) = reflector::store::<Secret>();
        let stop = self.provider.shutdown.token.child_token();
        let provider = self.provider.clone();
        let listed = Listed::new();
        let told = listed.clone();
        let ctx = self.ctx.clone();
        let tell = move |signal: Signal<'_, Secret>| {
            match &signal {
                Signal::Failed(_) | Signal::Running => {}
                Signal::Changed(_) | Signal::Removed(_) => provider.beat.notify_one(),
                Signal::Listed => told.set(),
            }
            // Without it no renewed credential arrives.
            provider.watched(&ctx, "kubeconfig secret", &signal);
        };
        self.provider.shutdown.spawn(
            "watch of the provider's kubeconfig secret",
            reflect(
                Api::namespaced(
                    self.provider.client.clone(),
                    &self.provider.cluster_namespace,
                ),
                watcher::Config::default().fields(&format!("metadata.name={name}")),
                writer,
                stop.clone(),
                tell,
            ),
        );
        *watched = Some(WatchedSecret {
            name: name.clone(),
            store,
            listed,
            _stop: stop.drop_guard(),
        });
    }

    /// One heartbeat; says when the next one is due.
    async fn beat(&mut self, watched: Option<&WatchedSecret>) -> Duration {
        let began = self.ctx.clock.monotonic();
        if self.provider.link.state() != LinkState::Up {
            self.publish(HeartbeatState::Failed(
                "the provider is not reachable".into(),
            ));
            return TICK;
        }
        let outcome = match (self.provider.stores.cluster_binding(), watched) {
            (Some(cluster_binding), Some(watched)) if watched.ready() => {
                self.report(&cluster_binding, watched).await
            }
            (Some(cluster_binding), _) => {
                return self.wait_for(&cluster_binding.spec.kubeconfig_secret_ref.name, began);
            }
            (None, _) => Err(format!(
                "the provider has no ClusterBinding {CLUSTER_BINDING_NAME:?} in namespace {}",
                self.provider.cluster_namespace
            )),
        };
        let exports = exports::report_unbound(&self.ctx, &self.provider).await;
        let outcome = outcome.and(exports.map_err(|error| {
            self.provider.link.check();
            format!(
                "failed to report unused exports: {}",
                fault::describe(&error)
            )
        }));
        self.ctx.metrics.beat((&outcome).into());
        match outcome {
            Ok(()) => {
                self.backoff.reset(&());
                self.patience.works();
                self.publish(HeartbeatState::Beating);
                TICK
            }
            Err(message) => {
                tracing::warn!(
                    provider.uid = %self.provider.uid,
                    "failed to report to provider {}: {message}",
                    self.provider.uid
                );
                let pause = self.backoff.next(&());
                let now = self.ctx.clock.monotonic();
                match self.patience.failed(began, now) {
                    Some(left) => pause.min(left),
                    None => {
                        self.publish(HeartbeatState::Failed(message));
                        pause
                    }
                }
            }
        }
    }

    /// The Secret is not known yet, and without it nothing can be said. Its list wakes us.
    fn wait_for(&mut self, secret: &str, began: Instant) -> Duration {
        let now = self.ctx.clock.monotonic();
        match unlisted(&mut self.patience, secret, began, now) {
            Ok(left) => left,
            Err(state) => {
                self.publish(state);
                TICK
            }
        }
    }

    async fn report(
        &self,
        cluster_binding: &ClusterBinding,
        watched: &WatchedSecret,
    ) -> Result<(), String> {
        let (source, offered) = secret::judge(
            &self.ctx,
            watched.store.state().first().map(|secret| &**secret),
            cluster_binding,
            &self.provider,
        );
        if self.provider.offer_server(offered) {
            self.ctx.wake_users(&self.provider.secrets());
        }
        let mut copied = source.clone();
        if source.usable() {
            for target in self.provider.secrets() {
                if let Err(problem) = secret::copy(&self.ctx, &self.secrets, &source, &target).await
                {
                    copied = problem;
                }
            }
        }
        let secrets = self.provider.secrets();
        let now = self.ctx.clock.now();
        let Some(patch) = decide::patch(cluster_binding, &copied, secrets.first(), now) else {
            return Ok(());
        };
        let api: Api<ClusterBinding> = Api::namespaced(
            self.provider.client.clone(),
            &self.provider.cluster_namespace,
        );
        let params = PatchParams {
            field_manager: Some(MANAGER_HEARTBEAT.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        match apply::timed(api.patch_status(CLUSTER_BINDING_NAME, &params, &patch)).await {
            Ok(_) => Ok(()),
            // The event of what is newer brings the next heartbeat.
            Err(error) if fault::is_stale(&error) => Ok(()),
            Err(error) => {
                self.provider.link.check();
                Err(format!(
                    "failed to update the status of ClusterBinding {CLUSTER_BINDING_NAME}: {}",
                    fault::describe(&error)
                ))
            }
        }
    }

    fn publish(&self, state: HeartbeatState) {
        let changed = self.state.send_if_modified(|old| {
            let changed = *old != state;
            *old = state;
            changed
        });
        if changed {
            self.ctx.wake_users(&self.provider.secrets());
        }
    }
}

/// For how much longer it may stay unknown, or what is to be said.
fn unlisted(
    patience: &mut Patience,
    secret: &str,
    began: Instant,
    now: Instant,
) -> Result<Duration, HeartbeatState> {
    patience.failed(began, now).ok_or_else(|| {
        HeartbeatState::Failed(format!(
            "no heartbeat is sent: the provider's secret {secret} cannot be watched"
        ))
    })
}

struct WatchedSecret {
    name: String,
    store: reflector::Store<Secret>,
    listed: Listed,
    _stop: tokio_util::sync::DropGuard,
}

impl WatchedSecret {
    fn ready(&self) -> bool {
        self.listed.is_set()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::test_support::connected;
    use crate::test_support::{clock, failure, lacks, serving, term_at};

    #[tokio::test(start_paused = true)]
    async fn a_kubeconfig_secret_that_cannot_be_followed_is_trouble() {
        let consumer = serving(|_| Some(failure(404, "NotFound")));
        let clock = clock();
        let ctx = Arc::new(term_at(&consumer, &clock));
        let cluster_binding = json!({"metadata": {"name": "cluster", "namespace": "tenant"},
            "spec": {"kubeconfigSecretRef": {"name": "renewed", "key": "kubeconfig"},
                "providerPrettyName": "p"}});
        let provider = connected(
            &ctx,
            serving(move |asked| {
                let is_of_secrets = asked.uri.contains("/secrets");
                if asked.uri.contains("watch=true") {
                    return is_of_secrets.then(|| lacks("watch", "secrets"));
                }
                let items = match asked.uri.contains("/clusterbindings") {
                    true => vec![cluster_binding.clone()],
                    false => Vec::new(),
                };
                let list = json!({"metadata": {"resourceVersion": "5"}, "items": items});
                (asked.method == "GET").then_some((200, list))
            }),
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.advance(Duration::from_secs(6));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let words = provider.trouble.words().unwrap_or_default();
        assert!(words.contains("cannot watch"), "{words}");
        ctx.shutdown.token.cancel();
    }

    #[test]
    fn a_heartbeat_that_waits_for_the_providers_secret_is_said_to_fail_after_a_while() {
        let start = Instant::now();
        let mut patience = Patience::default();
        let left = unlisted(&mut patience, "kubeconfig", start, start);
        let left = left.expect("it may come in a moment");
        let later = start + left;
        let said = unlisted(&mut patience, "kubeconfig", later, later);
        assert!(matches!(said, Err(HeartbeatState::Failed(_))), "{said:?}");
    }
}
