//! Runs the real binary against a scripted provider and a scripted browser.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub const TOKEN: &str = "access-token-that-nobody-may-see";

/// A provider, a home directory, and the plugin between them.
pub struct World {
    pub provider: MockServer,
    pub home: TempDir,
}

/// What a run came to.
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A login that waits for the browser.
pub struct Waiting {
    child: Child,
    stderr: BufReader<tokio::process::ChildStderr>,
    seen: String,
    pub address: Url,
}

impl World {
    pub async fn new() -> Self {
        let provider = MockServer::start().await;
        let world = Self {
            provider,
            home: tempfile::tempdir().unwrap(),
        };
        let description = json!({
            "kind": "BindingProvider", "apiVersion": "v1alpha2", "version": "v0.9.0", "providerPrettyName": "Example Corp",
            "authenticationMethods": [{"method": "OAuth2CodeGrant", "oauth2CodeGrant": {
                "authenticatedURL": format!("{}/api/authorize", world.url())}}],
        });
        world.answer("GET", "/api/exports", 200, description).await;
        world
    }

    /// Somebody is logged in, and may bind these.
    pub async fn offering(templates: &[&str]) -> Self {
        let world = Self::new().await;
        world.logged_in(FUTURE);
        let items: Vec<Value> = templates.iter().map(|name| template(name)).collect();
        world
            .answer("GET", "/api/templates", 200, json!({"items": items}))
            .await;
        world
    }

    pub fn url(&self) -> String {
        self.provider.uri()
    }

    pub async fn answer(&self, verb: &str, at: &str, status: u16, body: Value) {
        let response = ResponseTemplate::new(status).set_body_json(body);
        Mock::given(method(verb))
            .and(path(at))
            .respond_with(response)
            .mount(&self.provider)
            .await;
    }

    pub async fn requests(&self, at: &str) -> Vec<Request> {
        let all = self.provider.received_requests().await.unwrap();
        all.into_iter()
            .filter(|request| request.url.path() == at)
            .collect()
    }

    pub fn store(&self) -> PathBuf {
        self.home.path().join(".kube-bind").join("config")
    }

    /// As if somebody had logged in before.
    pub fn logged_in(&self, expires_at: &str) {
        std::fs::create_dir_all(self.store().parent().unwrap()).unwrap();
        let url = self.url();
        let mut store =
            json!({"apiVersion": "v1", "kind": "Config", "current": url, "servers": {}});
        store["servers"][&url] = json!({"url": url, "accessToken": TOKEN, "tokenType": "Bearer", "expiresAt": expires_at});
        std::fs::write(self.store(), store.to_string()).unwrap();
    }

    /// As if the login to this server were the only one, and not the current one.
    pub fn logged_in_elsewhere(&self, url: &str) {
        let entry =
            json!({"url": url, "accessToken": TOKEN, "tokenType": "Bearer", "expiresAt": FUTURE});
        let store = json!({"apiVersion": "v1", "kind": "Config", "servers": {url: entry}});
        std::fs::write(self.store(), store.to_string()).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-bind"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub async fn run(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().await.unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&self.url(), "<provider>")
        };
        Outcome {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Starts something that logs in, and waits for the address that it prints.
    pub async fn start_login(&self, args: &[&str]) -> Waiting {
        let mut child = self.command(args).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(
                stderr.read_line(&mut line).await.unwrap(),
                0,
                "no address was printed: {seen}"
            );
            seen.push_str(&line);
            if let Ok(address) = Url::parse(line.trim()) {
                break address;
            }
        };
        Waiting {
            child,
            stderr,
            seen,
            address,
        }
    }
}

impl Waiting {
    pub fn parameter(&self, key: &str) -> String {
        self.address
            .query_pairs()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.into_owned())
            .unwrap_or_default()
    }

    /// What the browser gets when it comes back.
    pub async fn come_back(&self, parameters: &[(&str, &str)]) -> (u16, String) {
        get(Url::parse_with_params(&self.parameter("redirect_url"), parameters).unwrap()).await
    }

    pub async fn end(mut self) -> Outcome {
        let mut stdout = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .await
            .unwrap();
        self.stderr.read_to_string(&mut self.seen).await.unwrap();
        let code = self.child.wait().await.unwrap().code().unwrap();
        Outcome {
            code,
            stdout,
            stderr: self.seen,
        }
    }
}

pub async fn get(url: Url) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

pub fn template(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}")},
        "spec": {
            "description": format!("The {name} of Example Corp"),
            "scope": "Namespaced",
            "resources": [{"group": "example.org", "resource": name, "versions": ["v1"]}],
            "permissionClaims": [{"group": "", "resource": "secrets", "selector": {"labelSelector": {"matchLabels": {"app": name}}}}],
            "unknown": "kept",
        },
    })
}

pub fn error(code: &str, message: &str) -> Value {
    json!({"kind": "Error", "apiVersion": "kube-bind.io/v1alpha2", "message": message, "code": code})
}

pub const FUTURE: &str = "2999-01-01T00:00:00Z";
