//! A consumer's side: a control plane, the plugin run through a real `kubectl`, and the konnector
//! with exactly the rights that the plugin granted to its ServiceAccount.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

use crate::browser::{Browser, Page, Visit};
use crate::cluster::{ADMIN, ControlPlane, Options, User};
use crate::idp::Person;
use crate::ports::Port;
use crate::process::{Launch, Process, own_binary};
use crate::wait::wait_for;

const NAMESPACE: &str = "kube-bind";
const KONNECTOR: &str = "konnector";
/// The line of the plugin that a person would click on.
const LOGIN_URL: &str = r"(https?://\S+/api/authorize\?\S+)";

/// A running consumer.
pub struct Consumer {
    // Ends before the cluster that it works on.
    konnector: Mutex<Option<Arc<Process>>>,
    /// Its Kubernetes.
    pub plane: Arc<ControlPlane>,
    health: Port,
    user: User,
    /// Address of the API server for the konnector, if it is another one.
    server: Mutex<Option<String>>,
    /// Home directory of the person who binds: the plugin keeps its tokens there.
    home: PathBuf,
    /// First on their PATH: `kubectl` and the plugin.
    path: PathBuf,
    http: reqwest::Client,
}

/// A finished run of the plugin.
#[derive(Debug)]
pub struct PluginRun {
    /// How it ended.
    pub status: ExitStatus,
    /// Its results.
    pub stdout: String,
    /// What it said to the person.
    pub stderr: String,
    /// What the person's browser requested.
    pub visits: Vec<Visit>,
    /// Where the browser ended up, if it was used.
    pub page: Option<Page>,
}

impl PluginRun {
    /// Fails, with everything it said, unless it ended with status 0.
    pub fn success(self) -> Result<PluginRun> {
        if !self.status.success() {
            crate::rundir::keep_all();
            bail!(
                "kubectl bind failed ({}):\n{}\n{}",
                self.status,
                self.stderr,
                self.stdout
            );
        }
        Ok(self)
    }
}

impl Consumer {
    /// Starts a consumer cluster; nothing of ours is in it yet.
    pub async fn start(name: &str) -> Result<Consumer> {
        let options = Options {
            users: vec![Self::user()],
            ..Default::default()
        };
        let plane = ControlPlane::start(name, options).await?;
        Self::on(Arc::new(plane))
    }

    /// The user that a cluster needs to become a consumer's.
    pub fn user() -> User {
        User::service_account(NAMESPACE, KONNECTOR)
    }

    /// A consumer whose cluster is something else already; it has to have [`Self::user`].
    pub fn on(plane: Arc<ControlPlane>) -> Result<Consumer> {
        let home = plane.dir().join("home");
        let path = plane.dir().join("bin");
        for dir in [&home, &path] {
            std::fs::create_dir_all(dir)
                .with_context(|| format!("failed to create {}", dir.display()))?;
        }
        for (name, program) in [
            ("kubectl", plane.kubectl_program().to_owned()),
            ("kubectl-bind", own_binary("kubectl-bind")?),
        ] {
            std::os::unix::fs::symlink(program, path.join(name))
                .with_context(|| format!("failed to link {name}"))?;
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .context("failed to make an HTTP client")?;
        let (konnector, health) = (Mutex::new(None), Port::claim()?);
        Ok(Consumer {
            plane,
            konnector,
            health,
            user: Self::user(),
            server: Mutex::new(None),
            home,
            path,
            http,
        })
    }

    /// `kubectl bind URL` as `person`, through sign-in and consent, until the binding works. Where the
    /// plugin deploys the konnector, this starts it, as a node would.
    pub async fn bind(&self, url: &str, person: &Person) -> Result<PluginRun> {
        self.bind_reporting(url, person, &[], |_| {}).await
    }

    /// [`Self::bind`] with further arguments, telling `say` which forms are filled in.
    pub async fn bind_reporting(
        &self,
        url: &str,
        person: &Person,
        args: &[&str],
        say: impl FnMut(&str),
    ) -> Result<PluginRun> {
        let mut all = vec!["bind", url, "--skip-browser", "--yes"];
        all.extend_from_slice(args);
        let plugin = self.plugin(&all)?;
        tokio::select! {
            run = self.attend(plugin, person, say) => run,
            // Ends with the plugin at the latest: a failed bind need not deploy anything.
            failed = self.run_konnector_once_deployed() => failed.map(|never| match never {}),
        }
    }

    /// `kubectl bind login URL` as `person`.
    pub async fn login(&self, url: &str, person: &Person) -> Result<PluginRun> {
        self.attend(
            self.plugin(&["bind", "login", url, "--skip-browser"])?,
            person,
            |_| {},
        )
        .await
    }

    /// Runs `kubectl` with the plugin on the PATH, for commands that need no browser.
    pub async fn run_plugin(&self, args: &[&str]) -> Result<PluginRun> {
        let plugin = self.plugin(args)?;
        let status = plugin.wait_exit().await?;
        Ok(finished(&plugin, status, Vec::new(), None))
    }

    /// Starts `kubectl` with the plugin on the PATH, as the cluster's administrator.
    pub fn plugin(&self, args: &[&str]) -> Result<Process> {
        let logs = self
            .plane
            .dir()
            .join(format!("plugin-{:06x}", rand::random_range(0..0x0100_0000)));
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("failed to create {}", logs.display()))?;
        Launch::new("plugin", self.path.join("kubectl"))
            .args(args)
            .env("PATH", format!("{}:/usr/bin:/bin", self.path.display()))
            .env("HOME", &self.home)
            .env("KUBECONFIG", self.plane.kubeconfig(ADMIN)?)
            .start(&logs)
    }

    /// Directory with the `kubectl` and the plugin that the person has on their PATH.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Home directory of the person who binds.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// From its next start on, the konnector reaches its own API server at this address.
    pub fn reach_through(&self, url: &str) {
        *self.server.lock().expect("no holder panics") = Some(url.to_owned());
    }

    fn kubeconfig(&self) -> Result<PathBuf> {
        let usual = self.plane.kubeconfig(&self.user.name)?;
        let Some(server) = self.server.lock().expect("no holder panics").clone() else {
            return Ok(usual);
        };
        let text = std::fs::read_to_string(&usual).context("failed to read the kubeconfig")?;
        let path = self.plane.dir().join("konnector-through-proxy.kubeconfig");
        std::fs::write(&path, text.replace(self.plane.server(), &server))
            .context("failed to write the kubeconfig")?;
        Ok(path)
    }

    /// Starts the konnector, under the rights that its ServiceAccount has at the moment.
    pub fn start_konnector(&self) -> Result<Arc<Process>> {
        self.keep_konnector(self.launch_konnector()?)
    }

    /// The konnector's command line, for tests that start it with further arguments.
    pub fn launch_konnector(&self) -> Result<Launch> {
        Ok(Launch::new("konnector", own_binary("konnector")?)
            .arg("--kubeconfig")
            .arg(self.kubeconfig()?)
            .args(["--server-address", &self.health.address()])
            .env("POD_NAMESPACE", NAMESPACE)
            .env("POD_NAME", "konnector-0"))
    }

    /// Starts what [`Self::launch_konnector`] prepared as this consumer's konnector.
    pub fn keep_konnector(&self, launch: Launch) -> Result<Arc<Process>> {
        let process = Arc::new(launch.start(self.plane.dir())?);
        *self.konnector.lock().expect("no holder panics") = Some(process.clone());
        Ok(process)
    }

    /// A client with the rights of the konnector.
    pub async fn konnector_client(&self) -> Result<kube::Client> {
        self.plane.client_for(&self.user.name).await
    }

    /// The file with the konnector's rights.
    pub fn konnector_kubeconfig(&self) -> Result<PathBuf> {
        self.plane.kubeconfig(&self.user.name)
    }

    /// Waits until the konnector says that it is ready.
    pub async fn wait_konnector_ready(&self) -> Result<()> {
        self.konnector()?
            .wait_ready(
                &self.http,
                &format!("http://{}/readyz", self.health.address()),
            )
            .await
    }

    /// What the konnector shows at `/metrics`.
    pub async fn metrics(&self) -> Result<String> {
        let url = format!("http://{}/metrics", self.health.address());
        let answer = self.http.get(url).send().await;
        let answer = answer.context("failed to ask the konnector")?;
        answer.text().await.context("failed to read its metrics")
    }

    /// The konnector's process.
    pub fn konnector(&self) -> Result<Arc<Process>> {
        self.konnector
            .lock()
            .expect("no holder panics")
            .clone()
            .context("the konnector does not run")
    }

    /// Ends the konnector at once.
    pub fn kill_konnector(&self) -> Result<()> {
        let process = self.konnector.lock().expect("no holder panics").take();
        process.context("the konnector does not run")?.kill()
    }

    /// Asks the konnector to end and waits until it has.
    pub async fn stop_konnector(&self) -> Result<()> {
        let process = self
            .konnector
            .lock()
            .expect("no holder panics")
            .take()
            .context("the konnector does not run")?;
        process.terminate()?;
        process.wait_exit().await?;
        Ok(())
    }

    /// Does not return while the konnector runs.
    async fn run_konnector_once_deployed(&self) -> Result<Infallible> {
        let deployments: Api<Deployment> = Api::namespaced(self.plane.client(), NAMESPACE);
        wait_for("the konnector's Deployment", || deployments.get(KONNECTOR)).await?;
        let process = match self.konnector() {
            Ok(process) => process,
            Err(_) => self.start_konnector()?,
        };
        loop {
            process.check_running()?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Reads the plugin's URL, is the person at the browser, and waits for the plugin's end.
    async fn attend(
        &self,
        plugin: Process,
        person: &Person,
        say: impl FnMut(&str),
    ) -> Result<PluginRun> {
        let mut browser = Browser::new()?;
        // It may end without asking: with a stored login, or with an error that the caller wants to see.
        let page = match plugin.line_or_end(LOGIN_URL).await? {
            Some(url) => Some(browser.sign_in(&url, person, say).await?),
            None => None,
        };
        let status = plugin.wait_exit().await?;
        Ok(finished(&plugin, status, browser.visits().to_vec(), page))
    }
}

fn finished(
    plugin: &Process,
    status: ExitStatus,
    visits: Vec<Visit>,
    page: Option<Page>,
) -> PluginRun {
    PluginRun {
        status,
        stdout: plugin.stdout(),
        stderr: plugin.log(),
        visits,
        page,
    }
}
