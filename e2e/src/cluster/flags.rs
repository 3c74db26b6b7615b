//! Command lines of the three processes. Two cores run several control planes beside everything
//! else, so whatever no test looks at is off.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{ADMIN, Options, kubeconfig};
use crate::ports::Port;
use crate::tls::Certificates;

/// Controllers that do what tests look at; the rest works on pods and nodes, of which there are none.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
    serviceaccount-token-controller,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,\
    validatingadmissionpolicy-status-controller";

/// Requests that the control plane makes of itself say nothing about the programs under test.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: None
  users: [\"system:apiserver\"]
- level: Metadata
";

/// Arguments per process.
#[derive(Debug)]
pub(super) struct Flags {
    pub etcd: Vec<String>,
    pub api_server: Vec<String>,
    pub controller_manager: Vec<String>,
    pub audit_log: PathBuf,
}

impl Flags {
    pub(super) fn new(
        dir: &Path,
        certificates: &Certificates,
        ports: &[Port; 3],
        options: &Options,
    ) -> Result<Flags> {
        let [api_port, etcd_port, peer_port] = ports;
        let etcd_url = format!("http://{}", etcd_port.address());
        let peer_url = format!("http://{}", peer_port.address());
        let audit_policy = dir.join("audit-policy.yaml");
        std::fs::write(&audit_policy, AUDIT_POLICY).context("failed to write the audit policy")?;
        let audit_log = dir.join("audit.log");
        let etcd = vec![
            format!("--data-dir={}", dir.join("etcd").display()),
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        let mut api_server = vec![
            format!("--etcd-servers={etcd_url}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={}", api_port.number()),
            format!("--cert-dir={}", dir.join("pki").display()),
            format!(
                "--tls-cert-file={}",
                certificates.server_certificate.display()
            ),
            format!(
                "--tls-private-key-file={}",
                certificates.server_key.display()
            ),
            format!(
                "--token-auth-file={}",
                kubeconfig::tokens_file(dir).display()
            ),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!(
                "--service-account-key-file={}",
                certificates.service_account_key.display()
            ),
            format!(
                "--service-account-signing-key-file={}",
                certificates.service_account_key.display()
            ),
            "--authorization-mode=RBAC".to_owned(),
            format!("--audit-policy-file={}", audit_policy.display()),
            format!("--audit-log-path={}", audit_log.display()),
            "--audit-log-maxsize=4096".to_owned(),
            "--profiling=false".to_owned(),
            "--shutdown-delay-duration=0s".to_owned(),
        ];
        if !options.priority_and_fairness {
            api_server.push("--enable-priority-and-fairness=false".to_owned());
        }
        let admin = kubeconfig::path(dir, ADMIN);
        let controller_manager = vec![
            format!("--kubeconfig={}", admin.display()),
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
            format!("--controllers={CONTROLLERS}"),
            format!(
                "--service-account-private-key-file={}",
                certificates.service_account_key.display()
            ),
            format!("--root-ca-file={}", certificates.ca.display()),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
            "--concurrent-gc-syncs=4".to_owned(),
            "--profiling=false".to_owned(),
        ];
        Ok(Flags {
            etcd,
            api_server,
            controller_manager,
            audit_log,
        })
    }
}
