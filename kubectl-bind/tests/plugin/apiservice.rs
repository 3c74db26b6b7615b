//! `apiservice`: binding without questions.

use serde_json::json;

use crate::harness::{FUTURE, TOKEN, World, error};

#[tokio::test]
async fn apiservice_fails_with_an_exit_code_and_never_opens_a_browser() {
    let world = World::new().await;
    world.logged_in(FUTURE);
    world
        .answer(
            "GET",
            "/api/templates",
            401,
            error("AUTHENTICATION_FAILED", "over"),
        )
        .await;
    let outcome = world
        .run(&["apiservice", "--template-name", "widgets", "--yes"])
        .await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: the server does not accept the login any more: log in with \"kubectl bind login <provider>\"\n"
    );
    assert!(world.requests("/api/exports").await.is_empty());
}

#[tokio::test]
async fn a_request_from_a_file_needs_a_kubeconfig_and_shows_itself() {
    let world = World::new().await;
    let file = world.home.path().join("request.yaml");
    std::fs::write(&file, "apiVersion: kube-bind.io/v1alpha2\nkind: APIServiceExportRequest\nmetadata: {name: widgets}\nspec:\n  resources: [{group: example.org, resource: widgets}]\n").unwrap();
    let remote = world.home.path().join("remote.kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://api.provider.example"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
    });
    std::fs::write(&remote, config.to_string()).unwrap();
    let (file, remote) = (file.to_str().unwrap(), remote.to_str().unwrap());
    let outcome = world.run(&["apiservice", "-f", file, "--dry-run"]).await;
    assert!(
        outcome.code == 1 && outcome.stderr.contains("--remote-kubeconfig"),
        "{}",
        outcome.stderr
    );
    let outcome = world
        .run(&[
            "apiservice",
            "-f",
            file,
            "--remote-kubeconfig",
            remote,
            "--dry-run",
        ])
        .await;
    assert!(
        outcome.code == 1 && outcome.stderr.contains("context.namespace"),
        "{}",
        outcome.stderr
    );
    let args = [
        "apiservice",
        "-f",
        file,
        "--remote-kubeconfig",
        remote,
        "--remote-namespace",
        "cluster-1",
        "--dry-run",
        "-o",
        "name",
    ];
    let outcome = world.run(&args).await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome
            .stdout
            .contains("apiserviceexportrequest.kube-bind.io/widgets\n"),
        "{}",
        outcome.stdout
    );
    assert!(!outcome.stderr.contains(TOKEN));
}
