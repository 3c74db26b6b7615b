//! From a kubeconfig Secret to a connected provider, one task per Secret in use. IO: reads the
//! cluster namespace once per credential.
//!
//! A Secret is in use while a binding or a bundle names it or while it carries the label that asks for
//! heartbeats. A credential that is changed is tried before it replaces the one that works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use kube_bind_crds::api::ClusterSecretKeyRef;
use kube_bind_crds::names::{ANNOTATION_PROVIDER_CLUSTER, KONNECTOR_NAMESPACE};
use kube_bind_runtime::backoff::Backoff;
use kube_bind_runtime::client;
use kube_bind_runtime::kubeconfig::{Policy, SafeKubeconfig};
use kube_bind_runtime::shutdown::{Panicked, survive};
use kube_bind_runtime::transport::Transport;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::link::{identify, judge};
use super::{LinkState, Provider, Providers};
use crate::consumer::Secrets;
use crate::context::Context;
use crate::fault;

/// How long to wait before a provider that was another one is asked again.
const HOLD: Duration = Duration::from_secs(60);

/// What a kubeconfig Secret is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecretState {
    /// Not read yet.
    #[default]
    Unread,
    /// It could not be read: why.
    Unreadable(String),
    /// There is none.
    Missing,
    /// It must not be used: which field, and the remedy.
    Invalid(String),
    /// It can be used.
    Valid,
}

/// Why a valid kubeconfig does not connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectProblem {
    /// The client cannot be built from it.
    Unusable(String),
    /// The provider says so, or says nothing.
    Link(LinkState),
}

/// Where one kubeconfig Secret leads.
#[derive(Clone, Default)]
pub struct Connection {
    /// What it is worth.
    pub secret: SecretState,
    /// Why it does not connect.
    pub problem: Option<ConnectProblem>,
    /// The provider that it led to last; it stays when the Secret breaks.
    pub provider: Option<Arc<Provider>>,
}

/// All kubeconfig Secrets in use.
pub struct Connections {
    ctx: Arc<Context>,
    secrets: Arc<Secrets>,
    pub(super) providers: Arc<Providers>,
    running: Mutex<BTreeMap<ClusterSecretKeyRef, Running>>,
    /// Tasks that were told to stop; a new task of the same Secret waits for its predecessor, so
    /// that the one's end does not take the other's provider away.
    ending: Mutex<BTreeMap<ClusterSecretKeyRef, Ending>>,
}

type Ending = JoinHandle<Result<(), Panicked>>;

struct Running {
    state: watch::Receiver<Connection>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    task: Ending,
}

impl Connections {
    /// Starts nothing yet.
    pub fn new(ctx: Arc<Context>, secrets: Arc<Secrets>, providers: Arc<Providers>) -> Arc<Self> {
        Arc::new(Self {
            ctx,
            secrets,
            providers,
            running: Mutex::default(),
            ending: Mutex::default(),
        })
    }

    /// Where a Secret leads, as far as it is known.
    pub fn get(&self, secret: &ClusterSecretKeyRef) -> Connection {
        self.lock()
            .get(secret)
            .map(|running| running.state.borrow().clone())
            .unwrap_or_default()
    }

    /// A Secret changed; an empty name means any of the namespace.
    pub fn secret_changed(self: &Arc<Self>, namespace: &str, name: &str) {
        for (secret, running) in self.lock().iter() {
            if secret.namespace == namespace && (name.is_empty() || secret.name == name) {
                running.changed.notify_one();
            }
        }
        self.refresh();
    }

    /// A binding is gone, and with it all that it claims.
    pub async fn forget(&self, binding: &str) {
        self.providers.forget(binding).await;
    }

    /// What is in use is known better now: every provider should hear of it.
    pub fn beat(&self) {
        for provider in self.providers.all() {
            provider.beat.notify_one();
        }
    }

    /// Starts and stops connections so that they are those in use.
    pub fn refresh(self: &Arc<Self>) {
        self.secrets.ensure(KONNECTOR_NAMESPACE);
        let mut wanted: BTreeSet<ClusterSecretKeyRef> =
            self.secrets.labelled().into_iter().collect();
        let bindings = self.ctx.bindings.state();
        wanted.extend(
            bindings
                .iter()
                .map(|b| b.spec.kubeconfig_secret_ref.clone()),
        );
        let bundles = self.ctx.bundles.all();
        wanted.extend(
            bundles
                .iter()
                .map(|bundle| bundle.spec.kubeconfig_secret_ref.clone()),
        );
        let used = wanted.iter().map(|secret| &*secret.namespace);
        self.secrets
            .keep_only(&used.chain([KONNECTOR_NAMESPACE]).collect());
        let mut running = self.lock();
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.retain(|_, task| !task.is_finished());
        let unwanted: Vec<_> = running
            .keys()
            .filter(|secret| !wanted.contains(secret))
            .cloned()
            .collect();
        for secret in unwanted {
            if let Some(connection) = running.remove(&secret) {
                connection.stop.cancel();
                ending.insert(secret, connection.task);
            }
        }
        for secret in wanted {
            running
                .entry(secret)
                .or_insert_with_key(|secret| self.start(secret.clone(), ending.remove(secret)));
        }
    }

    fn start(&self, secret: ClusterSecretKeyRef, predecessor: Option<Ending>) -> Running {
        let (state, receiver) = watch::channel(Connection::default());
        let changed = Arc::new(Notify::new());
        let stop = self.ctx.shutdown.token.child_token();
        let task = Task {
            name: format!("{}/{}", secret.namespace, secret.name),
            ctx: self.ctx.clone(),
            secrets: self.secrets.clone(),
            providers: self.providers.clone(),
            secret,
            state,
            backoff: Backoff::between(Duration::from_millis(500), Duration::from_secs(30)),
        };
        let name = format!("connection of {}", task.name);
        let run = task.run(changed.clone(), stop.clone());
        let task = self.ctx.shutdown.spawn(name, async move {
            if let Some(predecessor) = predecessor {
                // How it ended was logged; that it ended is what counts.
                let _ = predecessor.await;
            }
            run.await;
        });
        Running {
            state: receiver,
            changed,
            stop,
            task,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClusterSecretKeyRef, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    name: String,
    ctx: Arc<Context>,
    secrets: Arc<Secrets>,
    providers: Arc<Providers>,
    secret: ClusterSecretKeyRef,
    state: watch::Sender<Connection>,
    backoff: Backoff<()>,
}

impl Task {
    async fn run(self, changed: Arc<Notify>, stop: CancellationToken) {
        let work = async {
            loop {
                // The message was logged by the panic hook.
                let looked = survive(self.step()).await;
                match looked.unwrap_or_else(|| Some(self.backoff.next(&()))) {
                    Some(pause) => {
                        let _ = tokio::time::timeout(pause, changed.notified()).await;
                    }
                    None => changed.notified().await,
                }
            }
        };
        stop.run_until_cancelled(work).await;
        let provider = self.state.borrow().provider.clone();
        if let Some(provider) = provider {
            self.providers.detach(&provider, &self.secret).await;
        }
        self.ctx.metrics.forget_secret(&self.secret);
    }

    /// Looks at the Secret once; says when to look again if nothing changes.
    async fn step(&self) -> Option<Duration> {
        let found = match self
            .secrets
            .get(&self.secret.namespace, &self.secret.name)
            .await
        {
            Ok(found) => found,
            Err(error) => {
                self.publish(SecretState::Unreadable(error.to_string()), None, None);
                return Some(self.backoff.next(&()));
            }
        };
        let kubeconfig = match read(found.as_deref(), &self.secret.key, self.ctx.policy) {
            Ok(kubeconfig) => kubeconfig,
            Err(state) => {
                let missing = state == SecretState::Missing;
                self.publish(state, None, None);
                if missing && let Some(provider) = &self.state.borrow().provider {
                    provider.beat.notify_one();
                }
                return None;
            }
        };
        let current = self.state.borrow().provider.clone();
        if let Some(provider) = &current
            && provider
                .credential(&self.secret)
                .is_some_and(|known| known.fingerprint() == kubeconfig.fingerprint())
        {
            self.publish(SecretState::Valid, None, None);
            return None;
        }
        self.connect(kubeconfig, current).await
    }

    async fn connect(
        &self,
        kubeconfig: SafeKubeconfig,
        current: Option<Arc<Provider>>,
    ) -> Option<Duration> {
        let transport = match client::from_safe(&kubeconfig, &self.ctx.provider_options) {
            Ok(transport) => transport,
            Err(error) => {
                let problem = ConnectProblem::Unusable(error.to_string());
                self.publish(SecretState::Valid, Some(problem), None);
                return None;
            }
        };
        match identify(&Api::all(transport.client()), kubeconfig.namespace()).await {
            Ok(uid) => match current {
                Some(provider) if provider.uid != uid && !self.is_unwanted(&provider.uid) => {
                    let words = format!(
                        "the kubeconfig leads to a provider with uid {uid} now, it was {}; \
                         to use the new one, unbind and bind again",
                        provider.uid
                    );
                    let problem = ConnectProblem::Link(LinkState::OtherProvider(words));
                    self.publish(SecretState::Valid, Some(problem), None);
                    Some(HOLD)
                }
                current => {
                    if let Some(wrong) = current.filter(|provider| provider.uid != uid) {
                        self.providers.detach(&wrong, &self.secret).await;
                        self.state.send_modify(|state| state.provider = None);
                    }
                    self.attach(&uid, kubeconfig, transport)
                }
            },
            Err(error) => {
                let problem = ConnectProblem::Link(judge(&error));
                tracing::warn!(
                    error = fault::describe(&error),
                    secret.name = %self.name,
                    "failed to connect with the kubeconfig of secret {}",
                    self.name
                );
                self.publish(SecretState::Valid, Some(problem), None);
                Some(self.backoff.next(&()))
            }
        }
    }

    fn attach(
        &self,
        uid: &str,
        kubeconfig: SafeKubeconfig,
        transport: Transport,
    ) -> Option<Duration> {
        let attached = self
            .providers
            .attach(uid, &self.secret, kubeconfig.clone(), transport);
        match attached {
            Ok(provider) => {
                self.backoff.reset(&());
                self.ctx.metrics.uses(&self.secret, &kubeconfig);
                self.publish(SecretState::Valid, None, Some(provider));
                None
            }
            Err(why) => {
                let problem = ConnectProblem::Link(LinkState::OtherProvider(why));
                self.publish(SecretState::Valid, Some(problem), None);
                Some(HOLD)
            }
        }
    }

    /// Whether this provider was never the right one: whoever uses the Secret belongs to another.
    fn is_unwanted(&self, uid: &str) -> bool {
        let bindings = self.ctx.bindings.state();
        let bundles = self.ctx.bundles.all();
        let of_bindings = bindings
            .iter()
            .filter(|b| b.spec.kubeconfig_secret_ref == self.secret)
            .map(|b| b.annotations());
        let of_bundles = bundles
            .iter()
            .filter(|b| b.spec.kubeconfig_secret_ref == self.secret)
            .map(|b| b.annotations());
        let owners = of_bindings
            .chain(of_bundles)
            .map(|annotations| annotations.get(ANNOTATION_PROVIDER_CLUSTER));
        all_belong_elsewhere(owners.map(|owner| owner.map(String::as_str)), uid)
    }

    fn publish(
        &self,
        secret: SecretState,
        problem: Option<ConnectProblem>,
        provider: Option<Arc<Provider>>,
    ) {
        let changed = self.state.send_if_modified(|state| {
            let changed = state.secret != secret || state.problem != problem || provider.is_some();
            state.secret = secret;
            state.problem = problem;
            if provider.is_some() {
                state.provider = provider;
            }
            changed
        });
        if changed {
            self.ctx.wake_users(std::slice::from_ref(&self.secret));
        }
    }
}

/// Whether there are users, and all of them are known to belong to other providers.
fn all_belong_elsewhere<'a>(mut owners: impl Iterator<Item = Option<&'a str>>, uid: &str) -> bool {
    let elsewhere = |owner: Option<&str>| owner.is_some_and(|owner| owner != uid);
    owners.next().is_some_and(elsewhere) && owners.all(elsewhere)
}

/// What a Secret holds under a key.
fn read(secret: Option<&Secret>, key: &str, policy: Policy) -> Result<SafeKubeconfig, SecretState> {
    let secret = secret.ok_or(SecretState::Missing)?;
    let document = secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .filter(|bytes| !bytes.0.is_empty())
        .ok_or_else(|| SecretState::Invalid(format!("the secret has no key {key:?}")))?;
    SafeKubeconfig::parse(&document.0, policy)
        .map_err(|error| SecretState::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
