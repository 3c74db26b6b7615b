//! `make bench`: what the konnector costs between two real control planes on this machine, against a
//! bare client that sends the same requests to the same servers in the same run. Prints a table of
//! targets and measurements, writes it as JSON too, and ends with status 1 if a target is missed. No
//! test asserts a time.

mod alone;
mod args;
mod bare;
mod bed;
mod failover;
mod machine;
mod meter;
mod relay;
mod report;
mod rung;
mod steady;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use kube_bind_e2e::process::own_binary;
use kube_bind_e2e::run;

use args::Args;
use bare::Bare;
use bed::Bed;
use report::{Report, at_most};

const MIB: f64 = 1024.0 * 1024.0;
/// Objects that are present while the steady rate is measured, if the ladder has so many.
const PRESENT: usize = 10_000;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let mut report = Report::default();
    let outcome = run(measure(&args, &mut report));
    // What was measured before something failed is worth reading too.
    report.print();
    if let Some(path) = &args.json {
        report.write(path, &args)?;
    }
    outcome?;
    Ok(if report.is_met() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(args: &Args, report: &mut Report) -> Result<()> {
    for name in ["kube-bind-backend", "konnector", "kubectl-bind"] {
        let size = std::fs::metadata(own_binary(name)?)
            .context("failed to look at a program")?
            .len();
        report.row(&format!("size of {name}"), size as f64 / MIB, "MiB");
    }
    let bed = Bed::start(report).await?;
    report.machine = machine::describe(&bed).await?;
    alone::measure(&bed, args, report).await?;
    bed.map_namespaces(args.namespaces).await?;
    report.row(
        &format!("memory, idle, {} namespaces", args.namespaces),
        bed.consumer.konnector()?.memory()? as f64 / MIB,
        "MiB",
    );
    failover::measure(&bed, report).await?;
    let mut bare = Bare::prepare(&bed).await?;
    relay::measure(&bed, args, report).await?;
    let steady_at = args
        .objects
        .iter()
        .copied()
        .filter(|count| *count <= PRESENT)
        .max()
        .or_else(|| args.objects.first().copied());
    for (number, count) in args.objects.iter().copied().enumerate() {
        rung::measure(&bed, &mut bare, args, count, report).await?;
        if steady_at == Some(count) && args.steady_seconds > 0 {
            steady::measure(&bed, args, count, report).await?;
        }
        // The last objects go with their cluster, unless they are few enough to show how fast
        // deletions are.
        let last = number + 1 == args.objects.len();
        if !last || count <= PRESENT {
            rung::delete(&bed, args, count, report).await?;
        }
    }
    report.judged(
        "memory of the backend",
        at_most(57.0),
        bed.provider.backend_memory()? as f64 / MIB,
        "MiB",
    );
    Ok(())
}
