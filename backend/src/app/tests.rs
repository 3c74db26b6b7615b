//! What the process makes of its flags, against real listeners.

use std::path::PathBuf;

use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use kube_bind_runtime::tls;
use serde_json::json;

use super::*;

fn testdata(file: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("src/app/testdata").join(file)
}

/// An identity provider whose certificate an authority of its own has signed; its issuer.
async fn identity_provider(shutdown: &Shutdown) -> String {
    let files = TlsFiles {
        certificate: testdata("server.pem"),
        key: testdata("server-key.pem"),
    };
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
    let issuer = identity_provider(&shutdown).await;
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
    let ca = format!("--oidc-ca-file={}", testdata("ca.pem").display());
    discover(&[issuer.clone(), ca]).await.unwrap();
    let error = discover(&[issuer]).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    shutdown.token.cancel();
}
