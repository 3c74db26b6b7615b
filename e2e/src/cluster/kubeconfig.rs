//! Static tokens of the users of a control plane, and a kubeconfig file for each.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::User;

/// The API server's list of tokens.
pub(super) fn tokens_file(dir: &Path) -> PathBuf {
    dir.join("tokens.csv")
}

/// The kubeconfig of `user`.
pub(super) fn path(dir: &Path, user: &str) -> PathBuf {
    dir.join(format!(
        "{}.kubeconfig",
        user.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    ))
}

/// Writes all files; gives the token of each user in order.
pub(super) fn write_all(
    dir: &Path,
    name: &str,
    server: &str,
    ca: &Path,
    users: &[User],
) -> Result<Vec<String>> {
    let ca = std::fs::read(ca).with_context(|| format!("failed to read {}", ca.display()))?;
    let tokens: Vec<String> = users
        .iter()
        .map(|_| format!("{:032x}", rand::random::<u128>()))
        .collect();
    let mut csv = String::new();
    for (user, token) in users.iter().zip(&tokens) {
        csv += &format!(
            "{token},{0},{0},\"{1}\"\n",
            user.name,
            user.groups.join(",")
        );
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(&ca)}}],
            "users": [{"name": user.name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user.name}}],
        });
        let file = path(dir, &user.name);
        let text = serde_json::to_string_pretty(&document).context("failed to write JSON")?;
        std::fs::write(&file, text)
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    let file = tokens_file(dir);
    std::fs::write(&file, csv).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(tokens)
}
