//! A steady rate of changes while many objects are present: half creations by a user, half changes of
//! status by the provider's operator.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube_bind_e2e::latency::{Sightings, percentile};
use kube_bind_e2e::objects::{create, service_namespace};
use kube_bind_e2e::widgets::widgets;
use serde_json::json;
use tokio::task::JoinSet;

use crate::alone::{PATIENCE, WIDGET, body};
use crate::args::Args;
use crate::bed::{Bed, LATENCY};
use crate::meter::Meter;
use crate::report::{Report, at_most, below};

/// Those ahead of the first status are synced too.
pub fn changes(args: &Args) -> usize {
    args.rate as usize * (1 + args.steady_seconds as usize)
}

/// What one change was and how long it took.
pub enum Sample {
    Visible(Duration),
    Back(Duration),
}

pub async fn measure(bed: &Bed, args: &Args, present: usize, report: &mut Report) -> Result<()> {
    let mine = widgets(&bed.consumer.plane, LATENCY);
    let service = service_namespace(&bed.provider.plane, &bed.cluster_namespace, LATENCY).await?;
    let copies = widgets(&bed.provider.plane, &service);
    let konnector = bed.consumer.konnector()?;
    let mut meter = Meter::start(bed)?;
    let before = konnector.processor_time()?;
    let samples = samples(WIDGET, args, &mine, &copies).await?;
    let spent = konnector.processor_time()? - before;
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for sample in samples {
        match sample {
            Sample::Visible(took) => down.push(took),
            Sample::Back(took) => up.push(took),
        }
    }
    let rate = args.rate;
    for (what, samples) in [("create to visible", &down), ("status back", &up)] {
        let title = format!("{rate} changes/s with {present} objects, {what}");
        report.row(&format!("{title}, P50"), percentile(samples, 50), "ms");
        report.judged(
            &format!("{title}, P99"),
            below(50.0),
            percentile(samples, 99),
            "ms",
        );
    }
    report.judged(
        &format!("processor per change at {rate} changes/s"),
        below(0.6),
        spent.as_secs_f64() * 1000.0 / changes(args) as f64,
        "ms",
    );
    meter.read()?;
    report.judged(
        &format!("failed requests at {rate} changes/s"),
        at_most(0.0),
        meter.failures() as f64,
        "",
    );
    clear(&mine, &copies).await
}

/// Makes the changes, and waits for each.
pub async fn samples(
    kind: &str,
    args: &Args,
    mine: &Api<DynamicObject>,
    copies: &Api<DynamicObject>,
) -> Result<Vec<Sample>> {
    let (visible, watching) = Sightings::watch(copies.clone(), |_| true);
    let (back, watching_back) = Sightings::watch(mine.clone(), |object| {
        object.data.pointer("/status/phase") == Some(&json!("Built"))
    });
    tokio::select! {
        samples = changing(kind, args, mine, copies, &visible, &back) => samples,
        ended = watching => { ended?; bail!("the provider's watch ended") }
        ended = watching_back => { ended?; bail!("the consumer's watch ended") }
    }
}

/// Every other tick a creation; between them the status of an object that was created a second ago.
async fn changing(
    kind: &str,
    args: &Args,
    mine: &Api<DynamicObject>,
    copies: &Api<DynamicObject>,
    visible: &Sightings,
    back: &Sightings,
) -> Result<Vec<Sample>> {
    let ahead = args.rate as usize;
    for number in 0..ahead {
        create(mine, &body(kind, &name(number))).await?;
    }
    for number in 0..ahead {
        visible.of(&name(number), PATIENCE).await?;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / args.rate);
    let mut running = JoinSet::new();
    for tick in 0..ahead * args.steady_seconds as usize {
        ticks.tick().await;
        let number = tick / 2;
        if tick % 2 == 0 {
            let (mine, visible) = (mine.clone(), visible.clone());
            let name = name(number + ahead);
            let body = body(kind, &name);
            running.spawn(async move {
                let began = Instant::now();
                create(&mine, &body).await?;
                let seen = visible.of(&name, PATIENCE).await?;
                anyhow::Ok(Sample::Visible(seen.saturating_duration_since(began)))
            });
        } else {
            let (copies, back) = (copies.clone(), back.clone());
            running.spawn(async move {
                let (name, began) = (name(number), Instant::now());
                let status = Patch::Merge(json!({"status": {"phase": "Built"}}));
                copies
                    .patch_status(&name, &PatchParams::default(), &status)
                    .await?;
                let seen = back.of(&name, PATIENCE).await?;
                anyhow::Ok(Sample::Back(seen.saturating_duration_since(began)))
            });
        }
    }
    let mut samples = Vec::new();
    while let Some(done) = running.join_next().await {
        samples.push(done.context("a change panicked")??);
    }
    Ok(samples)
}

/// Takes the objects away again, and waits for that.
async fn clear(mine: &Api<DynamicObject>, copies: &Api<DynamicObject>) -> Result<()> {
    mine.delete_collection(&Default::default(), &ListParams::default())
        .await?;
    kube_bind_e2e::wait_for("the end of the changed objects", || async {
        let left = mine
            .list_metadata(&ListParams::default())
            .await?
            .items
            .len()
            + copies
                .list_metadata(&ListParams::default())
                .await?
                .items
                .len();
        anyhow::ensure!(left == 0, "{left} are left");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

fn name(number: usize) -> String {
    format!("steady-{number}")
}
