//! The IO of claiming a namespace, against a scripted API server.

use serde_json::{Value, json};

use super::test_support::{Script, failure};
use super::*;
use kube_bind_crds::names::{ANNOTATION_AUTHOR, ANNOTATION_AUTHOR_ISSUER, ANNOTATION_IDENTITY};

fn consumer() -> Consumer {
    Consumer {
        identity: "identity-of-anna".into(),
        author: Author {
            subject: "anna".into(),
            issuer: "https://idp.example".into(),
        },
        pretty_name: "Anna's cluster".into(),
    }
}

fn namespace(name: &str, author: &str) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {
            "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "3",
            "labels": { names::LABEL_COMPONENT: names::COMPONENT_CLUSTER_NAMESPACE },
            "annotations": {
                ANNOTATION_IDENTITY: "identity-of-anna",
                ANNOTATION_AUTHOR: author,
                ANNOTATION_AUTHOR_ISSUER: "https://idp.example",
            },
        },
    })
}

fn list(items: &[Value]) -> Value {
    json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items })
}

fn paths() -> [String; 2] {
    ownership::candidates("cluster-", &consumer()).map(|name| format!("/api/v1/namespaces/{name}"))
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_new_consumer_gets_a_namespace_with_identity_and_author() {
    let (client, mut api) = Script::new();
    let [first, second] = paths();
    let server = async {
        api.not_found("GET", &first).await;
        api.not_found("GET", &second).await;
        api.answer("GET", "/api/v1/namespaces", 200, list(&[]))
            .await;
        let created = api
            .answer(
                "POST",
                "/api/v1/namespaces",
                201,
                json!({ "metadata": { "name": name(&first) } }),
            )
            .await;
        assert_eq!(created["metadata"]["name"], name(&first));
        assert_eq!(
            created["metadata"]["annotations"][ANNOTATION_IDENTITY],
            "identity-of-anna"
        );
        assert_eq!(
            created["metadata"]["annotations"][ANNOTATION_AUTHOR],
            "anna"
        );
    };
    let consumer = consumer();
    let (claimed, ()) = tokio::join!(namespace::claim(&client, "cluster-", &consumer), server);
    assert_eq!(claimed.unwrap(), name(&first));
}

#[tokio::test]
async fn of_two_binds_at_once_the_slower_one_finds_the_namespace_of_the_faster() {
    let (client, mut api) = Script::new();
    let [first, second] = paths();
    let server = async {
        api.not_found("GET", &first).await;
        api.not_found("GET", &second).await;
        api.answer("GET", "/api/v1/namespaces", 200, list(&[]))
            .await;
        api.answer(
            "POST",
            "/api/v1/namespaces",
            409,
            failure(409, "AlreadyExists"),
        )
        .await;
        api.answer("GET", &first, 200, namespace(name(&first), "anna"))
            .await;
    };
    let consumer = consumer();
    let (claimed, ()) = tokio::join!(namespace::claim(&client, "cluster-", &consumer), server);
    assert_eq!(claimed.unwrap(), name(&first));
}

#[tokio::test]
async fn a_name_that_another_user_has_is_left_to_them() {
    let (client, mut api) = Script::new();
    let [first, second] = paths();
    let server = async {
        api.answer("GET", &first, 200, namespace(name(&first), "bert"))
            .await;
        api.not_found("GET", &second).await;
        api.answer(
            "GET",
            "/api/v1/namespaces",
            200,
            list(&[namespace(name(&first), "bert")]),
        )
        .await;
        let created = api
            .answer(
                "POST",
                "/api/v1/namespaces",
                201,
                json!({ "metadata": { "name": name(&second) } }),
            )
            .await;
        assert_eq!(created["metadata"]["name"], name(&second));
    };
    let consumer = consumer();
    let (claimed, ()) = tokio::join!(namespace::claim(&client, "cluster-", &consumer), server);
    assert_eq!(claimed.unwrap(), name(&second));
}

#[tokio::test]
async fn when_all_names_belong_to_others_nothing_is_made() {
    let (client, mut api) = Script::new();
    let [first, second] = paths();
    let server = async {
        api.answer("GET", &first, 200, namespace(name(&first), "bert"))
            .await;
        api.answer("GET", &second, 200, namespace(name(&second), "carl"))
            .await;
        api.answer("GET", "/api/v1/namespaces", 200, list(&[]))
            .await;
    };
    let consumer = consumer();
    let (claimed, ()) = tokio::join!(namespace::claim(&client, "cluster-", &consumer), server);
    assert!(matches!(claimed, Err(Error::OtherAuthor { namespace }) if namespace == name(&second)));
}

#[tokio::test]
async fn a_namespace_made_under_another_prefix_is_found_and_two_are_an_error() {
    for (found, many) in [(vec!["older-1"], false), (vec!["older-1", "older-2"], true)] {
        let (client, mut api) = Script::new();
        let [first, second] = paths();
        let items: Vec<_> = found.iter().map(|name| namespace(name, "anna")).collect();
        let server = async {
            api.not_found("GET", &first).await;
            api.not_found("GET", &second).await;
            api.answer("GET", "/api/v1/namespaces", 200, list(&items))
                .await;
        };
        let consumer = consumer();
        let (claimed, ()) = tokio::join!(namespace::claim(&client, "cluster-", &consumer), server);
        match claimed {
            Ok(name) => assert!(!many && name == "older-1"),
            Err(error) => assert!(many && matches!(error, Error::Ambiguous { .. })),
        }
    }
}
