//! The identity provider process: `oidc-provider` with the users and the one client of a world.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::process::{Launch, Process};
use crate::rundir::RunDir;
use crate::toolchain;

/// A person who can sign in.
#[derive(Debug, Clone, Serialize)]
pub struct Person {
    /// User name, and `sub` of the tokens.
    pub name: String,
    /// What they type into the form.
    pub password: String,
    /// Claim `email`.
    pub email: String,
    /// Claim `groups`.
    pub groups: Vec<String>,
}

impl Person {
    /// A person of these groups with a random password.
    pub fn new(name: &str, groups: &[&str]) -> Person {
        Person {
            name: name.to_owned(),
            password: format!("{:016x}", rand::random::<u64>()),
            email: format!("{name}@example.org"),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        }
    }
}

/// A running identity provider.
#[derive(Debug)]
pub struct IdentityProvider {
    issuer: String,
    client_id: String,
    client_secret: String,
    process: Process,
    _dir: RunDir,
}

#[derive(Deserialize)]
struct Started {
    issuer: String,
}

impl IdentityProvider {
    /// Starts one that sends codes to `redirect_uri` only.
    pub async fn start(redirect_uri: &str, people: &[Person]) -> Result<IdentityProvider> {
        let program = tokio::task::spawn_blocking(toolchain::identity_provider).await??;
        let dir = RunDir::create("identity-provider")?;
        let (client_id, client_secret) = (
            "kube-bind".to_owned(),
            format!("{:032x}", rand::random::<u128>()),
        );
        let config = json!({
            "port": 0,
            "clients": [{"id": client_id, "secret": client_secret, "redirectUris": [redirect_uri]}],
            "users": people,
        });
        let path = dir.join("config.json");
        std::fs::write(&path, config.to_string()).context("failed to write the configuration")?;
        let process = Launch::new("identity-provider", &program.node)
            .arg(&program.server)
            .arg(&path)
            .start(dir.path())?;
        let line = process.wait_for_line(r#"^\{"issuer".*$"#).await?;
        let started: Started =
            serde_json::from_str(&line).with_context(|| format!("unexpected line {line:?}"))?;
        Ok(IdentityProvider {
            issuer: started.issuer,
            client_id,
            client_secret,
            process,
            _dir: dir,
        })
    }

    /// Its issuer URL.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The client's id.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The client's secret.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// The process, to look at its log or to stop it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
