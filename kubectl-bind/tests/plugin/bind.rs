//! The front door: dry runs, choice, consent, login, as far as one can go without a real cluster.

use serde_json::{Value, json};

use crate::consumer::{consumer, writes};
use crate::harness::{World, template};

#[tokio::test]
async fn a_dry_run_shows_everything_and_changes_nothing() {
    let world = World::offering(&["widgets"]).await;
    // There is no consumer cluster at all.
    let outcome = world.run(&[&world.url(), "--dry-run"]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    insta::assert_snapshot!(outcome.stdout, @r"
    namespace/kube-bind applied (dry run)
    secret/kubeconfig-<generated> applied (dry run)
    serviceaccount/konnector applied (dry run)
    clusterrole.rbac.authorization.k8s.io/kube-bind-konnector applied (dry run)
    clusterrolebinding.rbac.authorization.k8s.io/kube-bind-konnector applied (dry run)
    role.rbac.authorization.k8s.io/kube-bind-konnector applied (dry run)
    rolebinding.rbac.authorization.k8s.io/kube-bind-konnector applied (dry run)
    deployment.apps/konnector applied (dry run)
    validatingadmissionpolicy.admissionregistration.k8s.io/kube-bind-konnector applied (dry run)
    validatingadmissionpolicybinding.admissionregistration.k8s.io/kube-bind-konnector applied (dry run)
    apiserviceexportrequest.kube-bind.io/widgets applied (dry run)
    apiservicebinding.kube-bind.io/widgets applied (dry run)
    clusterrole.rbac.authorization.k8s.io/kube-bind-konnector-widgets applied (dry run)
    clusterrolebinding.rbac.authorization.k8s.io/kube-bind-konnector-widgets applied (dry run)
    ");
    assert!(
        outcome
            .stderr
            .contains("as powerful as being cluster-admin"),
        "{}",
        outcome.stderr
    );
    let all = world.provider.received_requests().await.unwrap();
    assert!(all.iter().all(|request| request.method.as_str() == "GET"));
}

#[tokio::test]
async fn a_dry_run_prints_what_could_be_applied() {
    let world = World::offering(&["widgets"]).await;
    let outcome = world
        .run(&["-d", "--skip-konnector", "--name", "mine", "-o", "yaml"])
        .await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    insta::assert_snapshot!(outcome.stdout);
    let outcome = world.run(&["-d", "--skip-konnector", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn an_unknown_template_lists_the_known_ones() {
    let world = World::offering(&["widgets", "gadgets"]).await;
    let outcome = world.run(&["--template-name", "gizmos", "--yes"]).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: the provider offers no template \"gizmos\", but these:\n  widgets\n  gadgets\n"
    );
}

#[tokio::test]
async fn without_a_terminal_the_choice_has_to_be_named() {
    let world = World::offering(&["widgets", "gadgets"]).await;
    let outcome = world.run(&["--yes"]).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: the provider offers several templates: choose one with --template-name\n  widgets\n  gadgets\n"
    );
}

#[tokio::test]
async fn without_a_terminal_consent_has_to_be_given_by_flag() {
    let world = World::offering(&["widgets"]).await;
    let (consumer, kubeconfig) = consumer(&world).await;
    let outcome = world
        .run(&["--kubeconfig", kubeconfig.to_str().unwrap()])
        .await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.ends_with(
            "error: nobody can be asked for consent here: agree to the rights above with --yes\n"
        ),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("kube-bind-konnector-widgets"),
        "{}",
        outcome.stderr
    );
    assert!(writes(&consumer).await.is_empty());
    assert!(world.requests("/api/bind").await.is_empty());
}

#[tokio::test]
async fn the_front_door_logs_in_by_itself_when_the_login_is_over() {
    let world = World::new().await;
    world.logged_in("2020-01-01T00:00:00Z");
    world
        .answer(
            "POST",
            "/api/token",
            200,
            json!({"accessToken": "fresh", "tokenType": "Bearer", "expiresIn": 3600}),
        )
        .await;
    world
        .answer(
            "GET",
            "/api/templates",
            200,
            json!({"items": [template("widgets")]}),
        )
        .await;
    let login = world
        .start_login(&[&world.url(), "--skip-browser", "--dry-run", "-o", "name"])
        .await;
    let session = login.parameter("session_id");
    assert_eq!(
        login
            .come_back(&[("code", "c"), ("session_id", &session)])
            .await
            .0,
        200
    );
    let outcome = login.end().await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome
            .stdout
            .contains("\napiservicebinding.kube-bind.io/widgets\n"),
        "{}",
        outcome.stdout
    );
    assert_eq!(
        world.requests("/api/templates").await[0].headers["authorization"],
        "Bearer fresh"
    );
}
