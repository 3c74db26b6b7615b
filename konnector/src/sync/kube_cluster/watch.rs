//! List in pages, then watch, for ever.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use futures::{AsyncBufReadExt, SinkExt, channel::mpsc};
use http::Request;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::debug;

use super::super::cluster::{Error, WatchEvent, WatchScope};
use super::{KubeCluster, errors, requests};

/// Objects per page: large enough for few requests, small enough not to hold many bodies.
const PAGE: usize = 500;
/// A list that takes longer is broken.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// The server ends a watch after this long; we add a random part so that not all end at once.
const WATCH_SECONDS: u64 = 240;
/// A watch that is silent for longer than the server lets it live is a dead connection.
const WATCH_GRACE: Duration = Duration::from_secs(30);
/// Waiting after a failure: doubles from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How one watch ended.
enum End {
    /// Nothing is lost: watch again from where we were.
    Resume,
    /// The position is gone: list.
    List,
    /// Nobody listens any more.
    Closed,
}

type Sender = mpsc::Sender<WatchEvent>;

/// A page whose objects are still text: parsed ones take ten times the memory.
#[derive(Deserialize)]
struct Page {
    metadata: PageMeta,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    #[serde(default)]
    resource_version: String,
    r#continue: Option<String>,
}

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
    loop {
        let mut version = match list(&cluster, &path, &mut sender).await {
            Ok(Some(version)) => version,
            Ok(None) => return,
            Err(error) => {
                if !pause(&mut backoff, error, &mut sender).await {
                    return;
                }
                continue;
            }
        };
        loop {
            let before = version.clone();
            match watch(&cluster, &path, &mut version, &mut sender).await {
                Ok(End::Resume) => {}
                Ok(End::List) => break,
                Ok(End::Closed) => return,
                Err(Error::Expired) => break,
                Err(error) => {
                    if version != before {
                        backoff = BACKOFF.0;
                    }
                    if !pause(&mut backoff, error, &mut sender).await {
                        return;
                    }
                    continue;
                }
            }
            backoff = BACKOFF.0;
        }
        debug!(path, "the watch lost its position, listing again");
    }
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

/// All pages; the version of the list, or `None` when nobody listens.
async fn list(
    cluster: &KubeCluster,
    path: &str,
    sender: &mut Sender,
) -> Result<Option<String>, Error> {
    let mut continuation: Option<String> = None;
    loop {
        let query = continuation
            .as_deref()
            .map(|token| format!("&continue={}", encode(token)));
        let uri = format!("{path}?limit={PAGE}{}", query.unwrap_or_default());
        let request = Request::get(uri)
            .body(Vec::new())
            .expect("a path of accepted names");
        let text = tokio::time::timeout(LIST_TIMEOUT, cluster.text(request))
            .await
            .map_err(|_| Error::TimedOut {
                after: LIST_TIMEOUT,
            })??;
        let page: Page = requests::parse(&text)?;
        drop(text);
        let version = page.metadata.resource_version;
        let first = continuation.is_none();
        continuation = page.metadata.r#continue.filter(|token| !token.is_empty());
        if first && sender.send(WatchEvent::ListBegin).await.is_err() {
            return Ok(None);
        }
        for item in page.items {
            let item = requests::parse(item.get().as_bytes())?;
            if sender.send(WatchEvent::Listed(item)).await.is_err() {
                return Ok(None);
            }
        }
        if continuation.is_none() {
            let end = WatchEvent::ListEnd {
                resource_version: version.clone(),
            };
            return Ok(sender.send(end).await.is_ok().then_some(version));
        }
    }
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
    let request = Request::get(uri)
        // Servers from 1.37 on compress each event by itself, which our client cannot read.
        .header(http::header::ACCEPT_ENCODING, "identity")
        .body(Vec::new())
        .expect("a path of accepted names");
    let client = cluster.client.current();
    let opened = tokio::time::timeout(LIST_TIMEOUT, client.request_stream(request))
        .await
        .map_err(|_| Error::TimedOut {
            after: LIST_TIMEOUT,
        })?;
    let reader = opened.map_err(|error| errors::transport(&error))?;
    if sender.send(WatchEvent::Watching).await.is_err() {
        return Ok(End::Closed);
    }
    let mut lines = std::pin::pin!(reader.lines());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds) + WATCH_GRACE;
    while let Ok(Some(line)) = tokio::time::timeout_at(deadline, lines.next()).await {
        // A connection that broke in the middle: what was told so far stays told.
        let Ok(line) = line else {
            return Ok(End::Resume);
        };
        let Some((event, at)) = parse(&line)? else {
            continue;
        };
        if let Some(at) = at {
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

/// One line of a watch: the event and the version it brings us to.
fn parse(line: &str) -> Result<Option<(WatchEvent, Option<String>)>, Error> {
    // The last line of a broken connection may be cut off.
    let Ok(mut event) = serde_json::from_str::<Value>(line) else {
        return Ok(None);
    };
    let object = event["object"].take();
    let version = object["metadata"]["resourceVersion"]
        .as_str()
        .map(str::to_owned);
    let event = match event["type"].as_str() {
        Some("ADDED" | "MODIFIED") => WatchEvent::Applied(object),
        Some("DELETED") => WatchEvent::Deleted(object),
        Some("BOOKMARK") => WatchEvent::Bookmark {
            resource_version: version.clone().unwrap_or_default(),
        },
        _ => {
            let code = object["code"]
                .as_u64()
                .and_then(|code| u16::try_from(code).ok());
            let text = serde_json::to_vec(&object).unwrap_or_default();
            return Err(errors::answer(
                code.unwrap_or(500),
                &http::HeaderMap::new(),
                &text,
            ));
        }
    };
    Ok(Some((event, version)))
}

/// A continue token is URL-safe base64 in practice, but opaque by contract.
fn encode(token: &str) -> String {
    token
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gone_error_in_the_stream_means_list_again() {
        let line = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}"#;
        assert_eq!(parse(line).unwrap_err(), Error::Expired);
    }

    #[test]
    fn events_move_the_position() {
        let line =
            r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"17"}}}"#;
        let (event, version) = parse(line).unwrap().unwrap();
        assert!(matches!(event, WatchEvent::Applied(_)));
        assert_eq!(version.as_deref(), Some("17"));
    }

    #[test]
    fn a_line_that_was_cut_off_is_ignored() {
        assert!(parse(r#"{"type":"MODIF"#).unwrap().is_none());
    }

    #[test]
    fn continue_tokens_survive_a_query_string() {
        assert_eq!(encode("a+b/c=="), "a%2Bb%2Fc%3D%3D");
    }
}
