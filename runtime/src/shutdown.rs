//! How a process ends: signals, the tasks it runs, and waiting for them.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logging;

/// Exit code after a second signal, as a shell reports an interrupted process.
const INTERRUPTED: i32 = 130;

/// The end of a process, shared by all of its parts.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the process is asked to stop.
    pub token: CancellationToken,
    /// Every task of the process.
    pub tracker: TaskTracker,
}

/// A spawned task panicked; the message was logged when it happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} panicked")]
pub struct Panicked {
    /// The name that the task was spawned under.
    pub task: String,
}

/// Some tasks did not end in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{running} tasks still ran after {after:?}")]
pub struct NotDrained {
    /// How many tasks still run.
    pub running: usize,
    /// How long they were waited for.
    pub after: Duration,
}

impl Shutdown {
    /// A shutdown that no signal reaches, for tests and for the plugin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGTERM and SIGINT begin; a second signal ends the process at once.
    ///
    /// Needs a running runtime.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = shutdown.token.clone();
        // Not on the tracker: it must live until the process ends, and draining would wait for it.
        #[expect(clippy::disallowed_methods, reason = "outlives the tracker on purpose")]
        tokio::spawn(async move {
            let first = received(&mut terminate, &mut interrupt).await;
            tracing::info!(signal = first, "shutting down");
            token.cancel();
            let second = received(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = second, "second signal, exiting at once");
            std::process::exit(INTERRUPTED);
        });
        Ok(shutdown)
    }

    /// A part of the process that can be stopped on its own: its token is cancelled with this one,
    /// its tasks are tracked apart, so that they can be drained apart.
    ///
    /// Whoever makes a child drains it from a task of the parent.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), tracker: TaskTracker::new() }
    }

    /// Runs a task. If it panics, that is logged with its name, and nothing else is touched.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F) -> JoinHandle<Result<F::Output, Panicked>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let name = name.into();
        self.tracker.spawn(async move {
            // Nobody sees the task's state afterwards, except through locks that bear poisoning.
            AssertUnwindSafe(task).catch_unwind().await.map_err(|payload| {
                tracing::error!(task.name = %name, "task {name} panicked: {}", logging::message(&*payload));
                Panicked { task: name }
            })
        })
    }

    /// Cancels the token and waits until all tasks have ended, but not longer than `limit`.
    pub async fn drain(&self, limit: Duration) -> Result<(), NotDrained> {
        self.token.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait())
            .await
            .map_err(|_elapsed| NotDrained { running: self.tracker.len(), after: limit })
    }
}

async fn received(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
