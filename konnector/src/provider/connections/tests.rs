//! What a kubeconfig Secret is worth, and which provider gives way.

use super::*;
use k8s_openapi::ByteString;
use kube_bind_runtime::kubeconfig::render;

fn secret(key: &str, document: &str) -> Secret {
    Secret {
        data: Some([(key.to_owned(), ByteString(document.into()))].into()),
        ..Secret::default()
    }
}

fn message(secret: Option<&Secret>) -> SecretState {
    read(secret, "kubeconfig", Policy::default()).unwrap_err()
}

#[test]
fn a_provider_that_nobody_belongs_to_gives_way_to_the_right_one() {
    let elsewhere = |owners: &[Option<&str>]| all_belong_elsewhere(owners.iter().copied(), "wrong");
    assert!(elsewhere(&[Some("right"), Some("right")]));
    assert!(!elsewhere(&[Some("right"), Some("wrong")]));
    assert!(
        !elsewhere(&[Some("right"), None]),
        "it may just be starting"
    );
    assert!(!elsewhere(&[]), "nobody says which one is right");
}

#[test]
fn a_missing_secret_and_a_missing_key_are_told_apart() {
    assert_eq!(message(None), SecretState::Missing);
    let SecretState::Invalid(text) = message(Some(&secret("other", "x"))) else {
        panic!("expected an invalid secret");
    };
    assert!(text.contains("kubeconfig"), "{text}");
}

#[test]
fn an_exec_plugin_is_refused_and_the_field_is_named() {
    let document = r#"
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u, namespace: tenant}}]
clusters: [{name: c, cluster: {server: "https://provider.example"}}]
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: steal}}}]
"#;
    let SecretState::Invalid(text) = message(Some(&secret("kubeconfig", document))) else {
        panic!("expected an invalid secret");
    };
    assert!(text.contains("user.exec"), "{text}");
    assert!(!text.contains("steal"), "{text}");
}

#[test]
fn what_the_backend_renders_is_accepted() {
    let document = render("https://provider.example", None, None, "tenant", "t0ken");
    let read = read(
        Some(&secret("kubeconfig", &document)),
        "kubeconfig",
        Policy::default(),
    );
    assert_eq!(read.unwrap().namespace(), "tenant");
}
