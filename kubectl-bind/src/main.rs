//! `kubectl bind`: use a provider's API in your own cluster.

mod binder;
mod choose;
mod cli;
mod cluster;
mod commands;
mod consent;
mod guard;
mod login;
mod manifests;
mod objects;
mod output;
mod provider;
mod server;
mod store;
mod text;

use std::process::ExitCode;

use kube_bind_runtime::logging::{self, LogArgs};

use cli::{Cli, Command};

/// What shells report for a process that an interrupt ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    kube_bind_runtime::tls::install_provider();
    let cli = match Cli::parse_args(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(err) => {
            // Help and version are results; a wrong command line is an error like all others.
            let _ = err.print();
            return if err.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(err) => return failed(&anyhow::Error::new(err).context("failed to start")),
    };
    let code = runtime.block_on(async {
        tokio::select! {
            result = run(cli) => match result {
                Ok(()) => ExitCode::SUCCESS,
                Err(err) => failed(&err),
            },
            Ok(()) = tokio::signal::ctrl_c() => {
                output::say("\nerror: interrupted; the same command continues where this one stopped");
                ExitCode::from(INTERRUPTED)
            }
        }
    });
    // Not dropped: a question that nobody answers would keep the process.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    // These two log what is part of the error anyway.
    let quiet =
        (cli.verbosity < 3).then(|| "warn,kube_client=off,rustls_platform_verifier=off".to_owned());
    let log_filter = std::env::var("RUST_LOG").ok().or(quiet);
    logging::init(&LogArgs {
        verbosity: cli.verbosity,
        log_filter,
        ..LogArgs::default()
    })?;
    match cli.command {
        None => cli.bind.run().await,
        Some(Command::Login(command)) => command.run().await,
        Some(Command::Logout(command)) => command.run(),
        Some(Command::Templates(command)) => command.run().await,
        Some(Command::Collections(command)) => command.run().await,
        Some(Command::ApiService(command)) => command.run().await,
        Some(Command::ClusterIdentity(command)) => command.run().await,
        Some(Command::Version(command)) => command.run(),
    }
}

fn failed(err: &anyhow::Error) -> ExitCode {
    // The reader of our data went away; that is not worth a word.
    let broken_pipe = err
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
    if !broken_pipe {
        output::say(&format!("error: {}", text::causes(err.as_ref())));
    }
    ExitCode::FAILURE
}
