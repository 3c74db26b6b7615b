//! The provider's side: a control plane with our CRDs, the operator behind the offered service, the
//! offering, the identity provider and the backend.

mod operator;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::{ADMIN, ControlPlane, Options};
use crate::idp::{IdentityProvider, Person};
use crate::ports::Port;
use crate::process::{Launch, Process, own_binary};
use crate::rundir::RunDir;
pub use operator::{ISSUER, TEMPLATE};

/// Group of the identity provider whose members may bind.
pub const CONSUMERS: &str = "consumers";
const BACKEND_NAMESPACE: &str = "kube-bind";

/// How a provider differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct ProviderOptions {
    /// Further arguments of the backend; a flag given twice must be one that takes the last value.
    pub backend_args: Vec<String>,
    /// No operator and no offering: the catalogue is empty.
    pub without_operator: bool,
    /// The backend is left to the test.
    pub without_backend: bool,
}

/// A running provider.
pub struct Provider {
    // These end before the cluster that they work on.
    backend: Mutex<Option<Arc<Process>>>,
    operator: Option<Process>,
    /// Its Kubernetes.
    pub plane: Arc<ControlPlane>,
    /// Where its users sign in.
    pub identity_provider: IdentityProvider,
    /// A user who may bind.
    pub alice: Person,
    /// Another user who may bind.
    pub bob: Person,
    /// A user who can sign in but may not bind.
    pub mallory: Person,
    http: reqwest::Client,
    backend_args: Mutex<Vec<String>>,
    external: Mutex<Option<String>>,
    env: Mutex<Vec<(String, String)>>,
    api: Port,
    ops: Port,
    dir: RunDir,
    _metrics: Port,
}

/// Where people sign in, and the address that the backend has to have for that.
struct Login {
    api: Port,
    identity_provider: IdentityProvider,
    people: [Person; 3],
}

impl Login {
    async fn start() -> Result<Login> {
        let api = Port::claim()?;
        let people = [
            Person::new("alice", &[CONSUMERS]),
            Person::new("bob", &[CONSUMERS]),
            Person::new("mallory", &["others"]),
        ];
        let callback = format!("http://{}/api/callback", api.address());
        let identity_provider = IdentityProvider::start(&callback, &people).await?;
        Ok(Login {
            api,
            identity_provider,
            people,
        })
    }
}

impl Provider {
    /// Starts everything and waits until consumers can come.
    pub async fn start(options: ProviderOptions) -> Result<Provider> {
        Self::start_reporting(options, &|_| {}).await
    }

    /// [`Self::start`], telling `say` what is ready.
    pub async fn start_reporting(
        options: ProviderOptions,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Provider> {
        let plane = ControlPlane::start("provider-cluster", Options::default());
        let (plane, login) = tokio::try_join!(plane, Login::start())?;
        Self::assemble(Arc::new(plane), login, options, say).await
    }

    /// Makes a provider of a cluster that is something else already.
    pub async fn start_on(plane: Arc<ControlPlane>, options: ProviderOptions) -> Result<Provider> {
        Self::assemble(plane, Login::start().await?, options, &|_| {}).await
    }

    async fn assemble(
        plane: Arc<ControlPlane>,
        login: Login,
        options: ProviderOptions,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Provider> {
        let Login {
            api,
            identity_provider,
            people: [alice, bob, mallory],
        } = login;
        let dir = RunDir::create("provider")?;
        let (ops, metrics) = (Port::claim()?, Port::claim()?);
        say(&format!("provider control plane at {}", plane.server()));
        say(&format!(
            "identity provider at {}",
            identity_provider.issuer()
        ));
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .context("failed to make an HTTP client")?;
        let mut provider = Provider {
            plane,
            identity_provider,
            alice,
            bob,
            mallory,
            backend: Mutex::new(None),
            operator: None,
            http,
            backend_args: Mutex::new(options.backend_args),
            external: Mutex::new(None),
            env: Mutex::new(Vec::new()),
            api,
            ops,
            dir,
            _metrics: metrics,
        };
        provider.install_crds().await?;
        say("kube-bind's CRDs are installed");
        if !options.without_operator {
            provider.start_operator().await?;
            say("cert-manager runs, its issuer is ready, and certificates are on offer");
        }
        if !options.without_backend {
            provider.start_backend().await?;
            say(&format!("backend at {}", provider.url()));
        }
        Ok(provider)
    }

    /// From its next start on, the backend tells consumers this address of the API server.
    pub fn advertise(&self, url: &str) {
        *self.external.lock().expect("no holder panics") = Some(url.to_owned());
    }

    /// From its next start on, the backend has these environment variables too.
    pub fn set_env(&self, env: &[(&str, &str)]) {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        *self.env.lock().expect("no holder panics") = env.collect();
    }

    /// What a consumer types after `kubectl bind`.
    pub fn url(&self) -> String {
        format!("http://{}", self.api.address())
    }

    /// Where the backend's operator looks: `/healthz`, `/readyz`, `/metrics`.
    pub fn ops_url(&self) -> String {
        format!("http://{}", self.ops.address())
    }

    /// The backend's process.
    pub fn backend(&self) -> Result<Arc<Process>> {
        self.backend
            .lock()
            .expect("no holder panics")
            .clone()
            .context("the backend does not run")
    }

    /// Starts the backend and waits until it is ready.
    pub async fn start_backend(&self) -> Result<()> {
        let process = Arc::new(self.launch_backend()?.start(self.dir.path())?);
        *self.backend.lock().expect("no holder panics") = Some(process.clone());
        process
            .wait_ready(&self.http, &format!("{}/readyz", self.ops_url()))
            .await
    }

    /// Ends the backend and starts it with other further arguments.
    pub async fn restart_backend(&self, args: &[&str]) -> Result<()> {
        let process = self.backend.lock().expect("no holder panics").take();
        let process = process.context("the backend does not run")?;
        process.terminate()?;
        process.wait_exit().await?;
        *self.backend_args.lock().expect("no holder panics") =
            args.iter().map(|arg| (*arg).to_owned()).collect();
        self.start_backend().await
    }

    /// Ends the backend at once.
    pub fn kill_backend(&self) -> Result<()> {
        let process = self.backend.lock().expect("no holder panics").take();
        process.context("the backend does not run")?.kill()
    }

    /// The backend's command line, for tests that start it with other arguments.
    pub fn launch_backend(&self) -> Result<Launch> {
        let idp = &self.identity_provider;
        let external = self.external.lock().expect("no holder panics").clone();
        let mut launch = Launch::new("backend", own_binary("kube-bind-backend")?)
            .arg("--kubeconfig")
            .arg(self.plane.kubeconfig(ADMIN)?)
            .args([
                "--namespace",
                BACKEND_NAMESPACE,
                "--pretty-name",
                "Example Company",
            ])
            .args([
                "--listen-address",
                &self.api.address(),
                "--ops-address",
                &self.ops.address(),
            ])
            .args([
                "--oidc-issuer-url",
                idp.issuer(),
                "--oidc-issuer-client-id",
                idp.client_id(),
            ])
            .args([
                "--oidc-callback-url",
                &format!("{}/api/callback", self.url()),
            ])
            .args(["--oidc-allowed-groups", CONSUMERS])
            .args([
                "--external-address",
                external.as_deref().unwrap_or(self.plane.server()),
                "--external-ca-file",
            ])
            .arg(self.plane.ca_file())
            .args(&*self.backend_args.lock().expect("no holder panics"))
            .env("OIDC_CLIENT_SECRET", idp.client_secret());
        for (key, value) in &*self.env.lock().expect("no holder panics") {
            launch = launch.env(key, value);
        }
        Ok(launch)
    }

    /// Memory of the backend in bytes.
    pub fn backend_memory(&self) -> Result<u64> {
        self.backend()?.memory()
    }

    /// Directory with the logs of backend and operator.
    pub fn logs(&self) -> &std::path::Path {
        self.dir.path()
    }

    async fn install_crds(&self) -> Result<()> {
        install_crds(&self.plane).await?;
        self.plane
            .kubectl(&["create", "namespace", BACKEND_NAMESPACE])
            .await?;
        Ok(())
    }

    /// Applies objects as the provider's administrator.
    pub async fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.plane
            .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &list.to_string())
            .await?;
        Ok(())
    }
}

/// Installs our CRDs and waits until they are served.
pub(crate) async fn install_crds(plane: &ControlPlane) -> Result<()> {
    let crds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let path = crds
        .to_str()
        .context("the path of the sources is not text")?;
    plane
        .kubectl(&["apply", "--server-side", "-f", path])
        .await?;
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "-f",
        path,
    ];
    plane.kubectl(&established).await?;
    Ok(())
}

/// Has the object the condition `Ready=True`?
pub fn is_ready(object: &Value) -> bool {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions.is_some_and(|all| {
        all.iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
}
