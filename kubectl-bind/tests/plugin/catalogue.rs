//! `templates` and `collections`, and how failures of the server are shown.

use crate::harness::{FUTURE, TOKEN, World, error, template};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

async fn world() -> World {
    let world = World::new().await;
    world.logged_in(FUTURE);
    world
}

#[tokio::test]
async fn templates_are_a_table() {
    let world = world().await;
    world
        .answer(
            "GET",
            "/api/templates",
            200,
            json!({"metadata": {}, "items": [template("widgets"), template("gadgets")]}),
        )
        .await;
    let outcome = world.run(&["templates"]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    insta::assert_snapshot!(outcome.stdout, @r"
    NAME      RESOURCES             PERMISSIONCLAIMS   AGE
    widgets   widgets.example.org   secrets            <unknown>
    gadgets   gadgets.example.org   secrets            <unknown>
    ");
    assert_eq!(outcome.stderr, "");
    let request = &world.requests("/api/templates").await[0];
    assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));
}

#[tokio::test]
async fn lists_keep_what_the_plugin_does_not_know() {
    let world = world().await;
    world
        .answer(
            "GET",
            "/api/templates",
            200,
            json!({"items": [template("widgets")]}),
        )
        .await;
    let outcome = world.run(&["templates", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(list["kind"], "APIServiceExportTemplateList");
    assert_eq!(list["items"][0]["spec"]["unknown"], "kept");
    assert_eq!(list["items"][0]["kind"], "APIServiceExportTemplate");
    let outcome = world.run(&["templates", "-o", "name"]).await;
    assert_eq!(
        outcome.stdout,
        "apiserviceexporttemplate.kube-bind.io/widgets\n"
    );
}

#[tokio::test]
async fn collections_are_a_table() {
    let world = world().await;
    let collection = json!({"metadata": {"name": "all"}, "spec": {"templates": [{"name": "widgets"}, {"name": "gadgets"}]}});
    world
        .answer(
            "GET",
            "/api/collections",
            200,
            json!({"items": [collection]}),
        )
        .await;
    insta::assert_snapshot!(world.run(&["collections"]).await.stdout, @r"
    NAME   DESCRIPTION   TEMPLATES         AGE
    all    <none>        widgets,gadgets   <unknown>
    ");
}

#[tokio::test]
async fn an_empty_catalogue_prints_no_data() {
    let world = world().await;
    world
        .answer("GET", "/api/templates", 200, json!({"items": null}))
        .await;
    let outcome = world.run(&["templates"]).await;
    assert_eq!(
        (
            outcome.code,
            outcome.stdout.as_str(),
            outcome.stderr.as_str()
        ),
        (0, "", "No resources found\n")
    );
    assert_eq!(world.run(&["templates", "-o", "name"]).await.stdout, "");
}

#[tokio::test]
async fn an_expired_login_is_not_even_sent() {
    let world = World::new().await;
    world.logged_in("2020-01-01T00:00:00Z");
    let outcome = world.run(&["templates"]).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: the login has expired: log in with \"kubectl bind login <provider>\"\n"
    );
    assert!(world.requests("/api/templates").await.is_empty());
}

#[tokio::test]
async fn without_a_login_the_remedy_is_named() {
    let world = World::new().await;
    let outcome = world.run(&["templates"]).await;
    assert_eq!(
        outcome.stderr,
        "error: no provider is known yet: name it, as in \"kubectl bind https://provider.example\", or for the \
         single steps \"kubectl bind login https://provider.example\"\n"
    );
    world.logged_in(FUTURE);
    world.run(&["logout"]).await;
    world.logged_in_elsewhere("https://other.example");
    let outcome = world.run(&["templates"]).await;
    assert_eq!(
        outcome.stderr,
        "error: no provider is current: choose one with --server\n  https://other.example\n"
    );
    let outcome = world.run(&["templates", &world.url()]).await;
    assert_eq!(
        outcome.stderr,
        "error: not logged in: log in with \"kubectl bind login <provider>\"\n"
    );
}

#[tokio::test]
async fn refusals_are_shown_with_code_and_remedy() {
    let world = world().await;
    world
        .answer(
            "GET",
            "/api/templates",
            401,
            error("AUTHENTICATION_FAILED", "revoked"),
        )
        .await;
    world
        .answer(
            "GET",
            "/api/collections",
            403,
            error("AUTHORIZATION_FAILED", "not for \u{1b}[31myou"),
        )
        .await;
    let outcome = world.run(&["templates"]).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: the server does not accept the login any more: log in with \"kubectl bind login <provider>\"\n"
    );
    let outcome = world.run(&["collections"]).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "error: not for [31myou (AUTHORIZATION_FAILED)\n  The provider has to permit this for your user or one of your groups.\n"
    );
}

#[tokio::test]
async fn the_token_does_not_follow_redirects() {
    let world = world().await;
    let other = World::new().await;
    let elsewhere = ResponseTemplate::new(302)
        .insert_header("location", format!("{}/api/templates?state=x", other.url()));
    Mock::given(method("GET"))
        .and(path("/api/templates"))
        .respond_with(elsewhere)
        .mount(&world.provider)
        .await;
    let outcome = world.run(&["templates"]).await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("redirects to") && !outcome.stderr.contains("state=x"),
        "{}",
        outcome.stderr
    );
    assert!(other.requests("/api/templates").await.is_empty());
}

#[tokio::test]
async fn a_page_is_not_a_catalogue() {
    let world = world().await;
    let page = ResponseTemplate::new(200).set_body_string("<html>hello</html>");
    Mock::given(method("GET"))
        .and(path("/api/templates"))
        .respond_with(page)
        .mount(&world.provider)
        .await;
    let outcome = world.run(&["templates"]).await;
    assert_eq!(
        outcome.stderr,
        "error: <provider> answered with something else than the expected JSON: is it a kube-bind server?\n"
    );
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_its_cause() {
    let world = world().await;
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outcome = world
        .run(&["login", &format!("http://{free}"), "--skip-browser"])
        .await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .starts_with(&format!("error: failed to reach http://{free}: ")),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("refused"), "{}", outcome.stderr);
}
