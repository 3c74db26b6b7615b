//! What is refused by name, what is missing, and what has the wrong type.

use super::*;

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
