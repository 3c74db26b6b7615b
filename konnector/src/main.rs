//! The konnector's process.

use clap::Parser;
use konnector::{app, args::Args};
use kube_bind_runtime::{logging, tls};

fn main() -> anyhow::Result<()> {
    tls::install_provider();
    let args = Args::parse();
    logging::init(&args.log)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(app::run(args))
}
