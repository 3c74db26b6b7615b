//! A Kubernetes control plane without nodes: etcd, kube-apiserver, kube-controller-manager.

mod audit;
mod flags;
mod kubeconfig;

pub use audit::{Audit, AuditedRequest, Mark, Tail, count_by_kind};

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use kube_bind_runtime::client;
use tokio::io::AsyncWriteExt;

use crate::ports::Port;
use crate::process::{Launch, Process};
use crate::rundir::RunDir;
use crate::tls::Certificates;
use crate::toolchain::{self, Kubernetes};
use crate::wait::wait_for;

/// Name of the user who may do everything.
pub const ADMIN: &str = "admin";

/// A user that the API server knows by a static token.
#[derive(Debug, Clone)]
pub struct User {
    /// User name as RBAC sees it.
    pub name: String,
    /// Its groups.
    pub groups: Vec<String>,
}

impl User {
    /// Exactly what a pod with this ServiceAccount would be.
    pub fn service_account(namespace: &str, name: &str) -> User {
        User {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ],
        }
    }
}

/// What a control plane has beside the usual.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Users beside [`ADMIN`].
    pub users: Vec<User>,
    /// Without it nothing is garbage collected and namespaces stay in `Terminating`.
    pub without_controller_manager: bool,
    /// Off by default: it costs processor time, and one test does not starve another client of itself.
    pub priority_and_fairness: bool,
}

/// A running control plane. Dropping it ends its processes and removes its data.
pub struct ControlPlane {
    name: String,
    programs: Kubernetes,
    certificates: Certificates,
    server: String,
    flags: flags::Flags,
    client: Client,
    http: reqwest::Client,
    admin_token: String,
    // In the order in which they must go: data last.
    controller_manager: Option<Process>,
    api_server: Mutex<Option<std::sync::Arc<Process>>>,
    etcd: Mutex<Option<std::sync::Arc<Process>>>,
    _ports: [Port; 3],
    dir: RunDir,
}

impl ControlPlane {
    /// Starts one and waits until it is ready.
    pub async fn start(name: &str, options: Options) -> Result<ControlPlane> {
        let programs = tokio::task::spawn_blocking(toolchain::kubernetes).await??;
        let dir = RunDir::create(name)?;
        let certificates = Certificates::generate(&dir.join("pki"), name)?;
        let ports = [Port::claim()?, Port::claim()?, Port::claim()?];
        let server = format!("https://{}", ports[0].address());
        let admin = User {
            name: ADMIN.to_owned(),
            groups: vec!["system:masters".to_owned()],
        };
        let users: Vec<User> = std::iter::once(admin)
            .chain(options.users.iter().cloned())
            .collect();
        let tokens = kubeconfig::write_all(dir.path(), name, &server, &certificates.ca, &users)?;
        let flags = flags::Flags::new(dir.path(), &certificates, &ports, &options)?;

        let etcd = Launch::new("etcd", &programs.etcd)
            .args(&flags.etcd)
            .start(dir.path())?;
        let api_server = Launch::new("kube-apiserver", &programs.api_server)
            .args(&flags.api_server)
            .start(dir.path())?;

        let http = http_client(&certificates.ca)?;
        let client = client_of(&kubeconfig::path(dir.path(), ADMIN)).await?;
        let mut plane = ControlPlane {
            name: name.to_owned(),
            programs,
            certificates,
            server,
            flags,
            client,
            http,
            admin_token: tokens[0].clone(),
            controller_manager: None,
            api_server: Mutex::new(Some(std::sync::Arc::new(api_server))),
            etcd: Mutex::new(Some(std::sync::Arc::new(etcd))),
            _ports: ports,
            dir,
        };
        plane.wait_ready().await?;
        if !options.without_controller_manager {
            let launch = Launch::new(
                "kube-controller-manager",
                &plane.programs.controller_manager,
            );
            plane.controller_manager = Some(
                launch
                    .args(&plane.flags.controller_manager)
                    .start(plane.dir.path())?,
            );
        }
        plane.wait_for_system_namespaces().await?;
        Ok(plane)
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client of the administrator.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client of one of [`Options::users`].
    pub async fn client_for(&self, user: &str) -> Result<Client> {
        client_of(&self.kubeconfig(user)?).await
    }

    /// Kubeconfig file of a user.
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        let path = kubeconfig::path(self.dir.path(), user);
        if !path.is_file() {
            bail!("{} has no user {user}", self.name);
        }
        Ok(path)
    }

    /// URL of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// File with the certificate authority of the API server.
    pub fn ca_file(&self) -> &Path {
        &self.certificates.ca
    }

    /// Directory with its logs and data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The `kubectl` of this version.
    pub fn kubectl_program(&self) -> &Path {
        &self.programs.kubectl
    }

    /// Ids of all its processes.
    pub fn pids(&self) -> Vec<u32> {
        let api_server = self
            .api_server
            .lock()
            .expect("no holder panics")
            .as_ref()
            .map(|process| process.pid());
        let manager = self.controller_manager.as_ref().map(Process::pid);
        [
            self.etcd().ok().map(|process| process.pid()),
            api_server,
            manager,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Reader of the API server's audit log.
    pub fn audit(&self) -> Audit {
        Audit::new(self.flags.audit_log.clone())
    }

    /// Runs `kubectl` as the administrator and gives what it printed.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with_input(args, "").await
    }

    /// Runs `kubectl` with a document on its standard input, such as for `apply -f -`.
    pub async fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = tokio::process::Command::new(&self.programs.kubectl)
            .arg("--kubeconfig")
            .arg(self.kubeconfig(ADMIN)?)
            .args(args)
            // The discovery cache must not outlive the cluster whose port it is named after.
            .env("KUBECACHEDIR", self.dir.join("kubectl-cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start kubectl")?;
        let mut stdin = child.stdin.take().expect("standard input was asked for");
        stdin
            .write_all(input.as_bytes())
            .await
            .context("failed to write to kubectl")?;
        drop(stdin);
        let output = child
            .wait_with_output()
            .await
            .context("failed to wait for kubectl")?;
        if !output.status.success() {
            bail!(
                "kubectl {args:?} failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The API server stops answering but keeps its connections.
    pub fn pause(&self) -> Result<()> {
        self.api_server()?.pause()
    }

    /// Ends [`Self::pause`].
    pub fn resume(&self) -> Result<()> {
        self.api_server()?.resume()
    }

    /// The API server is gone: connections break and new ones are refused.
    pub fn kill_api_server(&self) -> Result<()> {
        let process = self.api_server.lock().expect("no holder panics").take();
        process.context("the API server does not run")?.kill()
    }

    /// Starts the API server again on the same address, with the same data, and waits for it.
    pub async fn start_api_server(&self) -> Result<()> {
        let launch =
            Launch::new("kube-apiserver", &self.programs.api_server).args(&self.flags.api_server);
        let process = launch.start(self.dir.path())?;
        *self.api_server.lock().expect("no holder panics") = Some(std::sync::Arc::new(process));
        self.wait_ready().await
    }

    /// etcd is gone; the API server stays and fails.
    pub fn kill_etcd(&self) -> Result<()> {
        let process = self.etcd.lock().expect("no holder panics").take();
        process.context("etcd does not run")?.kill()
    }

    /// Starts etcd again on the same addresses, with the data that are there.
    pub fn start_etcd(&self) -> Result<()> {
        let launch = Launch::new("etcd", &self.programs.etcd).args(&self.flags.etcd);
        let process = launch.start(self.dir.path())?;
        *self.etcd.lock().expect("no holder panics") = Some(std::sync::Arc::new(process));
        Ok(())
    }

    /// Keeps the present data as `name`, for [`Self::restore`]. Everything stands still meanwhile.
    pub async fn back_up(&self, name: &str) -> Result<()> {
        self.with_data_at_rest(|data, backups| copy_dir(data, &backups.join(name)))
            .await
    }

    /// The data are those of a backup again, as after an accident.
    pub async fn restore(&self, name: &str) -> Result<()> {
        self.with_data_at_rest(|data, backups| {
            std::fs::remove_dir_all(data).context("failed to remove the data")?;
            copy_dir(&backups.join(name), data)
        })
        .await
    }

    async fn with_data_at_rest(&self, act: impl Fn(&Path, &Path) -> Result<()>) -> Result<()> {
        self.kill_api_server()?;
        self.kill_etcd()?;
        act(&self.dir.join("etcd"), &self.dir.join("backups"))?;
        self.start_etcd()?;
        self.start_api_server().await
    }

    /// Memory of the API server, etcd and the controller manager together, in bytes.
    pub fn memory(&self) -> Result<u64> {
        let manager = self
            .controller_manager
            .as_ref()
            .map_or(Ok(0), Process::memory)?;
        Ok(self.api_server()?.memory()? + self.etcd()?.memory()? + manager)
    }

    /// Waits until the API server says that it is ready.
    pub async fn wait_ready(&self) -> Result<()> {
        let url = format!("{}/readyz", self.server);
        let (etcd, api_server) = (self.etcd()?, self.api_server()?);
        let probe = || async {
            if let Err(ended) = etcd
                .check_running()
                .and_then(|()| api_server.check_running())
            {
                return Ok(Err(ended));
            }
            let request = self
                .http
                .get(&url)
                .bearer_auth(&self.admin_token)
                .timeout(Duration::from_secs(5));
            let status = request.send().await?.status();
            if status.is_success() {
                Ok(Ok(()))
            } else {
                Err(anyhow::anyhow!("/readyz answered {status}"))
            }
        };
        wait_for(&format!("the API server of {}", self.name), probe).await?
    }

    async fn wait_for_system_namespaces(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        for name in ["default", "kube-system"] {
            wait_for(&format!("namespace {name}"), || namespaces.get(name)).await?;
        }
        Ok(())
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    fn etcd(&self) -> Result<std::sync::Arc<Process>> {
        let etcd = self.etcd.lock().expect("no holder panics").clone();
        etcd.context("etcd does not run")
    }

    fn api_server(&self) -> Result<std::sync::Arc<Process>> {
        self.api_server
            .lock()
            .expect("no holder panics")
            .clone()
            .context("the API server does not run")
    }
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("failed to copy {} to {}", from.display(), to.display());
    std::fs::create_dir_all(to).with_context(failed)?;
    for entry in std::fs::read_dir(from).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target).with_context(failed)?;
        }
    }
    Ok(())
}

/// A client from a kubeconfig file. Like every client of Kubernetes it tries again when an API server
/// asks for that: one that takes in a changed CRD answers 429 for a second.
pub async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let parsed = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("failed to read {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("failed to use {}", kubeconfig.display()))?;
    // The connections of our own programs: kube's wait tens of milliseconds before they send the end of
    // what does not fit into one packet, and a measurement would show that.
    let options = client::Options {
        read_timeout: None,
        retry: true,
        ..client::Options::new("kube-bind-e2e")
    };
    let transport = client::from_config(config, &options).context("failed to make a client")?;
    Ok(transport.client())
}

fn http_client(ca: &Path) -> Result<reqwest::Client> {
    let pem = std::fs::read(ca).with_context(|| format!("failed to read {}", ca.display()))?;
    let certificate =
        reqwest::Certificate::from_pem(&pem).context("the authority's certificate is not PEM")?;
    let builder = reqwest::Client::builder()
        .tls_certs_only([certificate])
        .no_proxy();
    builder.build().context("failed to make an HTTP client")
}
