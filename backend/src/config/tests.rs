//! Each rule between flags once.

use std::io::Write;

use clap::Parser;
use kube_bind_crds::api::{InformerScope, Isolation};

use super::Config;

const BASE: [&str; 4] = [
    "kube-bind-backend",
    "--oidc-callback-url=https://provider.example/api/callback",
    "--oidc-issuer-url=https://idp.example",
    "--oidc-issuer-client-id=backend",
];

fn parse(more: &[&str]) -> Result<Config, String> {
    let arguments = BASE.iter().chain(more).copied();
    let mut config = Config::try_parse_from(arguments).map_err(|err| err.to_string())?;
    config.validate().map_err(|err| err.to_string())?;
    Ok(config)
}

fn embedded(more: &[&str]) -> Result<Config, String> {
    let base = [
        "kube-bind-backend",
        "--oidc-type=embedded",
        "--oidc-callback-url=http://127.0.0.1:8080/api/callback",
    ];
    let arguments = base.iter().chain(more).copied();
    let mut config = Config::try_parse_from(arguments).map_err(|err| err.to_string())?;
    config.validate().map_err(|err| err.to_string())?;
    Ok(config)
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = parse(&[]).unwrap();
    assert_eq!(config.namespace_prefix, "cluster-");
    assert_eq!(config.pretty_name, "Backend");
    assert_eq!(config.informer_scope, InformerScope::Namespaced);
    assert_eq!(config.isolation, Isolation::Prefixed);
    assert_eq!(config.schema_sync_interval.as_secs(), 300);
    assert_eq!(config.token_expiry.as_secs(), 3600);
    assert_eq!(config.credential_ttl.as_secs(), 168 * 3600);
    assert_eq!(config.credential_renew_after.as_secs(), 24 * 3600);
    assert_eq!(config.listen_address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.ops_address.to_string(), "127.0.0.1:8081");
    assert_eq!(config.public_url(), "https://provider.example");
    assert!(!config.allow_legacy_login);
}

#[test]
fn a_typo_never_switches_isolation_off() {
    assert_eq!(
        parse(&["--isolation=NONE"]).unwrap().isolation,
        Isolation::None
    );
    let old = parse(&["--cluster-scoped-isolation=namespaced"]).unwrap();
    assert_eq!(old.isolation, Isolation::Namespaced);
    for typo in ["--isolation=prefix", "--isolation=", "--isolation=nope"] {
        let err = parse(&[typo]).unwrap_err();
        assert!(
            err.contains("--isolation") && err.contains("prefixed, namespaced or none"),
            "{err}"
        );
    }
}

#[test]
fn errors_name_the_flag_and_the_remedy() {
    for (arguments, flag, remedy) in [
        (
            &["--external-address=http://api.example"][..],
            "--external-address",
            "https://",
        ),
        (
            &["--external-address=api.example:6443"],
            "--external-address",
            "https://",
        ),
        (&["--pretty-name="], "--pretty-name", "name"),
        (&["--namespace-prefix="], "--namespace-prefix", "lower-case"),
        (
            &["--namespace-prefix=Kube"],
            "--namespace-prefix",
            "lower-case",
        ),
        (
            &["--schema-sync-interval=9s"],
            "--schema-sync-interval",
            "10s or more",
        ),
        (
            &["--schema-sync-interval=often"],
            "--schema-sync-interval",
            "5m",
        ),
        (&["--credential-ttl=9m"], "--credential-ttl", "10m or more"),
        (
            &["--credential-renew-after=84h"],
            "--credential-renew-after",
            "earlier",
        ),
        (&["--token-expiry=48h"], "--token-expiry", "1h"),
        (&["--tls-cert-file=a"], "--tls-key-file", "--tls-cert-file"),
        (&["--tls-key-file=a"], "--tls-cert-file", "--tls-key-file"),
        (
            &["--cookie-signing-key=c2hvcnQ="],
            "--cookie-signing-key",
            "openssl rand",
        ),
        (
            &["--cookie-encryption-key=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
            "--cookie-signing-key",
            "together",
        ),
        (
            &["--schema-source=apiresourceschemas"],
            "--schema-source",
            "customresourcedefinitions",
        ),
    ] {
        let err = parse(arguments).unwrap_err();
        assert!(
            err.contains(flag) && err.contains(remedy),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn keys_of_both_lengths_are_taken_and_each_is_checked_itself() {
    let (short, long) = ("A".repeat(43) + "=", "A".repeat(86) + "==");
    let flags = |signing: &str, encryption: &str| {
        let signing = format!("--cookie-signing-key={signing}");
        let encryption = format!("--cookie-encryption-key={encryption}");
        parse(&[&signing, &encryption])
    };
    assert!(flags(&long, &short).is_ok());
    assert!(flags(&short, &long).is_ok());
    assert!(
        flags(&long, "AAAA")
            .unwrap_err()
            .contains("--cookie-encryption-key")
    );
}

#[test]
fn the_callback_url_must_end_where_we_listen() {
    for url in [
        "https://provider.example/callback",
        "ftp://provider.example/api/callback",
        "https://provider.example/api/callback?x=y",
        "https://user@provider.example/api/callback",
    ] {
        let arguments = [
            "kube-bind-backend",
            "--oidc-callback-url",
            url,
            BASE[2],
            BASE[3],
        ];
        let err = Config::try_parse_from(arguments)
            .unwrap()
            .validate()
            .unwrap_err()
            .to_string();
        assert!(err.contains("--oidc-callback-url"), "{url}: {err}");
    }
}

#[test]
fn an_external_identity_provider_needs_its_names() {
    let callback = "--oidc-callback-url=https://provider.example/api/callback";
    let check = |more: &[&str]| {
        let base = ["kube-bind-backend", callback];
        let arguments = base.iter().chain(more).copied();
        Config::try_parse_from(arguments)
            .unwrap()
            .validate()
            .unwrap_err()
            .to_string()
    };
    assert!(check(&[]).contains("--oidc-issuer-url"));
    assert!(check(&["--oidc-issuer-url=idp.example"]).contains("--oidc-issuer-url"));
    let issuer = "--oidc-issuer-url=https://idp.example";
    assert!(check(&[issuer]).contains("--oidc-issuer-client-id"));
}

#[test]
fn the_embedded_provider_stays_on_the_loopback_interface() {
    let config = embedded(&[]).unwrap();
    assert_eq!(
        config.oidc_issuer_url.as_deref(),
        Some("http://127.0.0.1:8080/oidc")
    );
    assert_eq!(config.oidc_allowed_users, ["kube-bind-embedded-user"]);
    let err = embedded(&["--listen-address=0.0.0.0:8080"]).unwrap_err();
    assert!(err.contains("--embedded-oidc-allow-non-loopback"), "{err}");
    assert!(
        embedded(&[
            "--listen-address=0.0.0.0:8080",
            "--embedded-oidc-allow-non-loopback"
        ])
        .is_ok()
    );
    let at = |host: &str, more: &[&str]| {
        let callback = format!("--oidc-callback-url=http://{host}:8080/api/callback");
        let arguments = ["kube-bind-backend", "--oidc-type=embedded", &callback];
        let arguments = arguments.iter().chain(more).copied();
        let mut config = Config::try_parse_from(arguments).unwrap();
        config.validate().map_err(|err| err.to_string())
    };
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        assert_eq!(at(host, &[]), Ok(()), "{host}");
    }
    for host in ["provider.example", "192.0.2.7", "localhost.example"] {
        let err = at(host, &[]).unwrap_err();
        assert!(err.contains("--oidc-callback-url"), "{host}: {err}");
        assert_eq!(at(host, &["--embedded-oidc-allow-non-loopback"]), Ok(()));
    }
    assert!(
        embedded(&["--oidc-issuer-url=http://127.0.0.1:8080/other"])
            .unwrap_err()
            .contains("/oidc")
    );
    assert!(
        embedded(&["--oidc-issuer-client-secret=x"])
            .unwrap_err()
            .contains("client-secret")
    );
}

#[test]
fn the_client_secret_comes_from_the_safest_place() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "from-file").unwrap();
    let flag = format!("--oidc-issuer-client-secret-file={}", file.path().display());
    let config = parse(&[&flag, "--oidc-issuer-client-secret=from-flag"]).unwrap();
    let from_env = config
        .client_secret(Some("from-env".to_owned()))
        .unwrap()
        .unwrap();
    assert_eq!(from_env.expose(), "from-env");
    assert_eq!(
        config.client_secret(None).unwrap().unwrap().expose(),
        "from-file"
    );
    assert!(!format!("{config:?}").contains("from-flag"));
    let warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("--oidc-issuer-client-secret is deprecated"))
    );
    let missing = parse(&["--oidc-issuer-client-secret-file=/nonexistent/secret"]).unwrap();
    let err = missing.client_secret(None).unwrap_err().to_string();
    assert!(err.contains("--oidc-issuer-client-secret-file"), "{err}");
}
