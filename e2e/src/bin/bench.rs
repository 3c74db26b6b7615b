//! `make bench`: how long things take between two real control planes on this machine, as a table of
//! target and measurement. Targets are those of the original on a machine of the same size. Ends with
//! status 1 if one is missed. No test asserts a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::latency::{Sightings, percentile};
use kube_bind_e2e::objects::{
    as_consumer, create, create_namespace, service_namespace, wait_gone, wait_until,
};
use kube_bind_e2e::process::own_binary;
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::run;
use kube_bind_e2e::widgets::{self, TEMPLATE, widget, widgets};
use serde_json::json;
use tokio::task::JoinSet;

const ALONE: usize = 100;
const BURST: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: f64 = 1024.0 * 1024.0;

/// One line of the table.
struct Row {
    what: String,
    target: Option<(Bound, f64)>,
    ours: f64,
    unit: &'static str,
}

enum Bound {
    AtMost,
    AtLeast,
}

impl Row {
    fn met(&self) -> Option<bool> {
        self.target.as_ref().map(|(bound, value)| match bound {
            Bound::AtMost => self.ours <= *value,
            Bound::AtLeast => self.ours >= *value,
        })
    }
}

#[expect(clippy::print_stdout, reason = "the table is the result")]
fn main() -> Result<()> {
    let rows = run(measure())?;
    println!("{:<44} {:>14} {:>12}  met", "", "target", "ours");
    for row in &rows {
        let target = match &row.target {
            Some((Bound::AtMost, value)) => format!("<= {value} {}", row.unit),
            Some((Bound::AtLeast, value)) => format!(">= {value} {}", row.unit),
            None => "-".to_owned(),
        };
        let met = row.met().map_or("", |met| if met { "yes" } else { "NO" });
        println!(
            "{:<44} {target:>14} {:>12}  {met}",
            row.what,
            format!("{:.1} {}", row.ours, row.unit)
        );
    }
    if rows.iter().any(|row| row.met() == Some(false)) {
        std::process::exit(1);
    }
    Ok(())
}

async fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut row = |what: &str, target: Option<(Bound, f64)>, ours: f64, unit: &'static str| {
        rows.push(Row {
            what: what.to_owned(),
            target,
            ours,
            unit,
        });
    };
    for name in ["kube-bind-backend", "konnector", "kubectl-bind"] {
        let size = std::fs::metadata(own_binary(name)?)
            .context("failed to look at a program")?
            .len();
        row(&format!("size of {name}"), None, size as f64 / MIB, "MiB");
    }
    let start = Instant::now();
    let options = ProviderOptions {
        without_operator: true,
        ..ProviderOptions::default()
    };
    let (provider, consumer) =
        tokio::try_join!(Provider::start(options), Consumer::start("consumer"))?;
    row(
        "two control planes and the backend ready",
        None,
        start.elapsed().as_secs_f64(),
        "s",
    );
    widgets::offer(&provider).await?;
    let start = Instant::now();
    let args = ["--template-name", TEMPLATE];
    consumer
        .bind_reporting(&provider.url(), &provider.alice, &args, |_| {})
        .await?
        .success()?;
    row(
        "kubectl bind, login to usable API",
        None,
        start.elapsed().as_secs_f64(),
        "s",
    );

    create_namespace(&consumer.plane, "bench").await?;
    let mine = widgets(&consumer.plane, "bench");
    create(&mine, &widget("first", 1)).await?;
    let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
    let service = service_namespace(&provider.plane, &cluster_namespace, "bench").await?;
    let copies = widgets(&provider.plane, &service);
    wait_until(&copies, "first", "at the provider", |_| true).await?;
    row(
        "memory of the konnector, idle",
        Some((Bound::AtMost, 57.0)),
        consumer.konnector()?.memory()? as f64 / MIB,
        "MiB",
    );

    let (visible, watching) = Sightings::watch(copies.clone(), |_| true);
    tokio::pin!(watching);
    let (back, watching_back) = Sightings::watch(mine.clone(), |object| {
        object.data.pointer("/status/phase") == Some(&json!("Built"))
    });
    tokio::pin!(watching_back);
    let samples = async {
        visible.of("first", PATIENCE).await?;
        let (mut down, mut up, mut round) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..ALONE {
            let name = format!("alone-{number}");
            let created = Instant::now();
            create(&mine, &widget(&name, 1)).await?;
            let seen = visible.of(&name, PATIENCE).await?;
            down.push(seen.saturating_duration_since(created));
            let written = Instant::now();
            let status = json!({"status": {"phase": "Built"}});
            copies
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
                .await?;
            let returned = back.of(&name, PATIENCE).await?;
            up.push(returned.saturating_duration_since(written));
            round.push(returned.saturating_duration_since(created));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok((down, up, round))
    };
    let (down, up, round) = tokio::select! {
        samples = samples => samples?,
        ended = &mut watching => { ended?; anyhow::bail!("the provider's watch ended") }
        ended = &mut watching_back => { ended?; anyhow::bail!("the consumer's watch ended") }
    };
    for (what, samples, p50, p99) in [
        ("create to visible", &down, 8.0, 19.0),
        ("status back", &up, 4.0, 13.0),
        ("round trip", &round, 19.0, 34.0),
    ] {
        row(
            &format!("one object alone, {what}, P50"),
            Some((Bound::AtMost, p50)),
            percentile(samples, 50),
            "ms",
        );
        row(
            &format!("one object alone, {what}, P99"),
            Some((Bound::AtMost, p99)),
            percentile(samples, 99),
            "ms",
        );
    }

    // A konnector that starts with everything still to do.
    consumer.stop_konnector().await?;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let mine = mine.clone();
        writers.spawn(async move {
            for number in (writer..BURST).step_by(8) {
                create(&mine, &widget(&format!("burst-{number}"), 1)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    let start = Instant::now();
    consumer.start_konnector()?;
    wait_for_all(&copies, BURST).await?;
    row(
        &format!("cold start, {BURST} objects"),
        Some((Bound::AtLeast, 5.1)),
        BURST as f64 / start.elapsed().as_secs_f64(),
        "objects/s",
    );
    row(
        &format!("memory of the konnector, {BURST} objects"),
        Some((Bound::AtMost, 71.0)),
        consumer.konnector()?.memory()? as f64 / MIB,
        "MiB",
    );
    row(
        "memory of the backend",
        Some((Bound::AtMost, 57.0)),
        provider.backend_memory()? as f64 / MIB,
        "MiB",
    );
    let start = Instant::now();
    mine.delete_collection(&DeleteParams::default(), &Default::default())
        .await?;
    wait_gone(&mine, &format!("burst-{}", BURST - 1)).await?;
    wait_for_all(&copies, 0).await?;
    row(
        &format!("deletion of {BURST} objects"),
        Some((Bound::AtLeast, 5.1)),
        BURST as f64 / start.elapsed().as_secs_f64(),
        "objects/s",
    );
    Ok(rows)
}

async fn wait_for_all(copies: &kube::Api<kube::api::DynamicObject>, expected: usize) -> Result<()> {
    kube_bind_e2e::wait_for("the copies", || async {
        let all = copies.list_metadata(&Default::default()).await?;
        let burst = all
            .items
            .iter()
            .filter(|item| item.name_any().starts_with("burst-"))
            .count();
        if burst == expected {
            Ok(())
        } else {
            Err(anyhow::anyhow!("there are {burst} of {expected}"))
        }
    })
    .await
}
