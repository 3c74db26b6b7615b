//! One provider: its connection, what is watched there, and the workers that all bindings to it
//! share. Keyed by the uid of the cluster namespace, because an address or a name can come to mean
//! another cluster.

mod claims;
mod connections;
pub mod exports;
mod link;
mod stores;
mod swap;
mod trouble;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use kube_bind_crds::api::{ClusterSecretKeyRef, GroupResource, PermissionClaim};
use kube_bind_runtime::client::SwapTransport;
use kube_bind_runtime::kubeconfig::SafeKubeconfig;
use kube_bind_runtime::lease::LeaderToken;
use kube_bind_runtime::shutdown::Shutdown;
use kube_bind_runtime::transport::Transport;
use tokio::sync::{Notify, watch};

pub use connections::{ConnectProblem, Connection, Connections, SecretState};
pub use link::{Link, LinkState};
pub use stores::Stores;
pub use trouble::Trouble;

use crate::claims::ClaimsEngine;
use crate::consumer::{ConsumerNamespaces, Secrets};
use crate::context::Context;
use crate::fenced::fenced;
use crate::heartbeat::{self, HeartbeatState};
use crate::namespaces::{self, ServiceNamespaces};
use crate::sync;

/// How long the workers of a provider may take to end.
const DRAIN: Duration = Duration::from_secs(35);

/// A provider that a kubeconfig leads to.
pub struct Provider {
    /// Uid of the cluster namespace: who this provider is to us.
    pub uid: String,
    /// Our namespace there.
    pub cluster_namespace: String,
    /// Always uses the newest credential.
    pub client: Client,
    /// The same for engines.
    pub engine_client: sync::EngineClient,
    /// Adapts the concurrency of all engines towards this API server.
    pub limiter: sync::Limiter,
    /// Whether it answers.
    pub link: Arc<Link>,
    /// What is watched in the cluster namespace.
    pub stores: Stores,
    /// Which of its own objects cannot be followed.
    pub trouble: Trouble,
    /// Service namespaces.
    pub namespaces: Arc<ServiceNamespaces>,
    /// How the last heartbeat went.
    pub heartbeat: watch::Receiver<HeartbeatState>,
    /// Asks for a heartbeat now.
    pub beat: Arc<Notify>,
    /// Ends with the provider.
    pub shutdown: Shutdown,
    swap: SwapTransport,
    /// Another server, in a renewed credential that nobody has accepted yet.
    offered_server: Mutex<Option<String>>,
    credentials: Mutex<BTreeMap<ClusterSecretKeyRef, SafeKubeconfig>>,
    claims: tokio::sync::Mutex<HashMap<GroupResource, Arc<ClaimsEngine>>>,
    /// Bindings that have said all that they claim, and what of it cannot be set up for now.
    claims_told: Mutex<BTreeMap<String, Vec<PermissionClaim>>>,
}

impl Provider {
    /// The kubeconfigs that lead here.
    pub fn secrets(&self) -> Vec<ClusterSecretKeyRef> {
        self.credentials().keys().cloned().collect()
    }

    /// How long a write of objects may take at most: as long as this replica surely leads, and not at
    /// all while the address leads to somebody else.
    pub fn write_time(&self, leader: &LeaderToken) -> Duration {
        match self.link.state() {
            LinkState::OtherProvider(_) => Duration::ZERO,
            _ => leader.time_left(),
        }
    }

    /// Whether all that the provider has for this consumer is known.
    pub fn synced(&self) -> bool {
        self.stores.synced() && self.namespaces.is_listed()
    }

    /// The watch of exports is broken, so what it brought may be old.
    pub fn exports_fail(&self) -> bool {
        self.trouble.is_of(stores::EXPORTS)
    }

    /// The same, and it has been for longer than what passes by itself.
    pub fn exports_keep_failing(&self) -> bool {
        self.trouble.lasts(stores::EXPORTS)
    }

    /// What a kubeconfig Secret said when it was last used.
    pub fn credential(&self, secret: &ClusterSecretKeyRef) -> Option<SafeKubeconfig> {
        self.credentials().get(secret).cloned()
    }

    /// Another server that a renewed credential names, while nobody has accepted it.
    pub fn offered_server(&self) -> Option<String> {
        let offered = self.offered_server.lock();
        offered.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers it, and says whether that is news.
    pub fn offer_server(&self, server: Option<String>) -> bool {
        let offered = self.offered_server.lock();
        let mut offered = offered.unwrap_or_else(PoisonError::into_inner);
        let news = *offered != server;
        *offered = server;
        news
    }

    fn credentials(&self) -> MutexGuard<'_, BTreeMap<ClusterSecretKeyRef, SafeKubeconfig>> {
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// All providers in use.
pub struct Providers {
    ctx: Arc<Context>,
    secrets: Arc<Secrets>,
    consumer_namespaces: ConsumerNamespaces,
    by_uid: Mutex<HashMap<String, Arc<Provider>>>,
}

impl Providers {
    /// None yet.
    pub fn new(
        ctx: Arc<Context>,
        secrets: Arc<Secrets>,
        consumer_namespaces: ConsumerNamespaces,
    ) -> Self {
        Self {
            ctx,
            secrets,
            consumer_namespaces,
            by_uid: Mutex::default(),
        }
    }

    /// Every provider in use.
    pub fn all(&self) -> Vec<Arc<Provider>> {
        self.lock().values().cloned().collect()
    }

    /// A binding is gone: no claim of its is left at any of them, whichever it used last.
    pub async fn forget(&self, binding: &str) {
        for provider in self.all() {
            provider.forget(binding).await;
        }
    }

    /// The provider with this uid, started if it is new. Its client is exchanged for this one, under
    /// everything that runs. Refused, with the reason, if it cannot be that provider.
    fn attach(
        &self,
        uid: &str,
        secret: &ClusterSecretKeyRef,
        kubeconfig: SafeKubeconfig,
        transport: Transport,
    ) -> Result<Arc<Provider>, String> {
        if uid.is_empty() {
            return Err("the provider does not say who it is: its namespace has no uid".into());
        }
        let mut all = self.lock();
        if let Some(provider) = all.get(uid) {
            may_join(
                &provider.cluster_namespace,
                &provider.credentials(),
                secret,
                &kubeconfig,
            )?;
            provider.swap.swap(transport);
            provider.credentials().insert(secret.clone(), kubeconfig);
            provider.link.check();
            provider.beat.notify_one();
            return Ok(provider.clone());
        }
        let provider = self.start(uid, secret, kubeconfig, transport);
        all.insert(uid.to_owned(), provider.clone());
        Ok(provider)
    }

    /// One kubeconfig less leads to this provider; without any it is stopped, and that is awaited.
    async fn detach(&self, provider: &Arc<Provider>, secret: &ClusterSecretKeyRef) {
        let unused = {
            let mut all = self.lock();
            let mut credentials = provider.credentials();
            credentials.remove(secret);
            let unused = credentials.is_empty();
            // Whoever gave up a detach begins it again: there may be a new one of that uid by now.
            let newest = all.get(&provider.uid);
            if unused && newest.is_some_and(|newest| Arc::ptr_eq(newest, provider)) {
                all.remove(&provider.uid);
            }
            unused
        };
        if !unused {
            return;
        }
        let drained = provider.shutdown.drain(DRAIN).await;
        // The engines of claims hold their provider.
        provider.claims.lock().await.clear();
        if let Err(error) = drained {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                provider.uid = %provider.uid,
                "provider {} did not stop in time",
                provider.uid
            );
        }
    }

    fn start(
        &self,
        uid: &str,
        secret: &ClusterSecretKeyRef,
        kubeconfig: SafeKubeconfig,
        transport: Transport,
    ) -> Arc<Provider> {
        let shutdown = self.ctx.shutdown.child();
        let cluster_namespace = kubeconfig.namespace().to_owned();
        let swap = SwapTransport::new(transport);
        let heard = swap::Heard::new();
        let forward = swap::Forward::new(&swap, &heard);
        let unfenced = self.ctx.metrics.on_provider(forward.client());
        let client = fenced(unfenced.clone(), self.ctx.leader.clone());
        let link = Arc::new(Link::new(
            client.clone(),
            cluster_namespace.clone(),
            uid.to_owned(),
            heard,
        ));
        let (beat_sender, heartbeat) = watch::channel(HeartbeatState::Pending);
        let (stores, writers) = stores::new(&cluster_namespace);
        let consumer_namespaces = self.consumer_namespaces.clone();
        let (namespaces, mappings) =
            ServiceNamespaces::new(&client, &cluster_namespace, consumer_namespaces);
        let provider = Arc::new(Provider {
            uid: uid.to_owned(),
            engine_client: sync::EngineClient::new(unfenced)
                .asked_by(forward.transport())
                .renewed_by(swap.swaps()),
            limiter: sync::Limiter::new(),
            stores,
            trouble: Trouble::default(),
            namespaces,
            cluster_namespace,
            client,
            link,
            heartbeat,
            beat: Arc::new(Notify::new()),
            swap,
            offered_server: Mutex::default(),
            credentials: Mutex::new([(secret.clone(), kubeconfig)].into()),
            claims: tokio::sync::Mutex::default(),
            claims_told: Mutex::default(),
            shutdown,
        });
        tracing::info!(
            provider.uid = %provider.uid,
            provider.cluster_namespace = %provider.cluster_namespace,
            "connected to provider {}",
            provider.uid
        );
        namespaces::start(&self.ctx, &provider, mappings);
        link::start(&self.ctx, &provider);
        stores::start(&self.ctx, &provider, writers);
        heartbeat::start(&self.ctx, &self.secrets, &provider, beat_sender);
        provider
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Provider>>> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a kubeconfig may take part in a connection. Everything is sent with the newest of them,
/// and the uid is only what the server itself says: one provider must not get at what is meant for
/// another by claiming its uid.
fn may_join(
    cluster_namespace: &str,
    known: &BTreeMap<ClusterSecretKeyRef, SafeKubeconfig>,
    secret: &ClusterSecretKeyRef,
    kubeconfig: &SafeKubeconfig,
) -> Result<(), String> {
    if kubeconfig.namespace() != cluster_namespace {
        return Err(format!(
            "the kubeconfig names namespace {}, but the provider with that uid uses {cluster_namespace}",
            kubeconfig.namespace()
        ));
    }
    let other = known
        .iter()
        .find(|(name, known)| *name != secret && known.server() != kubeconfig.server());
    match other {
        None => Ok(()),
        Some((name, _)) => Err(format!(
            "the provider says that it is the one that secret {}/{} leads to, but under another \
             address; use the same server in both secrets",
            name.namespace, name.name
        )),
    }
}

#[cfg(test)]
mod beat_tests;

#[cfg(test)]
pub mod test_support;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{answering, failure, term};
    use futures::FutureExt;
    use kube_bind_runtime::kubeconfig::{Policy, render};

    fn kubeconfig(server: &str, namespace: &str) -> SafeKubeconfig {
        let document = render(server, None, None, namespace, "t0ken");
        SafeKubeconfig::parse(document.as_bytes(), Policy::default()).unwrap()
    }

    fn secret(name: &str) -> ClusterSecretKeyRef {
        ClusterSecretKeyRef {
            name: name.into(),
            namespace: "kube-bind".into(),
            key: "kubeconfig".into(),
        }
    }

    #[test]
    fn nobody_gets_at_a_connection_by_claiming_its_uid() {
        let good = kubeconfig("https://good.example", "tenant");
        let known = [(secret("good"), good.clone())].into();
        let join = |name: &str, with: &SafeKubeconfig| {
            may_join("tenant", &known, &secret(name), with).is_ok()
        };
        assert!(join("second", &good));
        let moved = kubeconfig("https://moved.example", "tenant");
        assert!(join("good", &moved), "its administrator may move it");
        assert!(!join("evil", &moved));
        assert!(!join("good", &kubeconfig("https://good.example", "other")));
    }

    #[tokio::test]
    async fn a_late_end_does_not_take_away_a_newer_provider_of_the_same_uid() {
        let consumer = answering(|_| failure(404, "NotFound"));
        let ctx = Arc::new(term(&consumer));
        let secrets = Secrets::new(consumer.clone(), ctx.shutdown.clone(), Arc::new(|_, _| {}));
        let namespaces = ConsumerNamespaces::start(consumer.clone(), &ctx.shutdown, |_| {});
        let providers = Providers::new(ctx.clone(), Arc::new(secrets), namespaces);
        let good = kubeconfig("https://good.example", "tenant");
        let attach = |name: &str| {
            let attached = providers.attach(
                "uid-1",
                &secret(name),
                good.clone(),
                consumer.clone().into(),
            );
            attached.unwrap()
        };
        let first = attach("first");
        // Given up when it has just begun, by who is told to stop.
        let given_up = providers.detach(&first, &secret("first")).now_or_never();
        assert!(given_up.is_none());
        let second = attach("second");
        providers.detach(&first, &secret("first")).await;
        let left = providers.all();
        assert!(left.len() == 1 && Arc::ptr_eq(&left[0], &second));
        ctx.shutdown.token.cancel();
    }
}
