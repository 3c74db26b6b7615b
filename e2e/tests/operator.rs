//! The operator behind the offered service works before anybody binds it.

use kube_bind_e2e::provider::{ISSUER, Provider, ProviderOptions, is_ready};
use kube_bind_e2e::{run, tls, wait_for};
use serde_json::{Value, json};

#[test]
fn a_certificate_of_the_providers_own_is_signed_by_its_authority() {
    run(async {
        let provider = Provider::start(ProviderOptions {
            without_backend: true,
            ..Default::default()
        })
        .await
        .unwrap();
        let certificate = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "site", "namespace": "default"},
            "spec": {
                "dnsNames": ["site.example.org"],
                "secretName": "site-tls",
                "issuerRef": {"name": ISSUER, "kind": "ClusterIssuer", "group": "cert-manager.io"},
            },
        });
        provider.apply(&[certificate]).await.unwrap();
        let plane = &provider.plane;
        let get = async |args: &[&str]| -> anyhow::Result<Value> {
            Ok(serde_json::from_str(&plane.kubectl(args).await?)?)
        };
        wait_for("the certificate", || async {
            let certificate = get(&["get", "certificate", "site", "-o", "json"]).await?;
            if is_ready(&certificate) {
                Ok(())
            } else {
                Err(anyhow::anyhow!("{}", certificate["status"]))
            }
        })
        .await
        .unwrap();
        let jsonpath = "go-template={{index .data \"tls.crt\" | base64decode}}";
        let issued = plane
            .kubectl(&["get", "secret", "site-tls", "-o", jsonpath])
            .await
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (authority, leaf) = (dir.path().join("ca.crt"), dir.path().join("tls.crt"));
        std::fs::write(&authority, provider.authority().await.unwrap()).unwrap();
        std::fs::write(&leaf, issued).unwrap();
        tls::verify(&authority, &leaf).unwrap();
        // The cluster's own authority has signed none of it.
        assert!(tls::verify(plane.ca_file(), &leaf).is_err());
    });
}
