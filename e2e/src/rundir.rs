//! Temporary directories that vanish with their owner, also when the test process is killed, and
//! that stay, with their path printed, when a test failed: the logs in them are what one reads then.

use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use anyhow::{Context, Result};

/// `1` keeps every directory, `0` none, also not after a failure.
const KEEP_VARIABLE: &str = "KUBE_BIND_E2E_KEEP";

/// Removes the directory once nobody holds its standard input any more. Processes that still write
/// into it have been killed at the same moment, so the removal is repeated until it succeeds.
const JANITOR: &str = r#"cat >/dev/null
n=0
while [ ! -e "$1/keep" ] && [ -e "$1" ] && [ $n -lt 100 ]; do
  rm -rf "$1" 2>/dev/null || sleep 0.1
  n=$((n+1))
done"#;

static FAILED: AtomicBool = AtomicBool::new(false);
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// Dropped, but not removed yet: only the end of the test says whether it failed.
static DROPPED: Mutex<Vec<Dropped>> = Mutex::new(Vec::new());
static HOOK: Once = Once::new();

/// A directory for configuration, data and logs.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The janitor's standard input; closing it is the order to remove.
    alive: Option<ChildStdin>,
}

#[derive(Debug)]
struct Dropped {
    path: PathBuf,
    _alive: Option<ChildStdin>,
}

impl RunDir {
    /// Creates `<tmp>/kube-bind-e2e/<name>-<random>`.
    pub fn create(name: &str) -> Result<RunDir> {
        let parent = std::env::temp_dir().join("kube-bind-e2e");
        let path = parent.join(format!(
            "{name}-{}-{:06x}",
            std::process::id(),
            rand::random_range(0..0x0100_0000)
        ));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("failed to create {}", path.display()))?;
        let mut command = Command::new("sh");
        command.args(["-c", JANITOR, "janitor"]).arg(&path);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Out of the terminal's process group: Ctrl-C must not end it before its owner.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut janitor = command
            .spawn()
            .context("failed to start sh, which removes temporary directories")?;
        let alive = janitor.stdin.take();
        LIVE.lock().expect("no holder panics").push(path.clone());
        if std::env::var(KEEP_VARIABLE).as_deref() == Ok("1") {
            keep(&path);
        }
        Ok(RunDir { path, alive })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        LIVE.lock()
            .expect("no holder panics")
            .retain(|path| *path != self.path);
        let dropped = Dropped {
            path: self.path.clone(),
            _alive: self.alive.take(),
        };
        DROPPED.lock().expect("no holder panics").push(dropped);
        if std::thread::panicking() || FAILED.load(Ordering::Relaxed) {
            keep(&self.path);
        }
    }
}

/// The end of a test: removes what it has dropped, or keeps it because the test failed.
pub(crate) fn settle(failed: bool) {
    if failed {
        keep_all();
    }
    DROPPED.lock().expect("no holder panics").clear();
}

/// Keeps all directories of this process from the first panic on.
pub(crate) fn keep_on_panic() {
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            previous(info);
            keep_all();
        }));
    });
}

/// Keeps all directories of this process: something failed, and the logs tell what.
pub fn keep_all() {
    FAILED.store(true, Ordering::Relaxed);
    // Not `lock`: this runs in the panic hook, perhaps of a thread that holds it.
    if let Ok(live) = LIVE.try_lock() {
        live.iter().for_each(|path| keep(path));
    }
    if let Ok(dropped) = DROPPED.try_lock() {
        dropped.iter().for_each(|dropped| keep(&dropped.path));
    }
}

#[expect(
    clippy::print_stderr,
    reason = "shown by the test runner next to the failure"
)]
fn keep(path: &Path) {
    if std::env::var(KEEP_VARIABLE).as_deref() == Ok("0") {
        return;
    }
    let marker = path.join("keep");
    if !marker.exists() && path.exists() && std::fs::write(&marker, "").is_ok() {
        eprintln!("logs and data are kept in {}", path.display());
    }
}
