//! What stops a bind before anything is written: hostile or greedy providers, and what is in the way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

use crate::consumer::{consumer, writes};
use crate::harness::{Outcome, World, template};

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

async fn bind_with(kubeconfig_of_provider: &str) -> (Outcome, Vec<String>) {
    let world = World::offering(&["widgets"]).await;
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
    let world = World::offering(&["widgets"]).await;
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
    let world = World::offering(&["widgets"]).await;
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
    let world = World::offering(&["widgets"]).await;
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
