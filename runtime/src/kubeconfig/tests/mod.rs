//! Tables of documents. Every message is held against the document: it may not repeat any of it.

mod documents;
mod fields;
mod refusals;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

const CA: &str = include_str!("../testdata/ca.pem");
const CERTIFICATE: &str = CA;
/// Well-formed PEM around something that is no key: parsing does not look inside.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
const SECRET: &str = "s3cr3t-t0ken";

fn valid() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "used",
        "contexts": [
            {"name": "other", "context": {"cluster": "other", "user": "other"}},
            {"name": "used", "context": {"cluster": "c", "user": "u", "namespace": "kube-bind-abc"}},
        ],
        "clusters": [
            {"name": "other", "cluster": {"server": "http://other", "proxy-url": "http://proxy", "certificate-authority": "/ca"}},
            {"name": "c", "cluster": {
                "server": "https://api.provider.test:6443",
                "certificate-authority-data": STANDARD.encode(CA),
                "tls-server-name": "kubernetes.default.svc",
            }},
        ],
        "users": [
            {"name": "other", "user": {"exec": {"command": "/bin/sh"}}},
            {"name": "u", "user": {"token": SECRET}},
        ],
    })
}

/// The valid document with one field of the used entries set; null removes it.
fn with(field: &str, value: Value) -> Value {
    let mut document = valid();
    let (part, key) = field.split_once('.').unwrap_or(("", field));
    let object = match part {
        "context" => &mut document["contexts"][1]["context"],
        "cluster" => &mut document["clusters"][1]["cluster"],
        "user" => &mut document["users"][1]["user"],
        _ => &mut document,
    };
    let object = object.as_object_mut().expect("an object");
    if value.is_null() {
        object.remove(key)
    } else {
        object.insert(key.to_owned(), value)
    };
    document
}

fn parse(document: &Value) -> Result<SafeKubeconfig, Error> {
    SafeKubeconfig::parse(document.to_string().as_bytes(), Policy::default())
}

/// The error, after checking that its message keeps to the rules.
fn refused(document: &Value) -> Error {
    let error = parse(document).expect_err("must be refused");
    let message = error.to_string();
    assert!(message.starts_with("kubeconfig "), "{message}");
    for content in [SECRET, "provider.test", "evil", "kube-bind-abc", "PRIVATE"] {
        assert!(!message.contains(content), "{message}");
    }
    error
}
