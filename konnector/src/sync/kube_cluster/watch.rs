//! List in pages, then watch, for ever.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use futures::{AsyncBufReadExt, AsyncReadExt, SinkExt, channel::mpsc};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::{debug, warn};

use super::super::cluster::{Error, WatchEvent, WatchScope};
use super::list::{Failed, is_behind, list};
use super::object::ManagedFields;
use super::{KubeCluster, errors, requests};
use crate::watch::{SILENCE, is_before};

/// Objects per page: large enough for few requests, small enough not to hold many bodies.
const PAGE: usize = 500;
/// A list that takes longer is broken.
pub(super) const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// The server ends a watch after this long; we add a random part so that not all end at once.
const WATCH_SECONDS: u64 = 240;
/// A watch that is silent for longer than the server lets it live is a dead connection.
const WATCH_GRACE: Duration = Duration::from_secs(30);
/// Waiting after a failure: doubles from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A watch that ended sooner tells of a server or a proxy that does not let it live.
const SHORT: Duration = Duration::from_secs(5);
/// Longest wait after a watch that was ended without a failure: until then nothing is heard.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// A longer line is no event of an API server, whose objects have 1.5 MiB at most.
const LONGEST_LINE: usize = 16 << 20;

/// How one watch ended.
enum End {
    /// Nothing is lost: watch again from where we were.
    Resume,
    /// The position is gone: list.
    List,
    /// Nobody listens any more.
    Closed,
}

pub(super) type Sender = mpsc::Sender<WatchEvent>;

/// The endless stream. The channel holds one event: a slow reader slows the reading of the
/// connection, and nothing piles up in memory.
pub(super) fn stream(cluster: KubeCluster, scope: WatchScope) -> BoxStream<'static, WatchEvent> {
    let (sender, receiver) = mpsc::channel(0);
    let driver = futures::stream::once(run(cluster, scope, sender))
        .filter_map(|()| std::future::ready(None));
    futures::stream::select(driver, receiver).boxed()
}

async fn run(cluster: KubeCluster, scope: WatchScope, mut sender: Sender) {
    let path = cluster.collection_path(&scope);
    let mut backoff = BACKOFF.0;
    let mut page = PAGE;
    loop {
        let mut version = match list(&cluster, &path, page, &mut sender).await {
            Ok(Some(version)) => {
                page = PAGE;
                version
            }
            Ok(None) => return,
            Err(Failed { error, too_much }) => {
                // Others, such as a server that is away, would fail as well with less.
                if too_much {
                    page = (page / 4).max(1);
                }
                if !pause(&mut backoff, error, &mut sender).await {
                    return;
                }
                continue;
            }
        };
        let mut broke = false;
        loop {
            if std::mem::take(&mut broke) {
                match is_behind(&cluster, &path, &version).await {
                    Ok(false) => {}
                    Ok(true) => break,
                    Err(error) => {
                        broke = true;
                        if !pause(&mut backoff, error, &mut sender).await {
                            return;
                        }
                        continue;
                    }
                }
            }
            let began = tokio::time::Instant::now();
            let end = watch(&cluster, &path, &mut version, &mut sender).await;
            let short = began.elapsed() < SHORT;
            // A server that lives on ends a watch when it was asked to.
            broke = began.elapsed() < Duration::from_secs(WATCH_SECONDS);
            if !short {
                backoff = BACKOFF.0;
            }
            match end {
                Ok(End::Closed) => return,
                Ok(End::Resume) if !short => {}
                Ok(End::List) | Err(Error::Expired) if !short => break,
                // A server that ends every watch at once must not be asked as fast as it can answer.
                Ok(End::Resume) => rest(&mut backoff, LONGEST_REST).await,
                Ok(End::List) | Err(Error::Expired) => {
                    rest(&mut backoff, BACKOFF.1).await;
                    break;
                }
                Err(error) => {
                    if !pause(&mut backoff, error, &mut sender).await {
                        return;
                    }
                }
            }
        }
        debug!(path, "the watch lost its position, listing again");
    }
}

/// Waits without a failure.
async fn rest(backoff: &mut Duration, longest: Duration) {
    let wait = (*backoff).min(longest);
    *backoff = (*backoff * 2).min(BACKOFF.1);
    tokio::time::sleep(wait.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
}

/// Reports the failure and waits; `false` when nobody listens.
async fn pause(backoff: &mut Duration, error: Error, sender: &mut Sender) -> bool {
    let wait = error.retry_after().unwrap_or(*backoff).max(*backoff);
    *backoff = (*backoff * 2).min(BACKOFF.1);
    if sender.send(WatchEvent::Failing(error)).await.is_err() {
        return false;
    }
    tokio::time::sleep(wait.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
    true
}

/// One watch until it ends; `version` follows what was told.
async fn watch(
    cluster: &KubeCluster,
    path: &str,
    version: &mut String,
    sender: &mut Sender,
) -> Result<End, Error> {
    let seconds = WATCH_SECONDS + rand::random_range(0..60);
    let uri = format!(
        "{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}"
    );
    let mut request = requests::get(uri)?;
    // Servers from 1.37 on compress each event by itself, which our client cannot read.
    request.headers_mut().insert(
        http::header::ACCEPT_ENCODING,
        http::HeaderValue::from_static("identity"),
    );
    let client = &cluster.client.client;
    let opened = tokio::time::timeout(LIST_TIMEOUT, client.request_stream(request))
        .await
        .map_err(|_| Error::TimedOut {
            after: LIST_TIMEOUT,
        })?;
    let reader = opened.map_err(|error| errors::transport(&error))?;
    if sender.send(WatchEvent::Watching).await.is_err() {
        return Ok(End::Closed);
    }
    let mut reader = std::pin::pin!(reader);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds) + WATCH_GRACE;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = reader.as_mut().take(LONGEST_LINE as u64);
        let read = limited.read_until(b'\n', &mut line);
        // A connection that broke or fell silent: what was told so far stays told, and the last line
        // may be cut off.
        let silent = tokio::time::Instant::now() + SILENCE;
        let Ok(Ok(_)) = tokio::time::timeout_at(deadline.min(silent), read).await else {
            break;
        };
        if line.last() != Some(&b'\n') {
            if line.len() == LONGEST_LINE {
                return Err(Error::Unavailable {
                    message: format!("an event has more than {LONGEST_LINE} bytes"),
                    retry_after: None,
                });
            }
            break;
        }
        let (event, at) = parse(cluster.managed_fields, path, &line)?;
        if let Some(at) = at {
            // Events that are older than our position are never sent: the server was restored.
            if is_before(&at, version) {
                return Err(Error::Expired);
            }
            cluster.heard(&at);
            *version = at;
        }
        if sender.send(event).await.is_err() {
            return Ok(End::Closed);
        }
    }
    // An empty version cannot be resumed from.
    Ok(if version.is_empty() {
        End::List
    } else {
        End::Resume
    })
}

/// One line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// One line of a watch: the event and the version it brings us to.
fn parse(
    managed_fields: ManagedFields,
    path: &str,
    line: &[u8],
) -> Result<(WatchEvent, Option<String>), Error> {
    let line: Line<'_> = requests::parse(line)?;
    let text = line.object.get();
    let deleted = line.r#type == "DELETED";
    if !deleted && !matches!(line.r#type, "ADDED" | "MODIFIED" | "BOOKMARK") {
        let status: Value = requests::parse(text.as_bytes())?;
        let code = status["code"]
            .as_u64()
            .and_then(|code| code.try_into().ok());
        return Err(errors::answer(
            code.unwrap_or(500),
            &http::HeaderMap::new(),
            text.as_bytes(),
        ));
    }
    let read = read(managed_fields, text);
    let (Ok(known) | Err(known)) = &read;
    let version = known["metadata"]["resourceVersion"]
        .as_str()
        .map(str::to_owned);
    let event = match (line.r#type, read) {
        ("BOOKMARK", _) => WatchEvent::Bookmark {
            resource_version: version.clone().unwrap_or_default(),
        },
        // Nothing more than its name and version matters then.
        (_, Ok(object) | Err(object)) if deleted => WatchEvent::Deleted(object),
        (_, Ok(object)) => WatchEvent::Applied(object),
        (_, Err(known)) => unreadable(path, known),
    };
    Ok((event, version))
}

/// An object; one that cannot be read (nested deeper than we follow, or a number beyond all means)
/// comes with its metadata alone, as the error.
pub(super) fn read(managed_fields: ManagedFields, text: &str) -> Result<Value, Value> {
    #[derive(Deserialize)]
    struct Known {
        metadata: Value,
    }
    managed_fields.read(text.as_bytes()).map_err(|_| {
        let known = serde_json::from_str::<Known>(text);
        known.map_or(
            Value::Null,
            |known| serde_json::json!({"metadata": known.metadata}),
        )
    })
}

pub(super) fn unreadable(path: &str, known: Value) -> WatchEvent {
    warn!(
        path,
        object.namespace = %known["metadata"]["namespace"],
        object.name = %known["metadata"]["name"],
        "an object cannot be read and is left as it is; it may be nested too deeply"
    );
    WatchEvent::Unreadable(known)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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
        let line =
            r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"17"}}}"#;
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
    async fn pages(
        answer: impl Fn(usize, &str) -> Option<u16> + Send + Sync + 'static,
    ) -> Vec<String> {
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
        use std::sync::atomic::{AtomicUsize, Ordering};
        let asked = std::sync::Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let client = crate::test_support::answering(move |request| {
            if request.uri.contains("watch=true") {
                count.fetch_add(1, Ordering::Relaxed);
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
        assert!((10..200).contains(&asked), "{asked}");
    }
}
