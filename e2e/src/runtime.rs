//! The one async runtime of a test process. Clients keep background tasks on the runtime that made
//! them, so tests that share a world must share the runtime too: `#[test] fn x() { run(async { .. }) }`.

use std::future::Future;
use std::process::ExitCode;
use std::sync::{Once, OnceLock};

use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static INIT: Once = Once::new();

/// What a test may end with.
pub trait Outcome {
    /// Is there something to look for in the logs?
    fn failed(&self) -> bool;
}

impl Outcome for () {
    fn failed(&self) -> bool {
        false
    }
}

impl Outcome for ExitCode {
    fn failed(&self) -> bool {
        *self == ExitCode::FAILURE
    }
}

impl<T, E> Outcome for Result<T, E> {
    fn failed(&self) -> bool {
        self.is_err()
    }
}

/// Runs a test to its end on the shared runtime. Logs are kept if it panics or ends with an error.
pub fn run<F: Future<Output: Outcome>>(test: F) -> F::Output {
    init();
    let outcome = runtime().block_on(test);
    crate::rundir::settle(outcome.failed());
    outcome
}

/// The shared runtime, for background work of the harness.
pub(crate) fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime needs nothing but threads")
    })
}

fn init() {
    INIT.call_once(|| {
        // An error means that somebody installed one before us, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
            .with_test_writer()
            .try_init();
        crate::rundir::keep_on_panic();
    });
}
