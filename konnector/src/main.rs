//! The konnector's process.

use clap::Parser;
use konnector::{app, args::Args};
use kube_bind_runtime::{logging, tls};

/// A synced object is some hundred small pieces of memory, and the system's allocator a fifth of what
/// it costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    tls::install_provider();
    let args = Args::parse();
    logging::init(&args.log)?;
    // What it does is wait for answers: one thread takes a tenth of a core at the highest rate that two API
    // servers bear, and handing work to another one costs more than that one could do of it.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(app::run(args))
}
