//! etcd, kube-apiserver, kube-controller-manager and kubectl.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;

use super::go::{self, Program};

/// Convention of other test environments: a directory with ready-made binaries.
const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

const PROGRAMS: [Program; 4] = [
    Program {
        name: "etcd",
        package: "go.etcd.io/etcd/server/v3",
    },
    Program {
        name: "kube-apiserver",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
    },
    Program {
        name: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    },
    Program {
        name: "kubectl",
        package: "k8s.io/kubernetes/cmd/kubectl",
    },
];

/// Without a version the server calls itself v0.0.0, and clients stumble over that.
const LDFLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.34.4 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=34 \
    -X k8s.io/component-base/version.gitCommit=0000000000000000000000000000000000000000 \
    -X k8s.io/component-base/version.gitTreeState=clean \
    -X k8s.io/component-base/version.buildDate=2026-01-01T00:00:00Z";

/// Paths of the programs.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// The store.
    pub etcd: PathBuf,
    /// The API server.
    pub api_server: PathBuf,
    /// Garbage collection, namespace deletion, service accounts and role aggregation.
    pub controller_manager: PathBuf,
    /// The command line that plugins are run by.
    pub kubectl: PathBuf,
}

/// Finds or builds them.
pub fn kubernetes() -> Result<Kubernetes> {
    static FOUND: Mutex<Option<Kubernetes>> = Mutex::new(None);
    let mut found = FOUND.lock().expect("no holder panics");
    if let Some(kubernetes) = &*found {
        return Ok(kubernetes.clone());
    }
    let assets = std::env::var_os(ASSETS_VARIABLE).map(PathBuf::from);
    let given = |name: &str| {
        assets
            .as_deref()
            .map(|dir| dir.join(name))
            .filter(|path| path.is_file())
    };
    // Built only when one is missing; the usual set of assets has no controller manager.
    let built = match PROGRAMS.iter().all(|program| given(program.name).is_some()) {
        true => None,
        false => Some(go::build("kubernetes", &PROGRAMS, LDFLAGS)?),
    };
    let path = |name: &str| {
        given(name).unwrap_or_else(|| built.as_deref().unwrap_or(Path::new("")).join(name))
    };
    let kubernetes = Kubernetes {
        etcd: path("etcd"),
        api_server: path("kube-apiserver"),
        controller_manager: path("kube-controller-manager"),
        kubectl: path("kubectl"),
    };
    Ok(found.insert(kubernetes).clone())
}
