//! What the measurements were made on.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bed::Bed;

/// Cores, memory and versions.
pub async fn describe(bed: &Bed) -> Result<Value> {
    let version = bed.consumer.plane.client().apiserver_version().await?;
    let cores = std::thread::available_parallelism().context("failed to count cores")?;
    Ok(json!({
        "cores": cores.get(),
        "processor": line("/proc/cpuinfo", "model name"),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "kubernetes": version.git_version,
        "shared_with": "both control planes (API server, etcd, controller manager), backend, benchmark",
    }))
}

fn line(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found
        .unwrap_or_default()
        .trim_start_matches([' ', '\t', ':'])
        .to_owned()
}
