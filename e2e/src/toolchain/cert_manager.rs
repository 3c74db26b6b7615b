//! cert-manager's controller and its CRDs: the real operator behind the offered service.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result};
use serde_json::Value;

use super::go::{self, Program};

const MODULE: &str = "github.com/cert-manager/cert-manager";
const PROGRAMS: [Program; 1] = [Program {
    name: "cert-manager-controller",
    package: "github.com/cert-manager/cert-manager/cmd/controller",
}];

/// The operator.
#[derive(Debug, Clone)]
pub struct CertManager {
    /// Its controller.
    pub controller: PathBuf,
    /// Its CRDs as published, without their chart's labels.
    pub crds: Vec<Value>,
}

/// Finds or builds it.
pub fn cert_manager() -> Result<CertManager> {
    static FOUND: Mutex<Option<CertManager>> = Mutex::new(None);
    let mut found = FOUND.lock().expect("no holder panics");
    if let Some(cert_manager) = &*found {
        return Ok(cert_manager.clone());
    }
    let dir = go::build("cert-manager", &PROGRAMS, "-s -w")?;
    let cert_manager = CertManager {
        controller: dir.join("cert-manager-controller"),
        crds: crds()?,
    };
    Ok(found.insert(cert_manager).clone())
}

fn crds() -> Result<Vec<Value>> {
    let dir = go::module_dir("cert-manager", MODULE)?.join("deploy/crds");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&dir)
        .with_context(|| format!("failed to list {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            let mut crd: Value = serde_saphyr::from_str(&text)
                .with_context(|| format!("failed to parse {}", path.display()))?;
            // The labels are chart templates, which only its chart can fill in.
            crd["metadata"]
                .as_object_mut()
                .context("a CRD without metadata")?
                .remove("labels");
            Ok(crd)
        })
        .collect()
}
