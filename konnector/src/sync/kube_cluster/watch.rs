//! List in pages, then watch, for ever.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use futures::{AsyncBufReadExt, AsyncReadExt, SinkExt, channel::mpsc};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::{debug, warn};

use super::super::cluster::{Error, WatchEvent, WatchScope};
use super::list::{Failed, list, look_up};
use super::object::{self, ManagedFields};
use super::{KubeCluster, errors, remember, requests};
use crate::watch::{EARLY, SILENCE, Witnesses, is_before};

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
    /// The server ended it when it was asked to: nothing is lost, watch again from where we were.
    InTime,
    /// Whatever ended it, the server may be another one now.
    Broke,
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
    let mut witnesses = Witnesses::default();
    loop {
        let mut version = match list(&cluster, &path, page, &mut witnesses, &mut sender).await {
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
        let (mut broke, mut short, mut shaky) = (false, false, false);
        loop {
            if broke {
                match witnesses.resume(|one| look_up(&cluster, one)).await {
                    Ok(Some(at)) => version = at.to_string(),
                    Ok(None) => {
                        // A list costs more than a watch that is ended at once.
                        if short {
                            rest(&mut backoff, BACKOFF.1).await;
                        }
                        break;
                    }
                    Err(error) => {
                        if !pause(&mut backoff, error, &mut sender).await {
                            return;
                        }
                        continue;
                    }
                }
            }
            let began = tokio::time::Instant::now();
            let told = (&mut witnesses, &mut sender);
            let end = watch(&cluster, &path, &mut version, &mut shaky, told).await;
            short = began.elapsed() < SHORT;
            broke = !matches!(end, Ok(End::InTime));
            if !short {
                backoff = BACKOFF.0;
            }
            match end {
                Ok(End::Closed) => return,
                Ok(End::InTime | End::Broke) if !short => {}
                Err(Error::Expired) if !short => break,
                // A server that ends every watch at once must not be asked as fast as it can answer.
                Ok(End::InTime | End::Broke) => rest(&mut backoff, LONGEST_REST).await,
                Err(Error::Expired) => {
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

/// One watch until it ends; `version` follows what was told. One that fails as soon as it runs is `shaky`:
/// the next one runs when it brings something.
async fn watch(
    cluster: &KubeCluster,
    path: &str,
    version: &mut String,
    shaky: &mut bool,
    (witnesses, sender): (&mut Witnesses, &mut Sender),
) -> Result<End, Error> {
    let seconds = WATCH_SECONDS + rand::random_range(0..60);
    let asked_for = tokio::time::Instant::now() + Duration::from_secs(seconds);
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
    let opened = tokio::time::Instant::now();
    let mut runs = !std::mem::take(shaky);
    if runs && sender.send(WatchEvent::Watching).await.is_err() {
        return Ok(End::Closed);
    }
    let mut reader = std::pin::pin!(reader);
    // Where little happens no line may come for long: a failure would have come by now.
    if !runs
        && tokio::time::timeout(SHORT, reader.fill_buf())
            .await
            .is_err()
    {
        runs = true;
        if sender.send(WatchEvent::Watching).await.is_err() {
            return Ok(End::Closed);
        }
    }
    let deadline = asked_for + WATCH_GRACE;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = reader.as_mut().take(LONGEST_LINE as u64);
        let read = limited.read_until(b'\n', &mut line);
        // A connection that broke or fell silent: what was told so far stays told, and the last line
        // may be cut off.
        let silent = tokio::time::Instant::now() + SILENCE;
        let Ok(Ok(read)) = tokio::time::timeout_at(deadline.min(silent), read).await else {
            return Ok(End::Broke);
        };
        if line.last() != Some(&b'\n') {
            if line.len() == LONGEST_LINE {
                return Err(Error::Unavailable {
                    message: format!("an event has more than {LONGEST_LINE} bytes"),
                    retry_after: None,
                });
            }
            // A server that lives on ends a watch when it was asked to, by its own clock.
            let in_time = read == 0 && tokio::time::Instant::now() + EARLY >= asked_for;
            // Without a version there is no going on.
            let in_time = in_time && !version.is_empty();
            return Ok(if in_time { End::InTime } else { End::Broke });
        }
        let parsed = parse(cluster.managed_fields, path, &line);
        *shaky = parsed.is_err() && opened.elapsed() < SHORT;
        let (event, at) = parsed?;
        if !std::mem::replace(&mut runs, true) && sender.send(WatchEvent::Watching).await.is_err() {
            return Ok(End::Closed);
        }
        if let Some(at) = at {
            // Events that are older than our position are never sent: the server was restored.
            if is_before(&at, version) {
                return Err(Error::Expired);
            }
            cluster.heard(&at);
            *version = at;
        }
        let news = match &event {
            WatchEvent::Applied(object) | WatchEvent::Unreadable(object) => {
                remember(witnesses, object, true)
            }
            WatchEvent::Deleted(object) => remember(witnesses, object, false),
            _ => true,
        };
        if !news {
            continue;
        }
        if sender.send(event).await.is_err() {
            return Ok(End::Closed);
        }
    }
}

/// One line of a watch whose object cannot be read.
#[derive(Deserialize)]
struct Line<'a> {
    r#type: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// One line of a watch: the event and the version it brings us to.
fn parse(
    managed_fields: ManagedFields,
    path: &str,
    line: &[u8],
) -> Result<(WatchEvent, Option<String>), Error> {
    let (kind, read) = match managed_fields.read_event(line) {
        Ok((kind, object)) => (kind, Ok(object)),
        Err(_) => {
            let Line { r#type, object } = requests::parse(line)?;
            // A status has none.
            let wanted = match &*r#type {
                "ERROR" => ManagedFields::Kept,
                _ => managed_fields,
            };
            let text = object.get().as_bytes();
            let read = wanted.read(text).map_err(|_| object::metadata(text));
            (r#type, read.map_err(Option::unwrap_or_default))
        }
    };
    let (Ok(known) | Err(known)) = &read;
    let deleted = kind == "DELETED";
    if !deleted && !matches!(&*kind, "ADDED" | "MODIFIED" | "BOOKMARK") {
        let code = known["code"].as_u64().and_then(|code| code.try_into().ok());
        let status = known.to_string();
        return Err(errors::answer(
            code.unwrap_or(500),
            &http::HeaderMap::new(),
            status.as_bytes(),
        ));
    }
    let version = known["metadata"]["resourceVersion"]
        .as_str()
        .map(str::to_owned);
    let event = match (&*kind, read) {
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
mod tests;
