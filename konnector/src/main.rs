//! The konnector's process.

use clap::Parser;
use konnector::{app, args::Args};
use kube_bind_runtime::{logging, tls};

/// One keeps two API servers busy; the other one renews the lease while that one reads a large object.
/// As many as there are cores would only cost memory, for each has its own pools.
const WORKERS: usize = 2;

fn main() -> anyhow::Result<()> {
    tls::install_provider();
    let args = Args::parse();
    logging::init(&args.log)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?
        .block_on(app::run(args))
}
