//! The service behind the offering: an operator with an authority of its own, and the offering.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};

use super::Provider;
use crate::cluster::ADMIN;
use crate::objects::{api, certificates, wait_ready};
use crate::process::Launch;
use crate::toolchain;

/// Name of the offering.
pub const TEMPLATE: &str = "certificates";
/// The issuer that consumers' certificates name.
pub const ISSUER: &str = "company-ca";
const OPERATOR_NAMESPACE: &str = "cert-manager";
const ROOT: &str = "company-root";

/// The parts of the operator that a CA and its certificates need.
const OPERATOR_CONTROLLERS: &str = "clusterissuers,issuers,certificaterequests-approver,\
    certificaterequests-issuer-ca,certificaterequests-issuer-selfsigned,certificates-issuing,certificates-key-manager,\
    certificates-readiness,certificates-request-manager,certificates-revision-manager,certificates-trigger";

impl Provider {
    /// The certificate of the provider's own authority, as its operator keeps it.
    pub async fn authority(&self) -> Result<Vec<u8>> {
        let secrets: Api<Secret> = Api::namespaced(self.plane.client(), OPERATOR_NAMESPACE);
        let secret = secrets
            .get(ROOT)
            .await
            .context("failed to get the authority's Secret")?;
        let data = secret.data.unwrap_or_default();
        Ok(data
            .get("tls.crt")
            .context("the authority's Secret has no certificate")?
            .0
            .clone())
    }

    /// Starts it and waits until its issuer is ready and the offering made.
    pub(super) async fn start_operator(&mut self) -> Result<()> {
        let cert_manager = tokio::task::spawn_blocking(toolchain::cert_manager).await??;
        let mut objects = cert_manager.crds;
        for crd in &mut objects {
            if crd["metadata"]["name"] == "certificates.cert-manager.io" {
                crd["metadata"]["labels"] = json!({"kube-bind.io/exported": "true"});
            }
        }
        self.apply(&objects).await?;
        self.plane
            .kubectl(&[
                "wait",
                "--for=condition=Established",
                "--timeout=60s",
                "crd",
                "--all",
            ])
            .await?;
        let process = Launch::new("cert-manager", &cert_manager.controller)
            .arg("--kubeconfig")
            .arg(self.plane.kubeconfig(ADMIN)?)
            .arg("--leader-elect=false")
            .arg(format!("--cluster-resource-namespace={OPERATOR_NAMESPACE}"))
            .arg(format!(
                "--metrics-listen-address={}",
                self._metrics.address()
            ))
            .arg(format!("--controllers={OPERATOR_CONTROLLERS}"))
            .start(self.dir.path())?;
        self.operator = Some(process);
        // One after the other: an issuer that finds no Secret looks again only seconds later.
        self.apply(&root()).await?;
        wait_ready(&certificates(&self.plane, OPERATOR_NAMESPACE), ROOT).await?;
        self.apply(&offering()).await?;
        let kind = ("cert-manager.io", "v1", "ClusterIssuer");
        wait_ready(&api(self.plane.client(), kind, ""), ISSUER).await?;
        Ok(())
    }
}

fn issuer(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": name}, "spec": spec})
}

/// An authority that signs itself.
fn root() -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}}),
        issuer("self-signed", &json!({"selfSigned": {}})),
        json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": ROOT, "namespace": OPERATOR_NAMESPACE},
            "spec": {
                "isCA": true,
                "commonName": "Example Company root",
                "secretName": ROOT,
                "privateKey": {"algorithm": "ECDSA", "size": 256},
                "issuerRef": {"name": "self-signed", "kind": "ClusterIssuer", "group": "cert-manager.io"},
            },
        }),
    ]
}

/// The issuer that signs with it, and the offer.
fn offering() -> Vec<Value> {
    vec![
        issuer(ISSUER, &json!({"ca": {"secretName": ROOT}})),
        json!({
            "apiVersion": "kube-bind.io/v1alpha2",
            "kind": "APIServiceExportTemplate",
            "metadata": {"name": TEMPLATE},
            "spec": {
                "description": "TLS certificates of the company's own authority",
                "scope": "Namespaced",
                "resources": [{"group": "cert-manager.io", "resource": "certificates", "versions": ["v1"]}],
                "permissionClaims": [{
                    "group": "",
                    "resource": "secrets",
                    "selector": {"references": [{
                        "group": "cert-manager.io",
                        "resource": "certificates",
                        "versions": ["v1"],
                        "jsonPath": {"name": "spec.secretName"},
                    }]},
                }],
            },
        }),
    ]
}
