//! How a process ends: signals, the tasks it runs, and waiting for them.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::logging;

/// Exit code after a second signal, as a shell reports an interrupted process.
const INTERRUPTED: i32 = 130;
/// How long a kept task waits after its first panic.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// And at most after many.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
        Self {
            token: self.token.child_token(),
            tracker: TaskTracker::new(),
        }
    }

    /// Runs a task. If it panics, that is logged with its name, and nothing else is touched.
    pub fn spawn<F>(
        &self,
        name: impl Into<String>,
        task: F,
    ) -> JoinHandle<Result<F::Output, Panicked>>
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

    /// Runs a task that is needed until the token is cancelled: if it panics, it begins anew after a pause
    /// that grows. Without it, what others rely on would stand still, and nobody would be told.
    pub fn keep<F, T>(&self, name: impl Into<String>, mut begin: F)
    where
        F: FnMut() -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let stop = self.token.clone();
        let pauses = Backoff::between(FIRST_PAUSE, LONGEST_PAUSE);
        let kept = name.clone();
        self.spawn(name, async move {
            let work = async {
                while survive(async { begin().await }).await.is_none() {
                    let pause = pauses.next(&());
                    tracing::error!(task.name = %kept, "task {kept} panicked and begins anew in {pause:?}");
                    tokio::time::sleep(pause).await;
                }
            };
            stop.run_until_cancelled(work).await;
        });
    }

    /// Cancels the token and waits until all tasks have ended, but not longer than `limit`.
    pub async fn drain(&self, limit: Duration) -> Result<(), NotDrained> {
        self.token.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait())
            .await
            .map_err(|_elapsed| NotDrained {
                running: self.tracker.len(),
                after: limit,
            })
    }
}

/// What the work says, or nothing if it panics; the panic hook has logged the message then.
pub async fn survive<T>(work: impl Future<Output = T>) -> Option<T> {
    // Nobody sees the state of the work afterwards, except through locks that bear poisoning.
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

async fn received(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use tokio::sync::oneshot;

    use super::*;
    use crate::logging::captured::Lines;

    const LONG: Duration = Duration::from_secs(20);
    /// Tells [`process_that_waits_for_signals`] that it is that process, and how it ends.
    const MODE: &str = "KUBE_BIND_TEST_SIGNALS";

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_task_and_of_nothing_else() {
        let lines = Lines::of_all_threads();
        let shutdown = Shutdown::new();
        let (send, receive) = oneshot::channel::<()>();
        let bad = shutdown.spawn("bad", async { panic!("on purpose") });
        let good = shutdown.spawn("good", async { receive.await.is_ok() });
        let panicked: Result<(), Panicked> = bad.await.expect("joins");
        assert_eq!(
            panicked,
            Err(Panicked {
                task: "bad".to_owned()
            })
        );
        send.send(()).expect("the other task still runs");
        assert_eq!(good.await.expect("joins"), Ok(true));
        shutdown.drain(LONG).await.expect("nothing is left");
        assert!(
            lines.text().contains("task bad panicked: on purpose"),
            "{}",
            lines.text()
        );
    }

    #[tokio::test]
    async fn a_kept_task_begins_anew_after_a_panic_and_ends_with_the_rest() {
        let shutdown = Shutdown::new();
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        let mut begun = 0;
        shutdown.keep("kept", move || {
            begun += 1;
            let (begun, send) = (begun, send.clone());
            async move {
                assert!(begun > 1, "on purpose");
                send.send(begun).expect("the test listens");
                std::future::pending::<()>().await;
            }
        });
        let again = tokio::time::timeout(LONG, receive.recv()).await;
        assert_eq!(again.expect("it begins anew"), Some(2));
        shutdown.drain(LONG).await.expect("nothing is left");
    }

    #[tokio::test]
    async fn draining_cancels_and_waits_for_the_tasks() {
        let shutdown = Shutdown::new();
        let token = shutdown.token.clone();
        let task = shutdown.spawn("waits", async move { token.cancelled().await });
        shutdown.drain(LONG).await.expect("drains");
        assert!(task.is_finished());
    }

    #[tokio::test]
    async fn draining_gives_up_after_its_limit() {
        let shutdown = Shutdown::new();
        shutdown.spawn("stuck", std::future::pending::<()>());
        let limit = Duration::from_millis(10);
        assert_eq!(
            shutdown.drain(limit).await,
            Err(NotDrained {
                running: 1,
                after: limit
            })
        );
    }

    #[tokio::test]
    async fn a_child_stops_with_its_parent_but_not_the_other_way() {
        let parent = Shutdown::new();
        let (one, two) = (parent.child(), parent.child());
        one.drain(LONG).await.expect("empty");
        assert!(!parent.token.is_cancelled() && !two.token.is_cancelled());
        parent.drain(LONG).await.expect("empty");
        assert!(two.token.is_cancelled());
    }

    /// What the tests below run as a process of its own, because signals reach a whole process;
    /// nothing in a usual run.
    #[tokio::test]
    async fn process_that_waits_for_signals() {
        let Some(mode) = std::env::var_os(MODE) else {
            return;
        };
        let shutdown = Shutdown::on_signals().expect("handlers");
        println!("\nstarted");
        shutdown.token.cancelled().await;
        println!("\ncancelled");
        if mode == "hang" {
            std::future::pending::<()>().await;
        }
    }

    fn exit_code(signals: &[&str], mode: &str) -> Option<i32> {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command
            .args([
                "shutdown::tests::process_that_waits_for_signals",
                "--exact",
                "--nocapture",
            ])
            .env(MODE, mode);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let id = child.id().to_string();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        for (signal, word) in signals.iter().zip(["started", "cancelled"]) {
            lines
                .find(|line| line.as_ref().is_ok_and(|line| line == word))
                .expect("gets that far")
                .expect("text");
            assert!(
                Command::new("kill")
                    .args([*signal, id.as_str()])
                    .status()
                    .expect("kill exists")
                    .success()
            );
        }
        // Keeps the pipe open, so that the process can still write to it.
        lines.for_each(drop);
        child.wait().expect("ends").code()
    }

    #[test]
    fn either_signal_cancels() {
        assert_eq!(exit_code(&["-TERM"], "end"), Some(0));
        assert_eq!(exit_code(&["-INT"], "end"), Some(0));
    }

    #[test]
    fn a_second_signal_ends_the_process_at_once() {
        assert_eq!(exit_code(&["-TERM", "-INT"], "hang"), Some(INTERRUPTED));
        assert_eq!(exit_code(&["-INT", "-INT"], "hang"), Some(INTERRUPTED));
    }
}
