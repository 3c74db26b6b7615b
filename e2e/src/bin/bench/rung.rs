//! One rung of the ladder: so many objects to sync from a cold start, then a restart with nothing to do,
//! and their deletion.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::api::DeleteParams;
use kube_bind_e2e::process::Process;
use kube_bind_e2e::widgets::widgets;

use crate::MIB;
use crate::args::Args;
use crate::bare::Bare;
use crate::bed::{Bed, namespace};
use crate::meter::{self, Meter};
use crate::report::{Report, at_least, at_most, below, say};

/// How often the meters are read.
const LOOK: Duration = Duration::from_millis(50);
/// Without progress for so long, something is wrong.
const STUCK: Duration = Duration::from_secs(60);
/// From so many objects on the start itself does not matter any more.
const MANY: usize = 1000;
/// Objects of a run of the bare client that looks for its best concurrency.
const BARE: std::ops::RangeInclusive<usize> = 200..=2000;
/// Of so many of ours, the bare client does one before and one after: what is measured for ten minutes
/// is not to be compared with a few good or bad seconds.
const OURS_PER_BARE: usize = 10;

pub async fn measure(
    bed: &Bed,
    bare: &mut Bare,
    args: &Args,
    count: usize,
    report: &mut Report,
) -> Result<()> {
    bed.consumer.stop_konnector().await?;
    let share = (count / 3).clamp(*BARE.start(), *BARE.end());
    let mut first = bare.best(share).await?;
    let share = share.max(count / OURS_PER_BARE);
    if share > *BARE.end() {
        first = bare.run(share, first.concurrency).await?;
    }
    say(&format!("creating {count} objects"));
    bed.create(count, args.namespaces).await?;

    let bytes = meter::bytes(bed).await?;
    let mut meter = Meter::start(bed)?;
    let start = Instant::now();
    let konnector = bed.consumer.start_konnector()?;
    let peak = synced(&konnector, &mut meter, count).await?;
    let seconds = start.elapsed().as_secs_f64();
    let spent = konnector.processor_time()?;
    bed.check(count).await?;
    let bytes = meter::bytes(bed).await? - bytes;
    let second = bare.run(share, first.concurrency).await?;

    let title = |what: &str| format!("{count} objects cold, {what}");
    let many = |bound| if count >= MANY { bound } else { None };
    let in_time = (count == 10_000).then_some(below(40.0)).flatten();
    report.judged(
        &title("from the start of the process"),
        in_time,
        seconds,
        "s",
    );
    let rate = count as f64 / meter.seconds();
    let limit = (first.rate + second.rate) / 2.0;
    report.row(&title("rate"), rate, "objects/s");
    report.row(
        &title(&format!("bare client, {} at a time", first.concurrency)),
        limit,
        "objects/s",
    );
    report.judged(
        &title("share of the bare client"),
        many(at_least(80.0)),
        100.0 * rate / limit,
        "%",
    );
    let each = |total: f64| total / count as f64;
    report.judged(
        &title("requests per object"),
        at_most(3.0),
        each(meter.requests() as f64),
        "",
    );
    report.judged(
        &title("failed requests"),
        at_most(0.0),
        meter.failures() as f64,
        "",
    );
    report.row(&title("bytes per object"), each(bytes) / 1024.0, "KiB");
    report.judged(
        &title("processor per object"),
        many(below(0.6)),
        each(spent.as_secs_f64() * 1000.0),
        "ms",
    );
    report.row(
        &title("bare client, processor per object"),
        (first.cost + second.cost).as_secs_f64() * 500.0,
        "ms",
    );
    let small = (args.namespaces <= 50).then_some(below(100.0)).flatten();
    report.judged(&title("memory, highest"), small, peak as f64 / MIB, "MiB");
    report.row(
        &title("memory, highest resident"),
        konnector.peak_memory()? as f64 / MIB,
        "MiB",
    );
    settle(&konnector).await?;
    report.row(
        &title("memory afterwards"),
        konnector.memory()? as f64 / MIB,
        "MiB",
    );
    restart(bed, count, report).await
}

/// Waits until all objects have had their three requests; gives the most memory seen meanwhile.
async fn synced(konnector: &Process, meter: &mut Meter, count: usize) -> Result<u64> {
    let (mut peak, mut known, mut since) = (0, 0, Instant::now());
    loop {
        konnector.check_running()?;
        peak = peak.max(
            konnector
                .memory()
                .context("failed to look at the konnector")?,
        );
        meter.read()?;
        let done = meter.of("provider patch") + meter.of("consumer patch");
        if meter.of("provider patch") >= count && done >= 3 * count {
            return Ok(peak);
        }
        if done > known {
            (known, since) = (done, Instant::now());
        }
        if since.elapsed() > STUCK {
            bail!("no progress after {:?} and {:?}", meter.done, meter.failed);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until it does nothing any more.
async fn settle(konnector: &Process) -> Result<()> {
    let pause = Duration::from_secs(2);
    let mut before = konnector.processor_time()?;
    for _ in 0..60 {
        tokio::time::sleep(pause).await;
        let now = konnector.processor_time()?;
        // Lease and heartbeat go on.
        if now - before <= pause / 50 {
            return Ok(());
        }
        before = now;
    }
    bail!("the konnector does not come to rest")
}

/// A restart with everything in sync writes nothing.
async fn restart(bed: &Bed, count: usize, report: &mut Report) -> Result<()> {
    bed.consumer.stop_konnector().await?;
    let mut meter = Meter::start(bed)?;
    let konnector: Arc<Process> = bed.consumer.start_konnector()?;
    bed.consumer.wait_konnector_ready().await?;
    settle(&konnector).await?;
    meter.read()?;
    let title = |what: &str| format!("restart with {count} objects, {what}");
    report.judged(
        &title("requests"),
        at_most(0.0),
        meter.requests() as f64,
        "",
    );
    report.row(
        &title("processor"),
        konnector.processor_time()?.as_secs_f64(),
        "s",
    );
    let peak = konnector.peak_memory()? as f64 / MIB;
    report.row(&title("memory, highest resident"), peak, "MiB");
    let memory = konnector.memory()? as f64 / MIB;
    report.row(&title("memory afterwards"), memory, "MiB");
    Ok(())
}

/// All objects go, by the hand of their user.
pub async fn delete(bed: &Bed, args: &Args, count: usize, report: &mut Report) -> Result<()> {
    let mut meter = Meter::start(bed)?;
    let start = Instant::now();
    for number in 0..args.namespaces {
        widgets(&bed.consumer.plane, &namespace(number))
            .delete_collection(&DeleteParams::default(), &Default::default())
            .await?;
    }
    let (mut known, mut since) = (usize::MAX, Instant::now());
    loop {
        let (left, copies) = bed.count().await?;
        if left + copies == 0 {
            break;
        }
        if left + copies < known {
            (known, since) = (left + copies, Instant::now());
        }
        ensure!(
            since.elapsed() < STUCK,
            "{left} objects and {copies} copies stay"
        );
        tokio::time::sleep(LOOK * 4).await;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    report.row(&format!("{count} objects deleted"), rate, "objects/s");
    meter.read()?;
    report.judged(
        &format!("{count} objects deleted, requests per object"),
        at_most(2.0),
        meter.requests() as f64 / count as f64,
        "",
    );
    Ok(())
}
