//! Everything that runs while this replica leads: built when the lease is won, stopped and joined
//! when it is lost. IO through its parts.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::{APIServiceBinding, APIServiceBindingBundle, is_owner_of_kind};
use kube_bind_crds::schema;
use kube_bind_runtime::backoff::Backoff;
use kube_bind_runtime::client::Options;
use kube_bind_runtime::clock::SharedClock;
use kube_bind_runtime::events::Events;
use kube_bind_runtime::health::Health;
use kube_bind_runtime::kubeconfig::Policy;
use kube_bind_runtime::lease::LeaderToken;
use kube_bind_runtime::shutdown::Shutdown;
use tokio_util::task::TaskTracker;

use crate::binding::{self, Subtrees};
use crate::bundles::{self, Bundles};
use crate::consumer::{ConsumerNamespaces, Crds, Secrets};
use crate::context::{Context, Syncing};
use crate::fault;
use crate::fenced::fenced;
use crate::metrics::Metrics;
use crate::names::CONTROLLER;
use crate::problems::Problems;
use crate::provider::{Connections, Providers};
use crate::sync;
use crate::wake::Wake;
use crate::watch::{Listed, Signal, reflect};

/// How long the parts may take to finish what they are doing.
const DRAIN: Duration = Duration::from_secs(20);
/// Name of the check that says whether the bindings are known.
const CHECK: &str = "bindings";

/// What a term needs from the process.
#[derive(Clone)]
pub struct Process {
    /// The consumer cluster.
    pub client: Client,
    /// The same for the sync engines.
    pub engine_client: sync::EngineClient,
    /// Time.
    pub clock: SharedClock,
    /// Checks of `/readyz`.
    pub health: Health,
    /// What is counted.
    pub metrics: Metrics,
    /// What provider kubeconfigs may contain.
    pub policy: Policy,
    /// How providers are reached.
    pub provider_options: Options,
    /// How often bundles are looked at.
    pub polling: Duration,
    /// How objects are synced.
    pub syncing: Syncing,
}

/// All parts of one term.
pub struct Supervisor {
    /// What they share.
    pub ctx: Arc<Context>,
    /// The consumer's CRDs.
    pub crds: Arc<Crds>,
    /// The kubeconfigs in use.
    pub connections: Arc<Connections>,
    /// What runs per binding.
    pub subtrees: Subtrees,
    /// Failed looks at bindings.
    pub backoff: Backoff<String>,
    /// Looks at bindings that found rights missing.
    pub rights: Backoff<String>,
    /// The consumer for engines.
    pub consumer_client: sync::EngineClient,
    /// Adapts the concurrency of all engines towards the consumer.
    pub consumer_limiter: sync::Limiter,
    /// Where engines tell what is wrong with objects.
    pub problems: Arc<Problems>,
    /// Counts the changes of our rights.
    rights_changes: AtomicU64,
}

impl Supervisor {
    /// Our rights are not what they were: every binding has to ask again.
    pub fn rights_changed(&self) {
        self.rights_changes.fetch_add(1, Ordering::Relaxed);
        for binding in self.ctx.bindings.state() {
            let name = binding.name_any();
            self.rights.reset(&name);
            self.ctx.wake.binding(name);
        }
    }

    /// How often our rights have changed in this term.
    pub fn rights_changes(&self) -> u64 {
        self.rights_changes.load(Ordering::Relaxed)
    }
}

/// Leads until the token is cancelled; returns when everything has stopped.
pub async fn lead(process: Process, leader: LeaderToken) {
    let shutdown = Shutdown {
        token: leader.token().child_token(),
        tracker: TaskTracker::new(),
    };
    let (wake, names) = Wake::channel();
    let (bindings, writer) = kube::runtime::reflector::store();
    let (bundles, bundle_writer) = Bundles::new();
    let (client, events) = consumer(process.client.clone(), &leader);
    let ctx = Arc::new(Context {
        events,
        client,
        engine_client: process.engine_client.clone(),
        clock: process.clock.clone(),
        metrics: process.metrics.clone(),
        wake: wake.clone(),
        bindings: bindings.clone(),
        bundles,
        bindings_listed: Listed::new(),
        polling: process.polling,
        syncing: process.syncing,
        policy: process.policy,
        provider_options: process.provider_options,
        leader,
        shutdown: shutdown.clone(),
    });
    process.metrics.leads(true);
    let supervisor = assemble(&ctx);
    watch_bindings(&supervisor, writer, process.health.clone());
    bundles::watch(&supervisor, bundle_writer);
    shutdown.spawn("bundle controller", bundles::run(supervisor.clone()));
    let asking = supervisor.clone();
    shutdown.keep("review of rights", move || {
        binding::follow_rights(asking.clone())
    });
    let looking = supervisor.clone();
    let controller = shutdown.spawn("binding controller", binding::run(looking, names));
    tokio::select! {
        () = shutdown.token.cancelled() => {}
        // A term without it does nothing; the next one begins anew.
        _ = controller => shutdown.token.cancel(),
    }
    // First the engines, so that none of them loses its provider under its hands.
    let stopped = tokio::time::timeout(DRAIN, supervisor.subtrees.stop_all()).await;
    if stopped.is_err() {
        tracing::error!("not all engines stopped in time");
    }
    if let Err(error) = shutdown.drain(DRAIN).await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "not everything stopped in time"
        );
    }
    process.health.remove(CHECK);
    process.metrics.leads(false);
}

/// The consumer cluster and who publishes events there, both only while this replica leads.
fn consumer(client: Client, leader: &LeaderToken) -> (Client, Events) {
    let client = fenced(client, leader.clone());
    let events = Events::new(client.clone(), CONTROLLER);
    (client, events)
}

/// Builds the parts; those that tell something know whom to tell through cells that are filled last.
pub(crate) fn assemble(ctx: &Arc<Context>) -> Arc<Supervisor> {
    let connections = Arc::new(OnceLock::<Arc<Connections>>::new());
    let providers = Arc::new(OnceLock::<Arc<Providers>>::new());
    let told = connections.clone();
    let secrets = Arc::new(Secrets::new(
        ctx.client.clone(),
        ctx.shutdown.clone(),
        Arc::new(move |namespace: &str, name: &str| {
            if let Some(connections) = told.get() {
                connections.secret_changed(namespace, name);
            }
        }),
    ));
    let told = providers.clone();
    let namespaces = ConsumerNamespaces::start(ctx.client.clone(), &ctx.shutdown, move |name| {
        for provider in told.get().map(|all| all.all()).unwrap_or_default() {
            provider.namespaces.consumer_namespace_gone(name);
        }
    });
    let providers = providers
        .get_or_init(|| Arc::new(Providers::new(ctx.clone(), secrets.clone(), namespaces)))
        .clone();
    let connections = connections
        .get_or_init(|| Connections::new(ctx.clone(), secrets.clone(), providers))
        .clone();
    let crd_told = ctx.clone();
    Arc::new(Supervisor {
        crds: Arc::new(Crds::start(
            ctx.client.clone(),
            &ctx.shutdown,
            move |name, owners| {
                crd_changed(&crd_told, name, owners);
            },
        )),
        connections,
        subtrees: Subtrees::new(ctx.syncing.breaker),
        backoff: Backoff::new(),
        rights: Backoff::between(Duration::from_secs(2), Duration::from_secs(60)),
        consumer_client: ctx.engine_client.clone(),
        consumer_limiter: sync::Limiter::new(),
        problems: Problems::start(ctx),
        rights_changes: AtomicU64::new(0),
        ctx: ctx.clone(),
    })
}

/// Wakes the bindings that a CRD concerns.
fn crd_changed(ctx: &Context, name: &str, owners: &[OwnerReference]) {
    for binding in concerned(name, owners, &ctx.bindings.state()) {
        ctx.wake.binding(binding);
    }
}

/// The bindings that own a CRD, and those that would like to.
fn concerned(
    crd: &str,
    owners: &[OwnerReference],
    bindings: &[Arc<APIServiceBinding>],
) -> BTreeSet<String> {
    let owners = owners
        .iter()
        .filter(|owner| is_owner_of_kind::<APIServiceBinding>(owner))
        .map(|owner| owner.name.clone());
    let wants = |binding: &&Arc<APIServiceBinding>| {
        let mut bound = binding.status.iter().flat_map(|s| &s.bound_schemas);
        bound.any(|bound| schema::name(bound) == crd)
    };
    let wanting = bindings.iter().filter(wants).map(|b| b.name_any());
    owners.chain(wanting).collect()
}

fn watch_bindings(
    supervisor: &Arc<Supervisor>,
    writer: kube::runtime::reflector::store::Writer<APIServiceBinding>,
    health: Health,
) {
    let shutdown = &supervisor.ctx.shutdown;
    health.set(CHECK, Err("the bindings have not been listed yet".into()));
    let this = supervisor.clone();
    let mut readiness = Readiness::default();
    let tell = move |signal: Signal<'_, APIServiceBinding>| {
        if let Some(check) = readiness.after(&signal) {
            health.set(CHECK, check);
        }
        match signal {
            Signal::Changed(binding) => {
                this.connections.refresh();
                wake_bundle(&this.ctx, binding);
                this.ctx.wake.binding(binding.name_any());
            }
            Signal::Removed(binding) => {
                this.connections.refresh();
                this.ctx.bundles.wake_all();
                forget(&this, binding.name_any());
            }
            Signal::Listed => {
                this.ctx.bindings_listed.set();
                this.ctx.bundles.wake_all();
                this.connections.refresh();
                this.connections.beat();
                for name in vanished(&this.ctx.bindings, &this.subtrees.names()) {
                    forget(&this, name);
                }
            }
            Signal::Running => {}
            Signal::Failed(error) => {
                tracing::warn!(
                    error = fault::describe_watch(error),
                    "failed to watch bindings"
                );
            }
        }
    };
    shutdown.spawn(
        "watch of bindings",
        reflect(
            Api::all(supervisor.ctx.client.clone()),
            watcher::Config::default(),
            writer,
            shutdown.token.clone(),
            tell,
        ),
    );
}

/// What the watch of bindings says about being ready.
#[derive(Default)]
struct Readiness {
    listed: bool,
}

impl Readiness {
    /// The check, if this says something about it.
    fn after<K>(&mut self, signal: &Signal<'_, K>) -> Option<Result<(), String>> {
        match signal {
            Signal::Listed => self.listed = true,
            Signal::Failed(_) => return Some(Err("the bindings cannot be watched".into())),
            // A watch that goes on after a failure brings no list.
            Signal::Changed(_) | Signal::Removed(_) | Signal::Running => {}
        }
        self.listed.then_some(Ok(()))
    }
}

/// Wakes the bundle that made the binding. Others need to know of it only when it goes, and makes a
/// name free.
fn wake_bundle(ctx: &Context, binding: &APIServiceBinding) {
    for owner in binding.owner_references() {
        if is_owner_of_kind::<APIServiceBindingBundle>(owner) {
            ctx.bundles.wake(&owner.name);
        }
    }
}

/// Names with something running that are no bindings any more.
fn vanished(bindings: &Store<APIServiceBinding>, running: &[String]) -> Vec<String> {
    let there: Vec<String> = bindings.state().iter().map(|b| b.name_any()).collect();
    running
        .iter()
        .filter(|name| !there.contains(name))
        .cloned()
        .collect()
}

/// Stops what ran for a binding that is gone.
fn forget(supervisor: &Arc<Supervisor>, name: String) {
    let this = supervisor.clone();
    let task = format!("end of binding {name}");
    supervisor.ctx.shutdown.spawn(task, async move {
        this.subtrees.remove(&name).await;
        // Not only at the provider that the subtree knew: after a restart an end may need no engine.
        this.connections.forget(&name).await;
        this.ctx.metrics.forget_binding(&name);
        this.backoff.reset(&name);
        this.rights.reset(&name);
        // There may be a new one of that name, which has lost what ran for it.
        this.ctx.wake.binding(name);
    });
}

#[cfg(test)]
mod tests;
