//! The least that one object takes on this machine: a relay on a thread of the benchmark passes on what
//! its watches tell, with the konnector's requests, and keeps nothing and checks nothing.

use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube_bind_crds::names;
use kube_bind_e2e::cluster::client_of;
use kube_bind_e2e::objects::{create, credential_file, wait_until};
use kube_bind_e2e::usage;
use serde_json::json;
use tokio::sync::oneshot;

use crate::args::Args;
use crate::bare::{KIND, gadgets, sync};
use crate::bed::Bed;
use crate::report::Report;
use crate::{alone, steady};

/// The same as for the konnector's own kind, before anything else is there.
pub async fn measure(bed: &Bed, args: &Args, report: &mut Report) -> Result<()> {
    let (provider, cluster_namespace) = credential_file(&bed.consumer.plane).await?;
    let relay = Relay {
        consumer: bed.consumer.konnector_kubeconfig()?,
        provider,
        cluster_namespace,
    };
    let (running, started) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    // Dropped when all is measured.
    let (_stop, stopped) = oneshot::channel();
    // A thread of its own shows its processor time apart from the benchmark's.
    thread::spawn(move || ended.send(relay.run(running, stopped)));
    tokio::select! {
        measured = samples(bed, args, started, report) => measured,
        end = end => {
            end.context("the relay panicked")??;
            bail!("the relay's watches ended")
        }
    }
}

async fn samples(
    bed: &Bed,
    args: &Args,
    started: oneshot::Receiver<PathBuf>,
    report: &mut Report,
) -> Result<()> {
    let author = gadgets(&bed.consumer.plane.client());
    let operator = gadgets(&bed.provider.plane.client());
    let thread = started.await.context("the relay did not start")?;
    // Its watches run when it has passed on a first one.
    create(&author, &alone::body(KIND, "first")).await?;
    wait_until(&operator, "first", "at the provider", |_| true).await?;
    let samples = alone::samples(KIND, &author, &operator, args.alone).await?;
    samples.row("bare relay", report);
    if args.steady_seconds > 0 {
        let before = usage::processor_time_of_thread(&thread)?;
        steady::samples(KIND, args, &author, &operator).await?;
        let spent = usage::processor_time_of_thread(&thread)? - before;
        report.row(
            &format!(
                "bare relay, processor per change at {} changes/s",
                args.rate
            ),
            spent.as_secs_f64() * 1000.0 / steady::changes(args) as f64,
            "ms",
        );
    }
    Ok(())
}

/// What it needs for clients that work on its own thread alone.
struct Relay {
    consumer: PathBuf,
    provider: PathBuf,
    cluster_namespace: String,
}

impl Relay {
    /// Until a watch ends, or it is told to stop.
    fn run(&self, running: oneshot::Sender<PathBuf>, stopped: oneshot::Receiver<()>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::fs::read_link("/proc/thread-self").context("this is not Linux")?;
        runtime.block_on(async {
            let mine = gadgets(&client_of(&self.consumer).await?);
            let copies = gadgets(&client_of(&self.provider).await?);
            if running.send(thread).is_err() {
                return Ok(());
            }
            tokio::select! {
                ended = self.down(&mine, &copies) => ended,
                ended = up(&mine, &copies) => ended,
                _ = stopped => Ok(()),
            }
        })
    }

    /// New objects, to the provider.
    async fn down(&self, mine: &Api<DynamicObject>, copies: &Api<DynamicObject>) -> Result<()> {
        let events = watcher(mine.clone(), watcher::Config::default()).applied_objects();
        let mut events = std::pin::pin!(events);
        while let Some(object) = events.try_next().await? {
            let marked = |finalizer: &String| finalizer == names::FINALIZER_SYNCER;
            if !object.finalizers().iter().any(marked) {
                sync(&self.cluster_namespace, mine, copies, &object).await?;
            }
        }
        Ok(())
    }
}

/// Their status, back.
async fn up(mine: &Api<DynamicObject>, copies: &Api<DynamicObject>) -> Result<()> {
    let events = watcher(copies.clone(), watcher::Config::default()).applied_objects();
    let mut events = std::pin::pin!(events);
    while let Some(copy) = events.try_next().await? {
        if let Some(status) = copy.data.get("status") {
            let patch = Patch::Merge(json!({"status": status}));
            mine.patch_status(&copy.name_any(), &PatchParams::default(), &patch)
                .await?;
        }
    }
    Ok(())
}
