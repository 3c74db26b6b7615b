//! The least that one object takes on this machine: a relay inside the benchmark passes on what its
//! watches tell, with the konnector's requests, and keeps nothing and checks nothing.

use anyhow::{Result, bail};
use futures::TryStreamExt;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube_bind_crds::names;
use kube_bind_e2e::objects::{create, wait_until};
use kube_bind_e2e::widgets::widget;
use serde_json::json;

use crate::alone;
use crate::args::Args;
use crate::bare::{Bare, KIND, gadgets};
use crate::bed::Bed;
use crate::report::Report;

/// The same as for the konnector's own kind, before anything else is there.
pub async fn measure(bed: &Bed, bare: &Bare, args: &Args, report: &mut Report) -> Result<()> {
    let (mine, copies) = (gadgets(&bare.consumer), gadgets(&bare.provider));
    let author = gadgets(&bed.consumer.plane.client());
    let operator = gadgets(&bed.provider.plane.client());
    let samples = async {
        // Its watches run when it has passed on a first one.
        let mut first = widget("first", 1);
        first["kind"] = KIND.into();
        create(&author, &first).await?;
        wait_until(&operator, "first", "at the provider", |_| true).await?;
        alone::samples(KIND, &author, &operator, args.alone).await
    };
    let samples = tokio::select! {
        samples = samples => samples?,
        ended = down(bare, &mine, &copies) => { ended?; bail!("the consumer's watch ended") }
        ended = up(&mine, &copies) => { ended?; bail!("the provider's watch ended") }
    };
    samples.row("bare relay", report);
    Ok(())
}

/// New objects, to the provider.
async fn down(bare: &Bare, mine: &Api<DynamicObject>, copies: &Api<DynamicObject>) -> Result<()> {
    let events = watcher(mine.clone(), watcher::Config::default()).applied_objects();
    let mut events = std::pin::pin!(events);
    while let Some(object) = events.try_next().await? {
        let marked = |finalizer: &String| finalizer == names::FINALIZER_SYNCER;
        if !object.finalizers().iter().any(marked) {
            bare.sync(mine, copies, &object).await?;
        }
    }
    Ok(())
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
