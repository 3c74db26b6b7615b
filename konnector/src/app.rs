//! The process: its listener, its own CRDs, and standing for the lease. IO throughout.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use kube_bind_crds::version::VERSION;
use kube_bind_runtime::client::{self, Authorities, Options};
use kube_bind_runtime::clock::SystemClock;
use kube_bind_runtime::health::{self, Health};
use kube_bind_runtime::kubeconfig::Policy;
use kube_bind_runtime::lease::{self, LeaseConfig};
use kube_bind_runtime::proxy::Proxy;
use kube_bind_runtime::shutdown::Shutdown;
use kube_bind_runtime::transport::Transport;
use prometheus_client::registry::Registry;

use crate::alive::Pulse;
use crate::args::Args;
use crate::context::Syncing;
use crate::install;
use crate::metrics::Metrics;
use crate::names::{CONTROLLER, USER_AGENT};
use crate::supervisor::{self, Process};
use crate::sync::{BreakerConfig, EngineClient};

/// How long everything may take to end once asked to.
const DRAIN: Duration = Duration::from_secs(30);
/// Name of the check that says whether the konnector's own CRDs are there.
const CHECK: &str = "crds";

/// Runs until a signal.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("failed to listen to signals")?;
    let transport = consumer_transport(&args)
        .await
        .context("failed to connect to the consumer cluster")?;
    let provider_options = provider_options(&args)?;
    let health = Health::new();
    health.set(CHECK, Err("not installed yet".into()));
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    health::serve(
        &args.server_address,
        health::router(health.clone(), Arc::new(Mutex::new(registry))),
        &shutdown,
    )
    .await
    .context("failed to serve health")?;
    tracing::info!(version = VERSION, "konnector {VERSION}");

    let watched = metrics.on_consumer(transport.client());
    let process = Process {
        engine_client: EngineClient::new(watched.clone()).asked_by(transport),
        client: watched,
        clock: SystemClock::shared(),
        health,
        metrics,
        policy: Policy {
            allow_insecure_tls: args.allow_insecure_provider_tls,
            allow_http: false,
        },
        provider_options,
        polling: args.provider_polling_interval,
        syncing: Syncing {
            skip_keys: args.skip_keys.clone(),
            breaker: BreakerConfig {
                min_objects: args.breaker_min_objects,
                percent: args.breaker_percent,
            },
        },
    };
    let identity = args
        .lease_identity
        .clone()
        .filter(|identity| !identity.is_empty())
        .unwrap_or_else(|| LeaseConfig::default_identity(CONTROLLER));
    let lease = LeaseConfig::new(&args.lease_namespace, &args.lease_name, identity);
    shutdown.spawn("leader election", stand(process, lease, shutdown.clone()));
    shutdown.token.cancelled().await;
    shutdown
        .drain(DRAIN)
        .await
        .context("failed to stop in time")
}

/// Every request here has a time-out of its own, and every watch its longest silence. A connection that
/// measures its silence too sets a timer anew with each read, which costs more than the read.
fn options() -> Options {
    Options {
        read_timeout: None,
        ..Options::new(USER_AGENT)
    }
}

async fn consumer_transport(args: &Args) -> Result<Transport, client::Error> {
    let (kubeconfig, context) = (args.kubeconfig.as_deref(), args.context.as_deref());
    let (_, config) = client::consumer_or_provider(kubeconfig, context, USER_AGENT).await?;
    client::from_config(config, &options())
}

/// How providers are reached.
fn provider_options(args: &Args) -> anyhow::Result<Options> {
    let mut options = options();
    options.proxy = Proxy::from_env()?;
    let file = args.provider_ca_file.as_deref();
    if let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) {
        options.authorities = Authorities::from_file(file)?;
    }
    Ok(options)
}

/// Installs the CRDs and then stands for the lease, again and again.
async fn stand(process: Process, lease: LeaseConfig, shutdown: Shutdown) {
    let pulse = Pulse::new();
    let client = pulse.client(process.client.clone());
    let (health, stop) = (process.health.clone(), shutdown.token.clone());
    shutdown.spawn("health checks", async move {
        stop.run_until_cancelled(pulse.watch(health)).await;
    });
    let health = process.health.clone();
    let install = install::own_crds(&client, |state| health.set(CHECK, state));
    if shutdown.token.run_until_cancelled(install).await.is_none() {
        return;
    }
    let clock = process.clock.clone();
    lease::run(lease, client, clock, shutdown, move |leader| {
        supervisor::lead(process.clone(), leader)
    })
    .await;
}
