//! What everybody can reach, and what surrounds all routes.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::json;

use super::{Harness, PUBLIC};

#[tokio::test]
async fn the_provider_is_described_from_the_configuration_not_the_host_header() {
    let harness = Harness::new().await;
    let request = Request::get("/api/exports")
        .header(header::HOST, "evil.example")
        .header("x-forwarded-host", "evil.example");
    let answer = harness.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        answer.json(),
        json!({
            "kind": "BindingProvider",
            "apiVersion": "v1alpha2",
            "providerPrettyName": "Ada's <Cloud>",
            "version": kube_bind_crds::version::VERSION,
            "authenticationMethods": [{
                "method": "OAuth2CodeGrant",
                "oauth2CodeGrant": { "authenticatedURL": format!("{PUBLIC}/api/authorize") },
            }],
        })
    );
}

#[tokio::test]
async fn the_older_place_of_the_description_redirects() {
    let harness = Harness::new().await;
    let answer = harness.get("/exports?a=b%20c").await;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(answer.headers[header::LOCATION], "/api/exports?a=b%20c");
}

#[tokio::test]
async fn health_is_answered_as_the_original_does() {
    let harness = Harness::new().await;
    let answer = harness.get("/healthz").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "ok")
    );
    let answer = harness.get("/api/healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn the_page_says_how_to_bind_and_escapes_names() {
    let harness = Harness::new().await;
    let answer = harness.get("/").await;
    assert!(
        answer
            .body
            .contains("kubectl bind https://provider.example")
    );
    assert!(answer.body.contains("Ada&#39;s &lt;Cloud&gt;"));
    assert!(!answer.body.contains("UNSAFE"));
}

#[tokio::test]
async fn claimable_kinds_have_the_originals_keys() {
    let harness = Harness::new().await;
    let list = harness.get("/api/bindable-resources").await.json();
    let secrets = list
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["Names"]["kind"] == "Secret")
        .unwrap();
    assert_eq!(
        secrets["GroupVersionResource"],
        json!({ "Group": "", "Version": "v1", "Resource": "secrets" })
    );
    assert_eq!(secrets["ResourceScope"], "Namespaced");
}

#[tokio::test]
async fn unknown_paths_and_methods_get_documents() {
    let harness = Harness::new().await;
    for path in [
        "/nothing",
        "/api/nothing",
        "/oidc/authorize",
        "/assets/index.js",
    ] {
        harness
            .get(path)
            .await
            .assert_error(404, "RESOURCE_NOT_FOUND");
    }
    let answer = harness.get("/api/bind").await;
    answer.assert_error(405, "BAD_REQUEST");
    assert_eq!(answer.headers[header::ALLOW], "POST");
    let answer = harness
        .post("/api/token", None, &json!({ "code": 1 }))
        .await;
    answer.assert_error(400, "BAD_REQUEST");
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let harness = Harness::new().await;
    for path in ["/", "/api/exports", "/nothing", "/api/templates"] {
        let headers = harness.get(path).await.headers;
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(
            headers[header::STRICT_TRANSPORT_SECURITY],
            "max-age=31536000"
        );
        let csp = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(csp.contains("default-src 'none'") && csp.contains("frame-ancestors 'none'"));
        assert!(headers.contains_key("x-request-id"));
    }
}
