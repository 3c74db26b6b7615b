//! What is told of scripted servers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::*;

/// A client whose server answers the nth request for this path and query so.
fn server(script: impl Fn(usize, &str) -> (u16, String) + Send + Sync + 'static) -> Client {
    let asked = Arc::new(Mutex::new(0));
    let script = Arc::new(script);
    let serve = tower::service_fn(move |request: http::Request<Body>| {
        let (asked, script) = (asked.clone(), script.clone());
        async move {
            let mut asked = asked.lock().unwrap();
            let (code, body) = script(*asked, &request.uri().to_string());
            *asked += 1;
            let body = Body::from(body.into_bytes());
            let answer = http::Response::builder().status(code).body(body).unwrap();
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(serve, "default")
}

fn is_watch(uri: &str) -> bool {
    uri.contains("watch=true")
}

fn object(name: &str, version: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": name, "namespace": "default", "resourceVersion": version.to_string()}})
}

fn list(version: u32, names: &[&str]) -> (u16, String) {
    let items: Vec<_> = names.iter().map(|name| object(name, version)).collect();
    let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "items": items,
        "metadata": {"resourceVersion": version.to_string()}});
    (200, list.to_string())
}

fn events(lines: &[Value]) -> (u16, String) {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    (200, lines.concat())
}

fn added(name: &str, version: u32) -> Value {
    json!({"type": "ADDED", "object": object(name, version)})
}

/// The first so many words of what is told.
async fn told(client: Client, most: usize, count: usize) -> Vec<String> {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let words = Arc::new(Mutex::new(Vec::new()));
    let said = words.clone();
    let enough = tokio_util::sync::CancellationToken::new();
    let stop = enough.clone();
    let tell = move |told: Told<ConfigMap>| {
        let mut said = said.lock().unwrap();
        if said.len() == count {
            return stop.cancel();
        }
        said.push(match told {
            Told::Event(Event::Init) => "list".into(),
            Told::Event(Event::InitApply(object)) => format!("listed {}", object.name_any()),
            Told::Event(Event::InitDone) => "done".into(),
            Told::Event(Event::Apply(object)) => format!("applied {}", object.name_any()),
            Told::Event(Event::Delete(object)) => format!("deleted {}", object.name_any()),
            Told::Running => "running".into(),
            Told::Failed(_) => "failed".into(),
        });
        let first = said.len() <= 3 && said.last().is_some_and(|last| last == "listed panic");
        drop(said);
        assert!(!first, "on purpose");
    };
    let following = follow(api, at_most(most, Config::default()), tell);
    let run = enough.run_until_cancelled(following);
    let _ = tokio::time::timeout(Duration::from_secs(3600), run).await;
    words.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_runs_again_says_so_without_a_new_list() {
    let client = server(|asked, uri| match (asked, is_watch(uri)) {
        (1, _) => (503, "away".into()),
        (_, true) => events(&[]),
        (_, false) => list(10, &["a"]),
    });
    let words = told(client, 9, 5).await;
    assert_eq!(words, ["list", "listed a", "done", "failed", "running"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_as_soon_as_it_runs_does_not_run() {
    let refuse = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
        "status": "Failure", "code": 500, "reason": "InternalError", "message": "broken"}});
    let watched = AtomicU32::new(0);
    let client = server(move |_, uri| match is_watch(uri) {
        true if watched.fetch_add(1, Ordering::Relaxed) < 3 => {
            events(std::slice::from_ref(&refuse))
        }
        true => events(&[added("b", 11)]),
        false => list(10, &["a"]),
    });
    let words = told(client, 9, 9).await;
    let failing = [
        "list", "listed a", "done", "running", "failed", "failed", "failed",
    ];
    assert_eq!(words[..7], failing);
    assert_eq!(words[7..], ["running", "applied b"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_restored_is_listed_again() {
    let client = server(|asked, uri| match (asked, is_watch(uri)) {
        (_, true) => events(&[]),
        (0, false) => list(100, &["a", "b"]),
        (_, false) if uri.contains("metadata.name%3Db") => list(200, &[]),
        (_, false) => list(200, &["a"]),
    });
    let words = told(client, 9, 7).await;
    let again = [
        "list", "listed a", "listed b", "done", "running", "list", "listed a",
    ];
    assert_eq!(words, again);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_a_watch_broke_is_not_told_again() {
    let event = |kind: &str, name: &str, version: u32| json!({"type": kind, "object": object(name, version)});
    let client = server(move |asked, uri| match (asked, is_watch(uri)) {
        (0, false) => list(5, &["a", "c"]),
        // The newest that is as it was is `a`, and between it and the end much happened.
        (_, false) if uri.contains("metadata.name%3Dc") => list(20, &[]),
        (_, false) => (
            200,
            json!({"metadata": {"resourceVersion": "20"}, "items": [object("a", 5)]}).to_string(),
        ),
        (1, true) => events(&[event("MODIFIED", "c", 12), event("DELETED", "c", 13)]),
        (_, true) if !uri.contains("resourceVersion=5") => events(&[]),
        (_, true) => events(&[
            event("MODIFIED", "c", 12),
            event("DELETED", "c", 13),
            event("ADDED", "d", 14),
        ]),
    });
    let words = told(client, 2, 9).await;
    let all = [
        "list",
        "listed a",
        "listed c",
        "done",
        "running",
        "applied c",
        "deleted c",
        "running",
        "applied d",
    ];
    assert_eq!(words, all);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_to_say_where_it_is_is_listed() {
    let client = server(|asked, uri| match (asked, is_watch(uri)) {
        (_, true) => events(&[]),
        (0, false) => list(10, &["a"]),
        (_, false) if uri.contains("fieldSelector") => (403, String::new()),
        (_, false) => list(10, &["a"]),
    });
    let words = told(client, 9, 5).await;
    assert_eq!(words, ["list", "listed a", "done", "running", "list"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_any_more_does_not_hold_up_a_watch_that_broke() {
    let client = server(|asked, uri| match (asked, is_watch(uri)) {
        (_, true) => events(&[]),
        (0, false) => list(10, &["a", "b"]),
        (_, false) => {
            let mut object = object("b", 10);
            object["metadata"]["labels"] = 7.into();
            let list = json!({"metadata": {"resourceVersion": "12"}, "items": [object]});
            (200, list.to_string())
        }
    });
    let words = told(client, 9, 6).await;
    let all = ["list", "listed a", "listed b", "done", "running", "running"];
    assert_eq!(words, all);
}

#[tokio::test(start_paused = true)]
async fn an_event_from_before_our_position_means_a_restored_server() {
    let client = server(|asked, uri| match (asked, is_watch(uri)) {
        (1, true) => events(&[added("b", 50)]),
        (_, true) => events(&[]),
        (0, false) => list(100, &[]),
        (_, false) => list(200, &[]),
    });
    let words = told(client, 9, 4).await;
    assert_eq!(words, ["list", "done", "running", "list"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_objects_than_wanted_are_read() {
    let client = server(|_, uri| match is_watch(uri) {
        true => events(&[]),
        false => list(10, &["a", "b", "c"]),
    });
    assert_eq!(
        told(client, 2, 4).await,
        ["list", "failed", "list", "failed"]
    );
    let client = server(|asked, uri| match (asked, is_watch(uri)) {
        (1, true) => events(&[added("b", 11), added("c", 12)]),
        (_, true) => events(&[]),
        (0, false) => list(10, &["a"]),
        (_, false) => list(12, &["a", "b", "c"]),
    });
    let words = told(client, 2, 8).await;
    let refused = [
        "list",
        "listed a",
        "done",
        "running",
        "applied b",
        "failed",
        "list",
        "failed",
    ];
    assert_eq!(words, refused);
}

#[tokio::test(start_paused = true)]
async fn one_event_that_makes_no_sense_hides_no_other() {
    let client = server(|asked, uri| match (asked, is_watch(uri)) {
        (1, true) => events(&[json!({"type": "ADDED", "object": 7}), added("b", 11)]),
        (_, true) => events(&[]),
        (_, false) => list(10, &[]),
    });
    let words = told(client, 9, 5).await;
    assert_eq!(words, ["list", "done", "running", "failed", "applied b"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_with_a_history_that_nothing_can_hold_hides_no_other() {
    let poison = |version: u32| {
        let mut object = object("poison", version);
        object["metadata"]["managedFields"] = json!([{"time": "9999-12-31T23:59:59Z"}]);
        object
    };
    let client = server(move |asked, uri| match (asked, is_watch(uri)) {
        (1, true) => events(&[json!({"type": "MODIFIED", "object": poison(11)})]),
        (_, true) => events(&[]),
        (_, false) => {
            let list = json!({"metadata": {"resourceVersion": "10"}, "items": [poison(9)]});
            (200, list.to_string())
        }
    });
    let words = told(client, 9, 5).await;
    let all = ["list", "listed poison", "done", "running", "applied poison"];
    assert_eq!(words, all);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_who_is_told_costs_a_list_and_no_more() {
    let client = server(|_, uri| match is_watch(uri) {
        true => events(&[]),
        false => list(10, &["panic"]),
    });
    let words = told(client, 9, 5).await;
    assert_eq!(
        words,
        ["list", "listed panic", "list", "listed panic", "done"]
    );
}

#[test]
fn only_numbers_can_go_back() {
    assert!(is_before("9", "10"));
    assert!(!is_before("10", "10"));
    assert!(!is_before("", "10"));
    assert!(!is_before("abc", "10"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_is_asked_for_again() {
    let version = Arc::new(AtomicU32::new(2));
    let serve = tower::service_fn(move |request: http::Request<Body>| {
        let version = version.clone();
        async move {
            let uri = request.uri().to_string();
            let body = if is_watch(&uri) {
                let version = version.fetch_add(1, Ordering::Relaxed);
                let line = format!("{}\n", added("a", version)).into_bytes();
                Full::from(line)
                    .with_trailers(std::future::pending())
                    .boxed()
            } else {
                let names: &[_] = if uri.contains("fieldSelector") {
                    &["a"]
                } else {
                    &[]
                };
                Full::from(list(2, names).1.into_bytes()).boxed()
            };
            Ok::<_, kube::Error>(http::Response::new(body))
        }
    });
    let began = Instant::now();
    let words = told(Client::new(serve, "default"), usize::MAX, 5).await;
    assert_eq!(words, ["list", "done", "running", "applied a", "running"]);
    assert!(began.elapsed() < SILENCE * 2, "{:?}", began.elapsed());
}
