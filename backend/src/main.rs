//! `kube-bind-backend`: reads the command line and runs the backend until it is told to stop.

use anyhow::Context;
use clap::Parser;
use kube_bind_backend::app;
use kube_bind_backend::config::Config;
use kube_bind_runtime::{logging, tls};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tls::install_provider();
    let mut config = Config::parse();
    logging::init(&config.log).context("failed to set up logging")?;
    config.validate().context("the command line cannot work")?;
    app::run(config).await
}
