//! A table per rule. Every message is held against the document: it may not repeat any of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CA: &str = include_str!("testdata/ca.pem");
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

#[test]
fn only_the_current_context_counts() {
    let kubeconfig = parse(&valid()).expect("the other entries are never used");
    assert_eq!(kubeconfig.server(), "https://api.provider.test:6443");
    assert_eq!(kubeconfig.ca_pem(), Some(CA));
    assert_eq!(kubeconfig.ca_certificates().map(<[_]>::len), Some(1));
    assert_eq!(kubeconfig.tls_server_name(), Some("kubernetes.default.svc"));
    assert_eq!(kubeconfig.namespace(), "kube-bind-abc");
    assert_eq!(
        kubeconfig.credential(),
        &Credential::Token(SECRET.to_owned())
    );
    assert!(!kubeconfig.skips_tls_verification());
}

#[test]
fn what_is_dangerous_is_refused_by_name() {
    for (field, value, error, message) in [
        (
            "user.exec",
            json!({"command": "evil"}),
            Error::Exec,
            "kubeconfig field user.exec runs a program, which is not allowed; use user.token",
        ),
        (
            "user.exec",
            json!("evil"),
            Error::Exec,
            "kubeconfig field user.exec runs a program, which is not allowed; use user.token",
        ),
        (
            "user.auth-provider",
            json!({"name": "evil"}),
            Error::AuthProvider,
            "kubeconfig field user.auth-provider is not allowed; use user.token",
        ),
        (
            "user.tokenFile",
            json!("/evil"),
            Error::FilePath {
                field: "user.tokenFile",
                inline: "user.token",
            },
            "kubeconfig field user.tokenFile names a file, which is not allowed; put the content into user.token",
        ),
        (
            "user.client-certificate",
            json!("/evil"),
            Error::FilePath {
                field: "user.client-certificate",
                inline: "user.client-certificate-data",
            },
            "kubeconfig field user.client-certificate names a file, which is not allowed; put the content into user.client-certificate-data",
        ),
        (
            "user.client-key",
            json!(["/evil"]),
            Error::FilePath {
                field: "user.client-key",
                inline: "user.client-key-data",
            },
            "kubeconfig field user.client-key names a file, which is not allowed; put the content into user.client-key-data",
        ),
        (
            "cluster.certificate-authority",
            json!("/evil"),
            Error::FilePath {
                field: "cluster.certificate-authority",
                inline: "cluster.certificate-authority-data",
            },
            "kubeconfig field cluster.certificate-authority names a file, which is not allowed; put the content into cluster.certificate-authority-data",
        ),
        (
            "user.username",
            json!("evil"),
            Error::BasicAuth {
                field: "user.username",
            },
            "kubeconfig field user.username is not allowed; use user.token",
        ),
        (
            "user.password",
            json!("evil"),
            Error::BasicAuth {
                field: "user.password",
            },
            "kubeconfig field user.password is not allowed; use user.token",
        ),
        (
            "user.as",
            json!("evil"),
            Error::Impersonation { field: "user.as" },
            "kubeconfig field user.as asks for impersonation, which is not allowed; remove it",
        ),
        (
            "user.as-uid",
            json!("evil"),
            Error::Impersonation {
                field: "user.as-uid",
            },
            "kubeconfig field user.as-uid asks for impersonation, which is not allowed; remove it",
        ),
        (
            "user.as-groups",
            json!(["evil"]),
            Error::Impersonation {
                field: "user.as-groups",
            },
            "kubeconfig field user.as-groups asks for impersonation, which is not allowed; remove it",
        ),
        (
            "user.as-user-extra",
            json!({"evil": []}),
            Error::Impersonation {
                field: "user.as-user-extra",
            },
            "kubeconfig field user.as-user-extra asks for impersonation, which is not allowed; remove it",
        ),
        (
            "cluster.proxy-url",
            json!("http://evil"),
            Error::Proxy,
            "kubeconfig field cluster.proxy-url is not allowed; remove it",
        ),
        (
            "cluster.insecure-skip-tls-verify",
            json!(true),
            Error::InsecureTls,
            "kubeconfig field cluster.insecure-skip-tls-verify is not allowed; set cluster.certificate-authority-data instead",
        ),
        (
            "cluster.server",
            json!("http://api.example.com"),
            Error::Http,
            "kubeconfig field cluster.server begins with http://, which is not allowed; use https://",
        ),
    ] {
        let refused = refused(&with(field, value));
        assert_eq!(refused, error, "{field}");
        assert_eq!(refused.to_string(), message);
    }
}

#[test]
fn empty_fields_count_as_absent_even_where_they_are_refused() {
    for field in [
        "user.exec",
        "user.tokenFile",
        "user.client-certificate",
        "cluster.certificate-authority",
        "cluster.proxy-url",
    ] {
        parse(&with(field, json!(""))).expect(field);
    }
    parse(&with("cluster.insecure-skip-tls-verify", json!(false))).expect("false is the default");
}

#[test]
fn what_is_missing_is_named_with_the_remedy() {
    for (field, value, error, message) in [
        (
            "current-context",
            Value::Null,
            Error::NoCurrentContext,
            "kubeconfig has no current-context; set it to the context to use",
        ),
        (
            "current-context",
            json!(""),
            Error::NoCurrentContext,
            "kubeconfig has no current-context; set it to the context to use",
        ),
        (
            "current-context",
            json!("evil"),
            Error::MissingContext,
            "kubeconfig has no context with the name that current-context gives; add it to contexts",
        ),
        (
            "contexts",
            Value::Null,
            Error::MissingContext,
            "kubeconfig has no context with the name that current-context gives; add it to contexts",
        ),
        (
            "context.cluster",
            Value::Null,
            Error::MissingCluster,
            "kubeconfig has no cluster with the name that context.cluster gives; add it to clusters",
        ),
        (
            "context.cluster",
            json!("evil"),
            Error::MissingCluster,
            "kubeconfig has no cluster with the name that context.cluster gives; add it to clusters",
        ),
        (
            "context.user",
            Value::Null,
            Error::MissingUser,
            "kubeconfig has no user with the name that context.user gives; add it to users",
        ),
        (
            "users",
            Value::Null,
            Error::MissingUser,
            "kubeconfig has no user with the name that context.user gives; add it to users",
        ),
        (
            "context.namespace",
            Value::Null,
            Error::NoNamespace,
            "kubeconfig field context.namespace is missing; set it to the namespace that the provider assigned",
        ),
        (
            "context.namespace",
            json!(""),
            Error::NoNamespace,
            "kubeconfig field context.namespace is missing; set it to the namespace that the provider assigned",
        ),
        (
            "cluster.server",
            Value::Null,
            Error::BadServer {
                problem: "is missing",
            },
            "kubeconfig field cluster.server is missing; set it to an address like https://api.example.com:6443",
        ),
        (
            "user.token",
            Value::Null,
            Error::NoCredentials,
            "kubeconfig has no credential; set user.token, or user.client-certificate-data and user.client-key-data",
        ),
    ] {
        let error_seen = parse(&with(field, value)).expect_err(field);
        assert_eq!(error_seen, error, "{field}");
        assert_eq!(error_seen.to_string(), message);
    }
}

#[test]
fn fields_of_the_wrong_type_are_named() {
    for (field, value) in [
        ("current-context", json!(7)),
        ("context.namespace", json!(7)),
        ("context.cluster", json!(["evil"])),
        ("context.user", json!({})),
        ("cluster.server", json!(true)),
        ("cluster.certificate-authority-data", json!(1.5)),
        ("cluster.tls-server-name", json!(false)),
        ("cluster.insecure-skip-tls-verify", json!("true")),
        ("user.token", json!(123_456)),
        ("user.client-certificate-data", json!([])),
        ("contexts", json!("evil")),
        ("clusters", json!({"c": "evil"})),
        ("users", json!(7)),
    ] {
        match refused(&with(field, value)) {
            Error::WrongType { field: named, .. } => assert_eq!(named, field),
            error => panic!("{field}: {error}"),
        }
    }
    for document in [json!(null), json!([]), json!("evil"), json!(7)] {
        assert_eq!(
            refused(&document),
            Error::WrongType {
                field: "(document)",
                expected: "a mapping"
            }
        );
    }
    for (list, entry) in [
        ("contexts", "context"),
        ("clusters", "cluster"),
        ("users", "user"),
    ] {
        let mut document = valid();
        document[list][1][entry] = json!("evil");
        assert_eq!(
            refused(&document),
            Error::WrongType {
                field: entry,
                expected: "a mapping"
            }
        );
    }
}

#[test]
fn of_two_entries_with_the_name_in_use_neither_is_chosen() {
    for list in ["contexts", "clusters", "users"] {
        let mut document = valid();
        let twice = document[list][1].clone();
        document[list].as_array_mut().expect("a list").push(twice);
        assert_eq!(refused(&document), Error::Ambiguous { list });
    }
}

#[test]
fn servers_must_be_plain_https_addresses() {
    for (server, problem) in [
        ("api.example.com", "is not a URL"),
        ("https://", "is not a URL"),
        ("https:///", "is not a URL"),
        ("//api.example.com", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://api.provider.test:99999", "is not a URL"),
        ("file:///evil", "has another scheme than https"),
        ("unix:///evil", "has another scheme than https"),
        ("ftp://api.example.com", "has another scheme than https"),
        (
            "https://evil@api.example.com",
            "holds a user name or password",
        ),
        (
            "https://evil:evil@api.example.com",
            "holds a user name or password",
        ),
        (
            "https://:evil@api.example.com",
            "holds a user name or password",
        ),
        ("https://api.example.com?evil", "holds a query or fragment"),
        ("https://api.example.com/?", "holds a query or fragment"),
        ("https://api.example.com/#evil", "holds a query or fragment"),
    ] {
        assert_eq!(
            refused(&with("cluster.server", json!(server))),
            Error::BadServer { problem },
            "{server}"
        );
    }
    for (server, used) in [
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[::1]:6443/", "https://[::1]:6443"),
        (
            "https://api.example.com/clusters/root:org",
            "https://api.example.com/clusters/root:org",
        ),
        ("HTTPS://API.example.com:443", "https://api.example.com"),
    ] {
        assert_eq!(
            parse(&with("cluster.server", json!(server)))
                .expect(server)
                .server(),
            used
        );
    }
}

#[test]
fn a_policy_may_allow_what_test_beds_need() {
    let allow = Policy {
        allow_insecure_tls: true,
        allow_http: true,
    };
    let document = with("cluster.insecure-skip-tls-verify", json!(true)).to_string();
    assert!(
        SafeKubeconfig::parse(document.as_bytes(), allow)
            .expect("allowed")
            .skips_tls_verification()
    );
    let document = with("cluster.server", json!("http://127.0.0.1:8080")).to_string();
    assert_eq!(
        SafeKubeconfig::parse(document.as_bytes(), allow)
            .expect("allowed")
            .server(),
        "http://127.0.0.1:8080"
    );
    let document = with("user.exec", json!({"command": "evil"})).to_string();
    assert_eq!(
        SafeKubeconfig::parse(document.as_bytes(), allow),
        Err(Error::Exec)
    );
}

#[test]
fn namespaces_must_be_labels() {
    let long = "a".repeat(64);
    for name in [
        "UPPER",
        "-a",
        "a-",
        "a.b",
        "a/b",
        "../kube-system",
        "a b",
        "\u{e4}",
        "a\n",
        long.as_str(),
    ] {
        assert_eq!(
            refused(&with("context.namespace", json!(name))),
            Error::BadNamespace,
            "{name:?}"
        );
    }
    for name in ["a", "0", "kube-bind-7", &long[..63]] {
        assert_eq!(
            parse(&with("context.namespace", json!(name)))
                .expect(name)
                .namespace(),
            name
        );
    }
}

#[test]
fn tokens_must_fit_into_a_header() {
    for token in [
        "a b",
        "a\nb",
        "a\n",
        " a",
        "\u{e4}",
        "a\u{0}",
        "a\r\nX-Evil: 1",
    ] {
        assert_eq!(
            parse(&with("user.token", json!(token))),
            Err(Error::BadToken),
            "{token:?}"
        );
    }
}

#[test]
fn certificate_data_must_be_pem() {
    let expected = "PEM with at least one certificate";
    let field = "cluster.certificate-authority-data";
    for data in [
        "evil!".to_owned(),
        STANDARD.encode("evil"),
        STANDARD.encode(KEY),
        STANDARD.encode([0xff, 0xfe]),
        STANDARD.encode(&CA[..200]),
    ] {
        assert_eq!(
            refused(&with(field, json!(data))),
            Error::BadPem { field, expected }
        );
    }
    let two = STANDARD.encode(format!("{CA}{CA}"));
    assert_eq!(
        parse(&with(field, json!(two)))
            .expect("a bundle")
            .ca_certificates()
            .map(<[_]>::len),
        Some(2)
    );
    assert_eq!(
        parse(&with(field, Value::Null))
            .expect("the system's trust store")
            .ca_pem(),
        None
    );
}

#[test]
fn names_for_tls_must_be_host_names() {
    for name in ["evil name", "https://evil", "evil:443", "-"] {
        assert_eq!(
            refused(&with("cluster.tls-server-name", json!(name))),
            Error::BadTlsServerName,
            "{name}"
        );
    }
    parse(&with("cluster.tls-server-name", json!("10.0.0.1"))).expect("addresses are names, too");
}

#[test]
fn client_certificates_come_whole_and_alone() {
    let user = |fields: Value| {
        let mut document = valid();
        document["users"][1]["user"] = fields;
        document
    };
    let (certificate, key) = (STANDARD.encode(CERTIFICATE), STANDARD.encode(KEY));
    let good = parse(&user(
        json!({"client-certificate-data": certificate, "client-key-data": key}),
    ))
    .expect("whole");
    assert_eq!(
        good.credential(),
        &Credential::Certificate {
            certificate: CERTIFICATE.to_owned(),
            key: KEY.to_owned()
        }
    );
    for (fields, error) in [
        (
            json!({"client-certificate-data": certificate}),
            Error::HalfCertificate {
                field: "user.client-key-data",
            },
        ),
        (
            json!({"client-key-data": key}),
            Error::HalfCertificate {
                field: "user.client-certificate-data",
            },
        ),
        (
            json!({"client-certificate-data": certificate, "client-key-data": key, "token": "t"}),
            Error::TwoCredentials,
        ),
        (
            json!({"client-certificate-data": key, "client-key-data": key}),
            Error::BadPem {
                field: "user.client-certificate-data",
                expected: "PEM with a certificate",
            },
        ),
        (
            json!({"client-certificate-data": certificate, "client-key-data": certificate}),
            Error::BadPem {
                field: "user.client-key-data",
                expected: "PEM with a private key",
            },
        ),
        (json!({}), Error::NoCredentials),
    ] {
        assert_eq!(refused(&user(fields)), error);
    }
}

#[test]
fn large_documents_are_not_read() {
    let document = vec![b'#'; MAX_BYTES + 1];
    let error = SafeKubeconfig::parse(&document, Policy::default()).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "kubeconfig has 262145 bytes; at most 262144 are accepted"
    );
}

#[test]
fn tricks_of_yaml_are_refused() {
    let yaml = render(
        "https://api.example.com",
        Some(CA),
        None,
        "kube-bind-abc",
        SECRET,
    );
    let bomb = (1..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let before = n - 1;
        text + &format!("a{n}: &a{n} [*a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}]\n")
    });
    for (what, document) in [
        ("repeated key", format!("{yaml}current-context: evil\n")),
        ("second document", format!("{yaml}---\n{yaml}")),
        ("alias bomb", bomb),
        ("alias", format!("{yaml}x: &x y\nz: *x\n")),
        ("merge key", format!("{yaml}x:\n  <<: {{a: b}}\n")),
        ("unclosed", format!("{yaml}x: [")),
        ("tabs", format!("{yaml}x:\n\t- y\n")),
        ("depth", "[".repeat(100_000)),
        ("deep mappings", "{a: ".repeat(60_000)),
    ] {
        let error = SafeKubeconfig::parse(document.as_bytes(), Policy::default()).expect_err(what);
        assert!(matches!(error, Error::NotYaml { .. }), "{what}: {error}");
        assert!(!error.to_string().contains(SECRET), "{what}: {error}");
    }
    for document in [&b"\xff\xfe\x00"[..], b"\0", b"%YAML 9.9\n---\n!!evil [\n"] {
        assert!(SafeKubeconfig::parse(document, Policy::default()).is_err());
    }
    let error = Error::NotYaml { line: Some(3) }.to_string();
    assert_eq!(
        error,
        "kubeconfig is not acceptable YAML (line 3); it must be one plain document without aliases or repeated keys"
    );
}

#[test]
fn what_we_write_we_accept_and_others_read() {
    let yaml = render(
        "https://api.example.com:6443",
        Some(CA),
        Some("kubernetes"),
        "kube-bind-abc",
        SECRET,
    );
    let kubeconfig = SafeKubeconfig::parse(yaml.as_bytes(), Policy::default()).expect("our own");
    assert_eq!(kubeconfig.ca_pem(), Some(CA));
    assert_eq!(kubeconfig.tls_server_name(), Some("kubernetes"));
    assert_eq!(kubeconfig.namespace(), "kube-bind-abc");

    let theirs = kube::config::Kubeconfig::from_yaml(&yaml).expect("kube reads it");
    assert_eq!(theirs.current_context.as_deref(), Some("default"));
    assert_eq!(
        (
            theirs.clusters.len(),
            theirs.contexts.len(),
            theirs.auth_infos.len()
        ),
        (1, 1, 1)
    );
    let bare = render("https://api.example.com", None, None, "ns", "on");
    assert!(!bare.contains("certificate-authority-data") && !bare.contains("tls-server-name"));
    let bare = SafeKubeconfig::parse(bare.as_bytes(), Policy::default())
        .expect("words like booleans stay text");
    assert_eq!(bare.credential(), &Credential::Token("on".to_owned()));
}

#[test]
fn fingerprints_tell_any_change_and_nothing_else_of_it() {
    let base = parse(&valid()).expect("valid");
    assert_eq!(
        base.fingerprint(),
        parse(&valid()).expect("valid").fingerprint()
    );
    assert_eq!(base.fingerprint().len(), 32);
    for (field, value) in [
        ("user.token", json!("other")),
        ("context.namespace", json!("other")),
        ("cluster.server", json!("https://other")),
        ("cluster.tls-server-name", Value::Null),
        ("cluster.certificate-authority-data", Value::Null),
    ] {
        let other = parse(&with(field, value)).expect("valid");
        assert_ne!(other.fingerprint(), base.fingerprint(), "{field}");
    }
}

#[test]
fn debug_output_holds_no_secret() {
    let text = format!("{:?}", parse(&valid()).expect("valid"));
    assert!(text.contains("api.provider.test") && text.contains("redacted"));
    assert!(!text.contains(SECRET) && !text.contains("BEGIN"));
    let certificate = Credential::Certificate {
        certificate: CERTIFICATE.to_owned(),
        key: KEY.to_owned(),
    };
    assert_eq!(format!("{certificate:?}"), "Certificate(<redacted>)");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = SafeKubeconfig::parse(&bytes, Policy::default());
    }

    #[test]
    fn no_text_of_yaml_letters_panics(text in "[a-c:&*!?|>{}\\[\\],\"'#%@ \n-]{0,300}") {
        let _ = SafeKubeconfig::parse(text.as_bytes(), Policy::default());
    }

    /// Whatever is cut, doubled or overwritten: no panic, and no secret in a message.
    #[test]
    fn no_mutation_of_a_valid_document_panics_or_leaks(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8, 0..40_usize), 1..6)
    ) {
        let mut document = render("https://api.example.com", Some(CA), Some("kubernetes"), "kube-bind-abc", SECRET).into_bytes();
        for (at, byte, kind, length) in edits {
            let at = at.index(document.len());
            let end = (at + length).min(document.len());
            match kind {
                0 => document[at] = byte,
                1 => { document.drain(at..end); }
                _ => { let copy = document[at..end].to_vec(); document.splice(at..at, copy); }
            }
            if document.is_empty() { break; }
        }
        match SafeKubeconfig::parse(&document, Policy::default()) {
            Ok(kubeconfig) => prop_assert!(kubeconfig.server().starts_with("https://")),
            Err(error) => prop_assert!(!error.to_string().contains(SECRET)),
        }
    }
}
