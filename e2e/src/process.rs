//! One running program: its log, its readiness, its memory, its end. Also finds our own binaries.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use regex::Regex;

use crate::spawner;
use crate::usage;
use crate::wait::{PATIENCE, wait_for, wait_for_up_to};

/// Directory with our built binaries, when they are not beside the test.
const BINARIES_VARIABLE: &str = "KUBE_BIND_BIN_DIR";

/// What to start and how.
#[derive(Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Launch {
    /// A program; `name` is for logs and messages.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Launch {
        Launch {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Launch {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Launch {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Gives an argument that is there already another value.
    pub fn replace(mut self, flag: &str, value: &str) -> Launch {
        let known = self.args.iter().position(|arg| arg == flag);
        if let Some(old) = known.and_then(|known| self.args.get_mut(known + 1)) {
            *old = value.into();
        }
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Launch {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts it with standard output and error in `<logs>/<name>.out` and `<logs>/<name>.log`.
    pub fn start(self, logs: &Path) -> Result<Process> {
        let log = logs.join(format!("{}.log", self.name));
        let out = logs.join(format!("{}.out", self.name));
        let open = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("failed to open {}", path.display()))
        };
        let mut command = spawner::mortal(&self.program);
        command
            .args(&self.args)
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(open(&out)?)
            .stderr(open(&log)?);
        let child = spawner::spawn(command).with_context(|| {
            format!(
                "failed to start {} through setpriv (Debian package util-linux)",
                self.program.display()
            )
        })?;
        Ok(Process {
            name: self.name,
            pid: child.id(),
            child: Mutex::new(child),
            log,
            out,
        })
    }
}

/// A started program. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it did.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        let mut child = self.child.lock().expect("no holder panics");
        child
            .try_wait()
            .with_context(|| format!("failed to look after {}", self.name))
    }

    /// Fails, with the end of the log, if the program has ended.
    pub fn check_running(&self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => {
                crate::rundir::keep_all();
                bail!(
                    "{} has ended ({status}); its last lines:\n{}",
                    self.name,
                    tail(&self.log())
                )
            }
        }
    }

    /// Waits for a line on either stream that matches, and gives its first group (or the whole line).
    pub async fn wait_for_line(&self, pattern: &str) -> Result<String> {
        match self.line_or_end(pattern).await? {
            Some(found) => Ok(found),
            None => self
                .check_running()
                .and_then(|()| bail!("{} did not print {pattern:?}", self.name)),
        }
    }

    /// [`Self::wait_for_line`] of a program that may end without printing it.
    pub async fn line_or_end(&self, pattern: &str) -> Result<Option<String>> {
        let regex =
            Regex::new(pattern).with_context(|| format!("{pattern:?} is no regular expression"))?;
        let probe = || async {
            // Asked first: lines written just before the end must be seen too.
            let ended = self.exited()?.is_some();
            let text = format!("{}\n{}", self.log(), self.stdout());
            let found = text
                .lines()
                .find_map(|line| regex.captures(line))
                .map(|captures| {
                    let found = captures.get(1).or_else(|| captures.get(0));
                    found
                        .map(|found| found.as_str().to_owned())
                        .unwrap_or_default()
                });
            if found.is_some() || ended {
                return Ok(found);
            }
            Err(anyhow!("its last lines:\n{}", tail(&self.log())))
        };
        wait_for(&format!("{} to print {pattern:?}", self.name), probe).await
    }

    /// Waits until `url` answers with success.
    pub async fn wait_ready(&self, client: &reqwest::Client, url: &str) -> Result<()> {
        let probe = || async {
            if let Err(error) = self.check_running() {
                return Ok(Err(error));
            }
            let answer = client
                .get(url)
                .timeout(Duration::from_secs(5))
                .send()
                .await?;
            let status = answer.status();
            let body = answer.text().await?;
            if status.is_success() {
                Ok(Ok(()))
            } else {
                Err(anyhow!("{status}: {body}"))
            }
        };
        wait_for(&format!("{} to answer {url}", self.name), probe).await?
    }

    /// Waits until it has ended by itself.
    pub async fn wait_exit(&self) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait_for_up_to(PATIENCE, &what, || async {
            self.exited()?.ok_or_else(|| anyhow!("it still runs"))
        })
        .await
    }

    /// Its share of the machine's memory in bytes: shared pages are divided among their users.
    pub fn memory(&self) -> Result<u64> {
        usage::memory(self.pid)
    }

    /// The most memory that it ever had at once, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        usage::peak_memory(self.pid)
    }

    /// Processor time that it has used so far.
    pub fn processor_time(&self) -> Result<Duration> {
        usage::processor_time(self.pid)
    }

    /// Stops it in its tracks; connections to it stay open and get no answer.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<()> {
        self.signal("TERM")
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().expect("no holder panics");
        child
            .kill()
            .and_then(|()| child.wait())
            .with_context(|| format!("failed to kill {}", self.name))?;
        Ok(())
    }

    fn signal(&self, signal: &str) -> Result<()> {
        self.check_running()?;
        // The shell's own `kill`: the program of that name is not on every machine.
        let status = std::process::Command::new("sh")
            .args([
                "-c",
                r#"kill -"$1" "$2""#,
                "kill",
                signal,
                &self.pid.to_string(),
            ])
            .status()
            .context("failed to start sh")?;
        if !status.success() {
            bail!("failed to send SIG{signal} to {}", self.name);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.kill();
    }
}

/// The last lines of a log, for messages.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// One of our own binaries: `kube-bind-backend`, `konnector`, `kubectl-bind`.
pub fn own_binary(name: &str) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = match std::env::var_os(BINARIES_VARIABLE) {
        Some(dir) => vec![PathBuf::from(dir)],
        // Tests lie in target/<profile>/deps, programs in target/<profile>.
        None => std::env::current_exe()
            .context("failed to find the running program")?
            .ancestors()
            .skip(1)
            .take(2)
            .map(Path::to_owned)
            .collect(),
    };
    candidates
        .iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!("{name} is not built: run `cargo build --workspace --bins` (`make test` does)")
        })
}
