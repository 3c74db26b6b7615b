//! Tests of the parent module, against the JSON of contract sections 1.5, 2.3 and 2.7.

use serde_json::{Value, json};

use super::*;
use crate::api::{
    APIServiceExportRequestSpec, BindableResourcesRequest, ExportResource, GroupResource,
};

#[test]
fn the_binding_provider_is_written_as_in_the_contract() {
    let document = BindingProvider::new(
        "Widgets Inc",
        "v0.9.0",
        "https://provider.example/api/authorize",
    );
    assert_eq!(
        serde_json::to_value(&document).unwrap(),
        json!({
            "kind": "BindingProvider",
            "apiVersion": "v1alpha2",
            "providerPrettyName": "Widgets Inc",
            "version": "v0.9.0",
            "authenticationMethods": [{
                "method": "OAuth2CodeGrant",
                "oauth2CodeGrant": { "authenticatedURL": "https://provider.example/api/authorize" },
            }],
        })
    );
    assert_eq!(
        document.authenticated_url(),
        Some("https://provider.example/api/authorize")
    );
}

#[test]
fn a_provider_with_more_than_we_know_is_read() {
    let document: BindingProvider = serde_json::from_value(json!({
        "kind": "BindingProvider", "apiVersion": "v1alpha2", "extra": { "a": 1 },
        "authenticationMethods": [
            { "method": "Carrier pigeon", "pigeon": {} },
            { "method": "OAuth2CodeGrant", "oauth2CodeGrant": { "authenticatedURL": "https://x/api/authorize", "more": 1 } },
        ],
    }))
    .unwrap();
    assert_eq!(
        document.authenticated_url(),
        Some("https://x/api/authorize")
    );
    assert_eq!(
        serde_json::from_value::<BindingProvider>(json!({}))
            .unwrap()
            .authenticated_url(),
        None
    );
}

fn spec() -> APIServiceExportRequestSpec {
    APIServiceExportRequestSpec {
        resources: vec![ExportResource {
            group_resource: GroupResource {
                group: "example.org".to_owned(),
                resource: "widgets".to_owned(),
            },
            versions: vec!["v1".to_owned()],
        }],
        ..APIServiceExportRequestSpec::default()
    }
}

#[test]
fn the_binding_response_is_written_as_in_the_contract() {
    let mut document = BindingResourceResponse::new(
        b"apiVersion: v1\n",
        vec![APIServiceExportRequestResponse::new(
            Some("shop".to_owned()),
            spec(),
        )],
    );
    document.authentication.oauth2_code_grant = Some(OAuth2CodeGrantState {
        sid: "session".to_owned(),
        id: "https://idp.example/alice".to_owned(),
    });
    document.provider_namespace = Some("cluster-abc".to_owned());
    let written = json!({
        "kind": "BindingResourceResponse",
        "apiVersion": "kube-bind.io/v1alpha2",
        "authentication": { "oauth2CodeGrant": { "sid": "session", "id": "https://idp.example/alice" } },
        "kubeconfig": "YXBpVmVyc2lvbjogdjEK",
        "requests": [{
            "kind": "APIServiceExportRequest",
            "apiVersion": "kube-bind.io/v1alpha2",
            "metadata": { "name": "shop" },
            "spec": {
                "resources": [{ "group": "example.org", "resource": "widgets", "versions": ["v1"] }],
                "schemaUpdatePolicy": "Never",
            },
            "status": {},
        }],
        "providerNamespace": "cluster-abc",
    });
    assert_eq!(serde_json::to_value(&document).unwrap(), written);
    assert_eq!(
        serde_json::from_value::<BindingResourceResponse>(written).unwrap(),
        document
    );
    assert_eq!(document.kubeconfig().unwrap(), b"apiVersion: v1\n");
}

#[test]
fn what_the_original_writes_over_http_is_read() {
    let document: BindingResourceResponse = serde_json::from_value(json!({
        "kind": "BindingResponse",
        "apiVersion": "kube-bind.io/v1alpha2",
        "authentication": { "oauth2CodeGrant": { "sid": "s", "id": "i" } },
        "kubeconfig": "YQ==",
        "requests": [{
            "kind": "APIServiceExportRequest", "apiVersion": "kube-bind.io/v1alpha2",
            "metadata": { "name": "shop", "creationTimestamp": null },
            "spec": { "resources": [{ "group": "", "resource": "widgets" }], "permissionClaims": [
                { "group": "", "resource": "secrets", "selector": { "labelSelector": {} } },
            ] },
            "status": { "conditions": [] },
        }],
        "providerNamespace": "n", "bindingName": "b", "unknown": true,
    }))
    .unwrap();
    assert_eq!(document.requests[0].metadata.name.as_deref(), Some("shop"));
    assert_eq!(document.requests[0].spec.permission_claims.len(), 1);
    assert_eq!(document.binding_name.as_deref(), Some("b"));
}

#[test]
fn what_the_original_writes_into_a_secret_is_read() {
    let document: BindingResourceResponse = serde_json::from_value(json!({
        "kind": "BindingResourceResponse", "apiVersion": "kube-bind.io/v1alpha2",
        "authentication": {}, "kubeconfig": "YQ==\n", "requests": null,
    }))
    .unwrap();
    assert_eq!(document.requests, vec![]);
    assert_eq!(document.kubeconfig().unwrap(), b"a");
}

#[test]
fn a_kubeconfig_that_is_no_base64_is_an_error() {
    let document = BindingResourceResponse {
        kubeconfig: "not base64!".to_owned(),
        ..BindingResourceResponse::default()
    };
    assert!(document.kubeconfig().is_err());
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let response = BindingResourceResponse::new(b"secret-kubeconfig", vec![]);
    let request = TokenRequest {
        code: "secret-code".to_owned(),
        code_verifier: "secret-verifier".to_owned(),
        redirect_uri: "http://127.0.0.1:1/callback".to_owned(),
    };
    let token = TokenResponse {
        access_token: "secret-token".to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: 3600,
    };
    let shown = format!("{response:?} {request:?} {token:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(!shown.contains(&response.kubeconfig), "{shown}");
}

#[test]
fn the_token_documents_are_camel_case() {
    let request: TokenRequest = serde_json::from_value(
        json!({ "code": "c", "codeVerifier": "v", "redirectUri": "http://127.0.0.1:1/callback" }),
    )
    .unwrap();
    assert_eq!(request.code_verifier, "v");
    let response = TokenResponse {
        access_token: "t".to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: 3600,
    };
    assert_eq!(
        serde_json::to_value(&response).unwrap(),
        json!({ "accessToken": "t", "tokenType": "Bearer", "expiresIn": 3600 })
    );
}

#[test]
fn errors_are_written_as_in_the_contract() {
    let error =
        ErrorDocument::new(ErrorCode::AuthorizationFailed, "no").with_details("ask the provider");
    assert_eq!(
        serde_json::to_value(&error).unwrap(),
        json!({
            "kind": "Error", "apiVersion": "kube-bind.io/v1alpha2", "message": "no",
            "code": "AUTHORIZATION_FAILED", "details": "ask the provider",
        })
    );
    let codes = [
        (
            ErrorCode::AuthenticationFailed,
            "AUTHENTICATION_FAILED",
            401,
        ),
        (ErrorCode::AuthorizationFailed, "AUTHORIZATION_FAILED", 403),
        (ErrorCode::ResourceNotFound, "RESOURCE_NOT_FOUND", 404),
        (ErrorCode::BadRequest, "BAD_REQUEST", 400),
        (
            ErrorCode::ClusterConnectionFailed,
            "CLUSTER_CONNECTION_FAILED",
            503,
        ),
        (ErrorCode::InternalError, "INTERNAL_ERROR", 500),
    ];
    for (code, text, status) in codes {
        assert_eq!(serde_json::to_value(code).unwrap(), Value::from(text));
        assert_eq!(
            serde_json::from_value::<ErrorCode>(json!(text)).unwrap(),
            code
        );
        assert_eq!(code.status(), status);
    }
    let unknown: ErrorDocument =
        serde_json::from_value(json!({ "kind": "Error", "message": "m", "code": "TEAPOT" }))
            .unwrap();
    assert_eq!(unknown.code, ErrorCode::InternalError);
}

#[test]
fn the_body_of_a_bind_is_read_as_the_original_sends_it() {
    let request: BindableResourcesRequest = serde_json::from_value(json!({
        "metadata": { "name": "shop", "creationTimestamp": null },
        "spec": {
            "templateRef": { "name": "widgets" },
            "clusterIdentity": { "identity": "0ac6800e-bc4f-4c70-814b-45b44e04aa02" },
            "author": "",
        },
        "status": {},
        "sessionHint": "unknown",
    }))
    .unwrap();
    assert_eq!(request.metadata.name.as_deref(), Some("shop"));
    assert_eq!(request.spec.template_ref.unwrap().name, "widgets");
    assert_eq!(request.spec.cluster_identity.pretty_name, "");
}
