//! The front door and `apiservice`, as far as one can go without a real cluster.

use std::path::PathBuf;

use crate::harness::{FUTURE, Outcome, TOKEN, World, error, template};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

async fn world(templates: &[&str]) -> World {
    let world = World::new().await;
    world.logged_in(FUTURE);
    let items: Vec<Value> = templates.iter().map(|name| template(name)).collect();
    world
        .answer("GET", "/api/templates", 200, json!({"items": items}))
        .await;
    world
}

/// An API server that has nothing but its identity.
async fn consumer(world: &World) -> (MockServer, PathBuf) {
    let server = MockServer::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "consumer-uid"}});
    Mock::given(method("GET"))
        .and(path("/api/v1/namespaces/kube-system"))
        .respond_with(ResponseTemplate::new(200).set_body_json(namespace))
        .mount(&server)
        .await;
    let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"});
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(404).set_body_json(missing))
        .with_priority(200)
        .mount(&server)
        .await;
    let file = world.home.path().join("consumer.kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server.uri()}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "consumer-token"}}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    (server, file)
}

async fn writes(server: &MockServer) -> Vec<String> {
    let all = server.received_requests().await.unwrap();
    all.iter()
        .filter(|r| r.method.as_str() != "GET")
        .map(|r| format!("{} {}", r.method, r.url.path()))
        .collect()
}

fn response(kubeconfig: &str) -> Value {
    let mut spec = template("widgets")["spec"].clone();
    spec.as_object_mut()
        .unwrap()
        .retain(|key, _| key == "resources" || key == "permissionClaims");
    json!({
        "kind": "BindingResourceResponse", "apiVersion": "kube-bind.io/v1alpha2",
        "authentication": {"oauth2CodeGrant": {"sid": "s", "id": "i"}},
        "kubeconfig": STANDARD.encode(kubeconfig),
        "requests": [{"apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExportRequest", "metadata": {"name": "widgets"}, "spec": spec, "status": {}}],
    })
}

#[tokio::test]
async fn a_dry_run_shows_everything_and_changes_nothing() {
    let world = world(&["widgets"]).await;
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
    let world = world(&["widgets"]).await;
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
    let world = world(&["widgets", "gadgets"]).await;
    let outcome = world.run(&["--template-name", "gizmos", "--yes"]).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: the provider offers no template \"gizmos\", but these:\n  widgets\n  gadgets\n"
    );
}

#[tokio::test]
async fn without_a_terminal_the_choice_has_to_be_named() {
    let world = world(&["widgets", "gadgets"]).await;
    let outcome = world.run(&["--yes"]).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: the provider offers several templates: choose one with --template-name\n  widgets\n  gadgets\n"
    );
}

#[tokio::test]
async fn without_a_terminal_consent_has_to_be_given_by_flag() {
    let world = world(&["widgets"]).await;
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

async fn bind_with(kubeconfig_of_provider: &str) -> (Outcome, Vec<String>) {
    let world = world(&["widgets"]).await;
    world
        .answer("POST", "/api/bind", 200, response(kubeconfig_of_provider))
        .await;
    let (consumer, kubeconfig) = consumer(&world).await;
    let outcome = world
        .run(&["--yes", "--kubeconfig", kubeconfig.to_str().unwrap()])
        .await;
    let asked: Value = world.requests("/api/bind").await[0].body_json().unwrap();
    assert_eq!(asked["spec"]["clusterIdentity"]["identity"], "consumer-uid");
    assert_eq!(asked["spec"]["templateRef"]["name"], "widgets");
    assert_eq!(asked["metadata"]["name"], "widgets");
    (outcome, writes(&consumer).await)
}

#[tokio::test]
async fn a_hostile_kubeconfig_is_refused_before_anything_is_written() {
    let config = |user: Value, cluster: Value| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "cluster-1"}}],
            "users": [{"name": "u", "user": user}],
        })
        .to_string()
    };
    let server = json!({"server": "https://api.provider.example"});
    for (hostile, named) in [
        (
            config(
                json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/evil-command"}}),
                server.clone(),
            ),
            "exec",
        ),
        (
            config(json!({"tokenFile": "/etc/evil-command"}), server),
            "file",
        ),
        (
            config(
                json!({"token": "evil-command"}),
                json!({"server": "https://api.provider.example", "insecure-skip-tls-verify": true}),
            ),
            "insecure-skip-tls-verify",
        ),
        ("{evil-command".to_owned(), "YAML"),
    ] {
        let (outcome, writes) = bind_with(&hostile).await;
        assert_eq!(outcome.code, 1);
        assert!(
            outcome
                .stderr
                .contains("error: the provider's kubeconfig is refused")
                && outcome.stderr.contains(named),
            "{}",
            outcome.stderr
        );
        assert!(
            !outcome.stderr.contains("evil-command"),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout, "");
        assert!(writes.is_empty(), "{writes:?}");
    }
}

/// What happens to a binding of the same name, whose Secret holds this.
async fn bind_over(theirs: &str) -> (Outcome, Vec<String>) {
    let world = world(&["widgets"]).await;
    let place = |server: &str| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "cluster-1"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        })
        .to_string()
    };
    let ours = response(&place("https://api.provider.example"));
    world.answer("POST", "/api/bind", 200, ours).await;
    let (consumer, kubeconfig) = consumer(&world).await;
    let theirs = theirs.replace("<elsewhere>", &place("https://elsewhere.example"));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kubeconfig-abcde", "namespace": "kube-bind"},
        "data": {"kubeconfig": STANDARD.encode(theirs)}});
    let binding = json!({"apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBinding", "metadata": {"name": "widgets"},
        "spec": {"kubeconfigSecretRef": {"namespace": "kube-bind", "name": "kubeconfig-abcde", "key": "kubeconfig"}},
        "status": {"boundSchemas": [{"group": "example.org", "resource": "widgets"}]}});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-bind"}});
    for (at, document) in [
        ("/api/v1/namespaces/kube-bind", namespace),
        (
            "/api/v1/namespaces/kube-bind/secrets",
            json!({"metadata": {}, "items": [secret.clone()]}),
        ),
        (
            "/api/v1/namespaces/kube-bind/secrets/kubeconfig-abcde",
            secret,
        ),
        (
            "/apis/kube-bind.io/v1alpha2/apiservicebindings/widgets",
            binding,
        ),
    ] {
        Mock::given(method("GET"))
            .and(path(at))
            .respond_with(ResponseTemplate::new(200).set_body_json(document))
            .mount(&consumer)
            .await;
    }
    let outcome = world
        .run(&["--yes", "--kubeconfig", kubeconfig.to_str().unwrap()])
        .await;
    (outcome, writes(&consumer).await)
}

#[tokio::test]
async fn a_damaged_secret_is_repaired_and_one_that_leads_elsewhere_is_kept() {
    let (outcome, writes) = bind_over("{damaged").await;
    assert_eq!(
        outcome.code, 1,
        "the API server of this test takes no writes"
    );
    assert_eq!(
        writes,
        ["PATCH /api/v1/namespaces/kube-bind/secrets/kubeconfig-abcde"],
        "{}",
        outcome.stderr
    );
    let (outcome, writes) = bind_over("<elsewhere>").await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.ends_with(
            "error: apiservicebinding.kube-bind.io/widgets exists and uses another credential \
             (secret kube-bind/kubeconfig-abcde): log in as whoever made it, or delete it first, which deletes \
             all objects of its kinds\n"
        ),
        "{}",
        outcome.stderr
    );
    assert!(writes.is_empty(), "{writes:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_more_than_it_showed_gets_nothing() {
    let world = world(&["widgets"]).await;
    let mut greedy = response("irrelevant");
    greedy["requests"][0]["spec"]["permissionClaims"][0]["selector"] = json!({"labelSelector": {}});
    world.answer("POST", "/api/bind", 200, greedy).await;
    let (consumer, kubeconfig) = consumer(&world).await;
    let outcome = world
        .run(&["--yes", "--kubeconfig", kubeconfig.to_str().unwrap()])
        .await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.ends_with("error: the provider asks for more than its template showed (secrets: all of them): nothing was bound\n"), "{}", outcome.stderr);
    assert!(writes(&consumer).await.is_empty());
}

#[tokio::test]
async fn a_crd_of_somebody_else_stops_the_bind_before_the_provider_is_asked() {
    let world = world(&["widgets"]).await;
    let (consumer, kubeconfig) = consumer(&world).await;
    let name = "widgets.example.org";
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"}, "versions": []}});
    Mock::given(method("GET"))
        .and(path(format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        )))
        .respond_with(ResponseTemplate::new(200).set_body_json(crd))
        .mount(&consumer)
        .await;
    let outcome = world
        .run(&["--yes", "--kubeconfig", kubeconfig.to_str().unwrap()])
        .await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .contains("does not belong to binding \"widgets\""),
        "{}",
        outcome.stderr
    );
    assert!(writes(&consumer).await.is_empty() && world.requests("/api/bind").await.is_empty());
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
