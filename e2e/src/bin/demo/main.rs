//! `make demo`: the whole product on one machine, step by step, with nothing simulated. Stays up for
//! playing until Ctrl-C, which ends everything that it started; `--exit` ends by itself.

mod narrator;
mod story;

use std::process::ExitCode;

use clap::Parser;
use kube_bind_e2e::{rundir, toolchain};
use tokio::signal::unix::{SignalKind, signal};

use narrator::Narrator;
use story::Stage;

/// What shells report for a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

/// Provider, identity provider, backend, consumer and konnector, and a certificate that travels.
#[derive(Debug, Parser)]
struct Args {
    /// End after the last step, with status 0 or 1
    #[arg(long)]
    exit: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Outside the runtime: the first build takes minutes.
    if let Err(error) = toolchain::prepare() {
        Narrator::new().failure(&error);
        return ExitCode::FAILURE;
    }
    kube_bind_e2e::run(play(&args))
}

async fn play(args: &Args) -> ExitCode {
    let narrator = Narrator::new();
    let mut stage = Stage::default();
    let outcome = tokio::select! {
        outcome = story::tell(&narrator, &mut stage) => outcome,
        // Returning drops what runs, which ends it.
        () = interrupted() => return ExitCode::from(INTERRUPTED),
    };
    if let Err(error) = &outcome {
        rundir::keep_all();
        narrator.failure(error);
        return ExitCode::FAILURE;
    }
    if !args.exit {
        story::invite(&narrator, &stage);
        interrupted().await;
        narrator.line("\nEnding everything.");
    }
    ExitCode::SUCCESS
}

async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).expect("the runtime handles signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
