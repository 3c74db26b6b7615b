//! What is read of a watch, and asked of servers that fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{Either, Full, StreamBody};
use serde_json::json;

use super::*;

fn widgets(client: kube::Client) -> KubeCluster {
    let resource = super::super::super::Resource {
        group: "example.io".into(),
        version: "v1".into(),
        plural: "widgets".into(),
        kind: "Widget".into(),
    };
    let client = super::super::EngineClient::new(client);
    KubeCluster::new(client, super::super::super::Limiter::new(), &resource)
}

fn parsed(line: &str) -> Result<(WatchEvent, Option<String>), Error> {
    parse(
        ManagedFields::Kept,
        "/apis/example.io/v1/widgets",
        line.as_bytes(),
    )
}

#[test]
fn a_gone_error_in_the_stream_means_list_again() {
    let line = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}"#;
    assert_eq!(parsed(line).unwrap_err(), Error::Expired);
}

#[test]
fn events_move_the_position() {
    let line = r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"17"}}}"#;
    let (event, version) = parsed(line).unwrap();
    assert!(matches!(event, WatchEvent::Applied(_)));
    assert_eq!(version.as_deref(), Some("17"));
}

#[test]
fn a_line_that_makes_no_sense_is_a_failure_and_not_skipped() {
    assert!(parsed(r#"{"type":"MODIF"#).is_err());
}

#[test]
fn an_object_nested_too_deeply_is_known_by_its_metadata() {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let line = |kind: &str| {
        format!(
            r#"{{"type":"{kind}","object":{{"spec":{deep},"metadata":{{"name":"a","resourceVersion":"17"}}}}}}"#
        )
    };
    let (event, version) = parsed(&line("MODIFIED")).unwrap();
    assert_eq!(version.as_deref(), Some("17"));
    let WatchEvent::Unreadable(known) = event else {
        panic!("expected it to be unreadable, got {event:?}");
    };
    assert_eq!(known["metadata"]["name"], "a");
    let (event, _) = parsed(&line("DELETED")).unwrap();
    assert!(matches!(event, WatchEvent::Deleted(_)));
}

/// How many objects each list asks for, of a server that answers like this; it ends every watch.
async fn pages(answer: impl Fn(usize, &str) -> Option<u16> + Send + Sync + 'static) -> Vec<String> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let answer = Arc::new(answer);
    let serve = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let uri = request.uri().to_string();
        let (log, answer) = (log.clone(), answer.clone());
        async move {
            let gone = r#"{"type":"ERROR","object":{"code":410}}"#;
            let (code, body) = match uri.split_once("limit=") {
                None => (200, format!("{gone}\n")),
                Some((_, limit)) => {
                    let before = log.lock().unwrap().len();
                    log.lock().unwrap().push(limit.to_owned());
                    match answer(before, limit) {
                        Some(code) => (code, r#"{"metadata":{"resourceVersion":"1"}}"#.into()),
                        None => std::future::pending().await,
                    }
                }
            };
            let body = kube::client::Body::from(body.into_bytes());
            let answer = http::Response::builder().status(code).body(body).unwrap();
            Ok::<_, kube::Error>(answer)
        }
    });
    let mut events = stream(
        widgets(kube::Client::new(serve, "default")),
        WatchScope::All,
    );
    let listen = async { while events.next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(300), listen).await;
    asked.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_make_lists_smaller() {
    let away = pages(|before, _| Some(if before < 6 { 503 } else { 200 })).await;
    assert!(away.len() > 6, "{away:?}");
    assert!(away.iter().all(|limit| limit == "500"), "{away:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_too_much_is_asked_for_in_parts_and_the_next_one_is_not() {
    let slow = pages(|before, _| (before >= 2).then_some(200)).await;
    assert_eq!(slow[..4], ["500", "125", "31", "500"], "{slow:?}");
}

/// A cluster whose lists are empty and whose watches end at once.
#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_not_asked_without_a_pause() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let client = crate::test_support::answering(move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        if request.uri.contains("watch=true") {
            return (200, Value::Null);
        }
        (
            200,
            serde_json::json!({"metadata": {"resourceVersion": "1"}, "items": []}),
        )
    });
    let mut events = stream(widgets(client), WatchScope::All);
    let listen = async { while events.next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(60), listen).await;
    let asked = asked.load(Ordering::Relaxed);
    assert!((10..60).contains(&asked), "{asked}");
}

/// What a server says of `a` when it is asked for it alone.
#[derive(Clone, Copy)]
enum Now {
    At(u64),
    Gone,
    Refused,
}

/// The URIs that a server is asked while its watches break, and which lists were begun knowing what; each
/// list but the one for one object says this of `a` and of where the server is.
async fn broken(lists: &'static [(u64, u64)], now: Now) -> (Vec<String>, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, count) = (asked.clone(), AtomicUsize::new(0));
    let client = crate::test_support::answering(move |request| {
        log.lock().unwrap().push(request.uri.clone());
        let item = |version: u64| json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": version.to_string()}});
        let list = |at: u64, items: Vec<Value>| {
            (
                200,
                json!({"metadata": {"resourceVersion": at.to_string()}, "items": items}),
            )
        };
        if request.uri.contains("watch=true") {
            return (200, Value::Null);
        }
        if request.uri.contains("fieldSelector") {
            return match now {
                Now::At(version) => list(200, vec![item(version)]),
                Now::Gone => list(200, Vec::new()),
                Now::Refused => crate::test_support::failure(403, "Forbidden"),
            };
        }
        let (at, version) = lists[count.fetch_add(1, Ordering::Relaxed).min(lists.len() - 1)];
        list(at, vec![item(version)])
    });
    let begun = stream(widgets(client), WatchScope::All).filter_map(async |event| match event {
        WatchEvent::ListBegin { known } => Some(known),
        _ => None,
    });
    let listen = begun.take(2).collect();
    let listen = tokio::time::timeout(Duration::from_secs(60), listen);
    let begun = listen.await.unwrap_or_default();
    let asked = asked.lock().unwrap().clone();
    (begun, asked)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_went_back_is_listed_again_wherever_it_is_now() {
    // It has passed our position before we are back: only the object tells.
    let (begun, asked) = broken(&[(100, 90), (201, 50)], Now::At(50)).await;
    assert_eq!(begun, ["", "100"], "{asked:?}");
    let (begun, asked) = broken(&[(100, 90), (201, 50)], Now::Gone).await;
    assert_eq!(begun, ["", "100"], "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_to_say_what_became_of_one_object_does_not_stop_a_watch() {
    let (begun, asked) = broken(&[(100, 90)], Now::Refused).await;
    assert_eq!(begun, ["", "100"], "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_goes_on_from_the_newest_object_that_is_as_it_was() {
    let (begun, asked) = broken(&[(100, 90)], Now::At(90)).await;
    assert!(begun.is_empty(), "{begun:?}");
    let path = "/apis/example.io/v1";
    let one = "widgets?limit=1&fieldSelector=metadata.name%3Da";
    assert_eq!(asked[2], format!("{path}/namespaces/n/{one}"));
    assert!(asked[1].contains("&resourceVersion=100&"), "{asked:?}");
    assert!(asked[3].contains("&resourceVersion=90&"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_as_soon_as_it_runs_is_not_told_to_run() {
    let refused =
        json!({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "x"}});
    let added =
        json!({"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "7"}}});
    let watched = AtomicUsize::new(0);
    let serve = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let is_watch = request.uri().to_string().contains("watch=true");
        let before = match is_watch {
            true => watched.fetch_add(1, Ordering::Relaxed),
            false => 0,
        };
        let body = match (is_watch, before) {
            (true, 0..3) => format!("{refused}\n"),
            (true, _) => format!("{added}\n"),
            // Of the looks at what was told last, too: it is as it was.
            (false, _) => json!({"metadata": {"resourceVersion": "5"},
                "items": [{"metadata": {"name": "b", "resourceVersion": "5"}}]})
            .to_string(),
        };
        let body = kube::client::Body::from(body.into_bytes());
        std::future::ready(Ok::<_, kube::Error>(http::Response::new(body)))
    });
    let events = stream(
        widgets(kube::Client::new(serve, "default")),
        WatchScope::All,
    );
    let told = events.filter_map(async |event| match event {
        WatchEvent::Watching => Some("watching"),
        WatchEvent::Failing(_) => Some("failing"),
        WatchEvent::Applied(_) => Some("applied"),
        _ => None,
    });
    let told: Vec<_> = told.take(6).collect().await;
    let failing = ["watching", "failing", "failing", "failing"];
    assert_eq!(told[..4], failing);
    assert_eq!(told[4..], ["watching", "applied"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_has_nothing_to_tell_after_a_failure_runs_all_the_same() {
    let refused =
        json!({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "x"}});
    let watched = AtomicUsize::new(0);
    let serve = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let is_watch = request.uri().to_string().contains("watch=true");
        let list = json!({"metadata": {"resourceVersion": "5"}, "items": []});
        let body = match is_watch {
            true if watched.fetch_add(1, Ordering::Relaxed) > 0 => None,
            true => Some(format!("{refused}\n")),
            false => Some(list.to_string()),
        };
        let body = body.map_or_else(
            || {
                let nothing = futures::stream::pending::<Result<_, std::io::Error>>();
                Either::Right(StreamBody::new(nothing))
            },
            |text| Either::Left(Full::from(text.into_bytes())),
        );
        std::future::ready(Ok::<_, kube::Error>(http::Response::new(body)))
    });
    let events = stream(
        widgets(kube::Client::new(serve, "default")),
        WatchScope::All,
    );
    let watching = events.filter(|event| std::future::ready(matches!(event, WatchEvent::Watching)));
    let twice = watching.take(2).collect::<Vec<_>>();
    let told = tokio::time::timeout(Duration::from_secs(10), twice).await;
    assert!(told.is_ok(), "nothing is wrong with the second");
}
