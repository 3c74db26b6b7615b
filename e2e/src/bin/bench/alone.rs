//! One object at a time: how long it takes, and what it costs in requests.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube_bind_e2e::latency::{Sightings, percentile};
use kube_bind_e2e::objects::create;
use kube_bind_e2e::wait_for;
use kube_bind_e2e::widgets::widget;
use serde_json::{Value, json};

use crate::MIB;
use crate::args::Args;
use crate::bed::{Bed, LATENCY};
use crate::meter::Meter;
use crate::report::{Report, at_most, below};

pub const WIDGET: &str = "Widget";
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Two a second.
const PAUSE: Duration = Duration::from_millis(500);

/// Also the first thing after the start: the idle konnector is looked at before.
pub async fn measure(bed: &Bed, args: &Args, report: &mut Report) -> Result<()> {
    let (mine, copies) = bed.namespace(LATENCY).await?;
    report.judged(
        "memory, idle",
        below(20.0),
        bed.consumer.konnector()?.memory()? as f64 / MIB,
        "MiB",
    );
    let mut meter = Meter::start(bed)?;
    samples(WIDGET, &mine, &copies, args.alone)
        .await?
        .report(report);
    requests(args, &mut meter, &mine, &copies, report).await
}

/// How long objects took.
#[derive(Default)]
pub struct Samples {
    down: Vec<Duration>,
    up: Vec<Duration>,
    round: Vec<Duration>,
}

/// Its P50 and P99 are to be no more than these milliseconds.
const TARGETS: [(f64, f64); 3] = [(8.0, 19.0), (4.0, 13.0), (19.0, 34.0)];

impl Samples {
    fn report(&self, report: &mut Report) {
        for ((what, samples), (p50, p99)) in self.named().into_iter().zip(TARGETS) {
            for (percent, target) in [(50, p50), (99, p99)] {
                report.judged(
                    &format!("one object alone, {what}, P{percent}"),
                    at_most(target),
                    percentile(samples, percent),
                    "ms",
                );
            }
        }
    }

    /// Those of somebody else, which have no targets.
    pub fn row(&self, whose: &str, report: &mut Report) {
        for (what, samples) in self.named() {
            for percent in [50, 99] {
                report.row(
                    &format!("{whose}, {what}, P{percent}"),
                    percentile(samples, percent),
                    "ms",
                );
            }
        }
    }

    fn named(&self) -> [(&str, &[Duration]); 3] {
        [
            ("create to visible", &self.down),
            ("status back", &self.up),
            ("round trip", &self.round),
        ]
    }
}

/// Takes so many, one after the other.
pub async fn samples(
    kind: &str,
    mine: &Api<DynamicObject>,
    copies: &Api<DynamicObject>,
    count: usize,
) -> Result<Samples> {
    let (visible, watching) = Sightings::watch(copies.clone(), |_| true);
    let (back, watching_back) = Sightings::watch(mine.clone(), |object| {
        object.data.pointer("/status/phase") == Some(&json!("Built"))
    });
    let samples = one_by_one(kind, mine, copies, &visible, &back, count);
    tokio::select! {
        samples = samples => samples,
        ended = watching => { ended?; bail!("the provider's watch ended") }
        ended = watching_back => { ended?; bail!("the consumer's watch ended") }
    }
}

async fn one_by_one(
    kind: &str,
    mine: &Api<DynamicObject>,
    copies: &Api<DynamicObject>,
    visible: &Sightings,
    back: &Sightings,
    count: usize,
) -> Result<Samples> {
    let mut samples = Samples::default();
    for number in 0..count {
        let name = name(number);
        let body = body(kind, &name);
        let created = Instant::now();
        create(mine, &body).await?;
        let seen = visible.of(&name, PATIENCE).await?;
        samples.down.push(seen.saturating_duration_since(created));
        let written = Instant::now();
        let status = json!({"status": {"phase": "Built"}});
        copies
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
            .await?;
        let returned = back.of(&name, PATIENCE).await?;
        samples.up.push(returned.saturating_duration_since(written));
        samples
            .round
            .push(returned.saturating_duration_since(created));
        tokio::time::sleep_until((created + PAUSE).into()).await;
    }
    Ok(samples)
}

/// Requests per object: those of the creation and the status have been made, a change of the spec and
/// the deletion follow.
async fn requests(
    args: &Args,
    meter: &mut Meter,
    mine: &Api<DynamicObject>,
    copies: &Api<DynamicObject>,
    report: &mut Report,
) -> Result<()> {
    let each = |count: usize| count as f64 / args.alone as f64;
    meter.read()?;
    let status = meter.of("consumer patch status");
    let created = meter.requests() - status;
    ensure!(created > 0 && status > 0, "the audit logs name no requests");
    report.judged(
        "requests to create an object",
        at_most(3.0),
        each(created),
        "",
    );
    report.judged(
        "requests per change of status",
        at_most(1.0),
        each(status),
        "",
    );

    let before = meter.requests();
    for number in 0..args.alone {
        let change = json!({"spec": {"size": 2}});
        mine.patch(
            &name(number),
            &PatchParams::default(),
            &Patch::Merge(&change),
        )
        .await?;
    }
    wait_for("the changes at the provider", || async {
        for number in 0..args.alone {
            let copy = copies.get(&name(number)).await?;
            ensure!(copy.data["spec"]["size"] == 2, "not yet");
        }
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    meter.read()?;
    let changed = meter.requests() - before;
    report.judged(
        "requests per change of spec",
        at_most(1.0),
        each(changed),
        "",
    );

    let before = meter.requests();
    mine.delete_collection(&DeleteParams::default(), &Default::default())
        .await?;
    wait_for("the end of all objects", || async {
        let left = mine.list_metadata(&Default::default()).await?.items.len();
        ensure!(left == 0, "{left} are left");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    meter.read()?;
    let deleted = meter.requests() - before;
    report.judged("requests per deletion", at_most(2.0), each(deleted), "");
    report.judged("failed requests", at_most(0.0), meter.failures() as f64, "");
    Ok(())
}

/// An object of a kind that is like widgets.
pub fn body(kind: &str, name: &str) -> Value {
    let mut body = widget(name, 1);
    body["kind"] = kind.into();
    body
}

fn name(number: usize) -> String {
    format!("alone-{number}")
}
