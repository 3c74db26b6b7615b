//! What the process makes of its flags, against real listeners.

use std::net::Ipv4Addr;
use std::path::Path;

use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use kube_bind_runtime::tls;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use super::*;

/// An authority (`ca.pem`) and what it has signed for a server on loopback.
fn certificates(dir: &Path) -> TlsFiles {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let server = CertificateParams::new([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let write = |file: &str, content: String| {
        let path = dir.join(file);
        std::fs::write(&path, content).unwrap();
        path
    };
    write("ca.pem", ca_certificate.pem());
    TlsFiles {
        certificate: write("server.pem", certificate.pem()),
        key: write("server-key.pem", key.serialize_pem()),
    }
}

/// An identity provider whose certificate an authority of its own has signed; its issuer.
async fn identity_provider(files: TlsFiles, shutdown: &Shutdown) -> String {
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(address, Some(files)).await.unwrap();
    let issuer = format!("https://{}", listener.address());
    let about = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    let router = Router::new()
        .route(
            "/.well-known/openid-configuration",
            get(async || Json(about)),
        )
        .route("/keys", get(async || Json(json!({ "keys": [] }))));
    shutdown.spawn(
        "identity provider",
        listener.serve(router, shutdown.clone()),
    );
    issuer
}

#[tokio::test]
async fn the_authority_of_the_identity_provider_can_be_named_by_its_flag() {
    tls::install_provider();
    let shutdown = Shutdown::new();
    let dir = tempfile::tempdir().unwrap();
    let issuer = identity_provider(certificates(dir.path()), &shutdown).await;
    let discover = async |more: &[String]| {
        let flags = [
            "kube-bind-backend",
            "--oidc-callback-url=https://provider.example/api/callback",
            "--oidc-issuer-client-id=backend",
        ];
        let flags = flags.map(str::to_owned);
        let mut config = Config::try_parse_from(flags.iter().chain(more)).unwrap();
        config.validate().unwrap();
        let relying_party = relying_party(&config, None, &SystemClock::shared()).unwrap();
        relying_party.discover().await
    };
    let issuer = format!("--oidc-issuer-url={issuer}");
    let ca = format!("--oidc-ca-file={}", dir.path().join("ca.pem").display());
    discover(&[issuer.clone(), ca]).await.unwrap();
    let error = discover(&[issuer]).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    shutdown.token.cancel();
}
