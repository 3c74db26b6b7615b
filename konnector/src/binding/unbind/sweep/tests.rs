//! What is taken off, from what, and what is left alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::test_support::{WEBHOOK_DENIES, answering, failure, lacks};

fn object(metadata: Value) -> Meta {
    serde_json::from_value(json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata,
    }))
    .unwrap()
}

fn widgets() -> ApiResource {
    let kind = GroupVersionKind::gvk("example.org", "v1", "Widget");
    ApiResource::from_gvk_with_plural(&kind, "widgets")
}

fn everywhere<'a>(client: &'a Client, kind: &'a ApiResource) -> Field<'a> {
    Field {
        client,
        kind,
        namespace: None,
        labels: None,
    }
}

fn items(second_page: bool) -> Value {
    let object = |name: &str, deletion: Option<&str>| {
        json!({"metadata": {"name": name, "namespace": "team", "uid": name,
            "resourceVersion": "7", "deletionTimestamp": deletion,
            "finalizers": ["other/x", FINALIZER_SYNCER]}})
    };
    let items = [
        object("going", Some("2026-01-01T00:00:00Z")),
        object("living", None),
    ];
    let more = if second_page { "more" } else { "" };
    json!({"metadata": {"resourceVersion": "9", "continue": more}, "items": items})
}

#[tokio::test]
async fn only_what_is_being_deleted_is_released_and_foreign_finalizers_stay() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let client = answering(move |request| {
        seen.lock().unwrap().push(request.clone());
        if request.method == "PATCH" {
            return (200, json!({"metadata": {"name": "going"}}));
        }
        (200, items(false))
    });
    let kind = widgets();
    let field = everywhere(&client, &kind);
    let now = Instant::now();
    let swept = sweep(&field, now, || now, of_terminating).await.unwrap();
    let one = Swept {
        released: 1,
        clean: false,
    };
    assert_eq!(swept, one, "what was changed is looked at once more");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    let path = "/apis/example.org/v1/namespaces/team/widgets/going";
    assert!(asked[1].uri.contains(path), "{}", asked[1].uri);
    assert_eq!(asked[1].body["metadata"]["finalizers"], json!(["other/x"]));
    assert_eq!(asked[1].body["metadata"]["uid"], "going");
    assert_eq!(asked[1].body["metadata"]["resourceVersion"], "7");
}

#[tokio::test]
async fn a_sweep_ends_at_its_deadline_and_is_not_clean_before_it_saw_everything() {
    let client = answering(|request| (200, items(!request.uri.contains("continue"))));
    let kind = widgets();
    let field = everywhere(&client, &kind);
    let start = Instant::now();
    let late = || start + Duration::from_secs(9);
    let swept = sweep(&field, start, late, |_| None).await.unwrap();
    assert!(!swept.clean);
    let in_time = sweep(&field, late(), || start, |_| None).await.unwrap();
    assert!(in_time.clean);
}

#[tokio::test]
async fn what_is_refused_for_one_object_keeps_no_other_from_being_let_go() {
    let let_go = Arc::new(Mutex::new(Vec::new()));
    let seen = let_go.clone();
    let client = answering(move |request| {
        let mut let_go = seen.lock().unwrap();
        match (request.method.as_str(), request.uri.contains("/going?")) {
            ("GET", _) => {
                let mut all = items(false);
                let items = all["items"].as_array_mut().unwrap();
                items.retain(|item| !let_go.contains(&item["metadata"]["name"]));
                (200, all)
            }
            (_, true) => failure(403, WEBHOOK_DENIES),
            _ => {
                let_go.push(json!("living"));
                (200, json!({"metadata": {"name": "living"}}))
            }
        }
    });
    let kind = widgets();
    let field = everywhere(&client, &kind);
    let now = Instant::now();
    let swept = sweep(&field, now, || now, of_consumer).await.unwrap();
    let one = Swept {
        released: 1,
        clean: false,
    };
    assert_eq!(swept, one);
    assert_eq!(*let_go.lock().unwrap(), ["living"]);
    let refused = sweep(&field, now, || now, of_consumer).await.unwrap_err();
    assert!(fault::is_refused(&refused), "{refused:?}");
}

#[tokio::test]
async fn where_only_some_namespaces_may_be_read_these_are_swept() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let client = answering(move |request| {
        seen.lock().unwrap().push(request.uri.clone());
        match request.uri.contains("/namespaces/") {
            true => (200, items(false)),
            false => lacks("list", "widgets"),
        }
    });
    let kind = widgets();
    let field = everywhere(&client, &kind);
    let start = Instant::now();
    let sweep = async |namespaces: &[&str]| {
        let namespaces = namespaces.iter().map(|n| (*n).to_owned()).collect();
        sweep_where_allowed(&field, &namespaces, start, || start, |_| None).await
    };
    assert!(sweep(&[]).await.is_err());
    assert!(sweep(&["shop", "team"]).await.unwrap().clean);
    let asked = asked.lock().unwrap();
    for namespace in ["/shop/", "/team/"] {
        assert!(asked.iter().any(|uri| uri.contains(namespace)), "{asked:?}");
    }
}

#[test]
fn letting_go_leaves_no_trace_of_ours_and_everything_of_others() {
    let marked = object(json!({"name": "w", "uid": "u", "resourceVersion": "3",
        "finalizers": [FINALIZER_SYNCER],
        "annotations": {ANNOTATION_PROVIDER_UID: "p", ANNOTATION_SYNC_PROBLEM: "x", "team": "shop"}}));
    assert_eq!(
        of_consumer(&marked).unwrap(),
        json!({"metadata": {"uid": "u", "resourceVersion": "3", "finalizers": [],
            "annotations": {ANNOTATION_PROVIDER_UID: null, ANNOTATION_SYNC_PROBLEM: null}}})
    );
    let clean = object(json!({"name": "w", "uid": "u", "finalizers": ["other/x"],
        "annotations": {"team": "shop"}}));
    assert_eq!(of_consumer(&clean), None);
}

#[test]
fn only_copies_of_this_consumer_lose_their_marks_on_the_provider() {
    let copy = |tenant: &str| {
        object(json!({"name": "w", "uid": "u", "resourceVersion": "3",
        "annotations": {ANNOTATION_CLUSTER_NAMESPACE: tenant, ANNOTATION_CONSUMER_UID: "c", "team": "x"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Namespace", "name": tenant, "uid": "home"},
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "pod"},
        ]}))
    };
    let patch = of_provider(&copy("mine"), "mine", "home").unwrap();
    let metadata = &patch["metadata"];
    assert_eq!(
        metadata["annotations"],
        json!({ANNOTATION_CLUSTER_NAMESPACE: null, ANNOTATION_CONSUMER_UID: null})
    );
    assert_eq!(metadata["ownerReferences"].as_array().unwrap().len(), 1);
    assert_eq!(metadata["ownerReferences"][0]["uid"], "pod");
    assert_eq!(of_provider(&copy("theirs"), "mine", "home"), None);
}

#[test]
fn claimed_copies_of_other_bindings_keep_their_marks() {
    let copy = |binding: &str| {
        object(json!({"name": "s", "uid": "u", "resourceVersion": "3",
            "labels": {LABEL_OWNER: "provider"},
            "annotations": {ANNOTATION_BINDING: binding, ANNOTATION_PROVIDER_CLUSTER: "p"}}))
    };
    let patch = of_claimed(&copy("widgets"), "widgets").unwrap();
    assert_eq!(patch["metadata"]["labels"], json!({LABEL_OWNER: null}));
    assert_eq!(patch["metadata"]["uid"], "u");
    assert_eq!(of_claimed(&copy("gadgets"), "widgets"), None);
}
