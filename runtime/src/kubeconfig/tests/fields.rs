//! What each accepted field must look like.

use super::*;

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
