//! Lists in pages, and looks up single objects to know where in its history a server is. IO.

use futures::SinkExt;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::cluster::{Error, WatchEvent, WatchScope};
use super::requests::Untold;
use super::watch::{LIST_TIMEOUT, Sender, unreadable};
use super::{KubeCluster, object, remember, requests};
use crate::watch::{Found, Witness, Witnesses};

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

/// A list that came to nothing.
pub(super) struct Failed {
    pub(super) error: Error,
    /// It was too much for one answer, or for the time that one may take.
    pub(super) too_much: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            too_much: matches!(error, Error::TimedOut { .. }),
            error,
        }
    }
}

/// All pages; the version of the list, or `None` when nobody listens.
pub(super) async fn list(
    cluster: &KubeCluster,
    path: &str,
    limit: usize,
    witnesses: &mut Witnesses,
    sender: &mut Sender,
) -> Result<Option<String>, Failed> {
    witnesses.clear();
    let known = match cluster.told() {
        0 => String::new(),
        known => known.to_string(),
    };
    let mut continuation: Option<String> = None;
    loop {
        let query = continuation
            .as_deref()
            .map(|token| format!("&continue={}", encode(token)));
        let uri = format!("{path}?limit={limit}{}", query.unwrap_or_default());
        let request = requests::get(uri)?;
        let Page { metadata, items } = page(cluster, request).await?;
        let version = metadata.resource_version;
        let first = continuation.is_none();
        continuation = metadata.r#continue.filter(|token| !token.is_empty());
        if first {
            let known = known.clone();
            if sender.send(WatchEvent::ListBegin { known }).await.is_err() {
                return Ok(None);
            }
        }
        for item in items {
            let text = item.get().as_bytes();
            let event = match cluster.managed_fields.read(text) {
                Ok(item) => {
                    remember(witnesses, &item, true);
                    WatchEvent::Listed(item)
                }
                Err(_) => unreadable(path, object::metadata(text).unwrap_or_default()),
            };
            if sender.send(event).await.is_err() {
                return Ok(None);
            }
        }
        cluster.heard(&version);
        if continuation.is_none() {
            let end = WatchEvent::ListEnd {
                resource_version: version.clone(),
            };
            return Ok(sender.send(end).await.is_ok().then_some(version));
        }
    }
}

/// What the server says now of an object that it told of; `None` if it refuses to say.
pub(super) async fn look_up(
    cluster: &KubeCluster,
    witness: Witness,
) -> Result<Option<Found>, Error> {
    #[derive(Deserialize)]
    struct Item {
        metadata: PageMeta,
    }
    let scope = match &*witness.namespace {
        "" => WatchScope::All,
        namespace => WatchScope::Namespace(namespace.to_owned()),
    };
    let uri = format!(
        "{}?limit=1&fieldSelector=metadata.name%3D{}",
        cluster.collection_path(&scope),
        encode(&witness.name)
    );
    let Page { metadata, items } = match page(cluster, requests::get(uri)?).await {
        Ok(page) => page,
        // The list will say what is wrong, if it is not about this object alone.
        Err(failed) if is_refusal(&failed.error) => return Ok(None),
        Err(failed) => return Err(failed.error),
    };
    let object = items
        .first()
        .map(|item| requests::parse(item.get().as_bytes()));
    let object: Option<Item> = object.transpose()?;
    Ok(Some(Found {
        server: metadata.resource_version.parse().ok(),
        object: object.and_then(|item| item.metadata.resource_version.parse().ok()),
    }))
}

fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::Denied { .. }
            | Error::Rejected { .. }
            | Error::NotFound
            | Error::NamespaceGone { .. }
            | Error::NotServed { .. }
    )
}

async fn page(cluster: &KubeCluster, request: http::Request<Vec<u8>>) -> Result<Page, Failed> {
    let after = LIST_TIMEOUT;
    // Not kept while the page is told: a slow listener must not hold up others.
    let _permit = cluster.limiter.acquire_list().await;
    let text = tokio::time::timeout(after, cluster.text(request)).await;
    let text = text.map_err(|_| Error::TimedOut { after })?;
    let text = text.map_err(|untold| Failed {
        too_much: matches!(untold, Untold::Cut(_)),
        error: untold.error(),
    })?;
    Ok(requests::parse(&text)?)
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
    fn continue_tokens_survive_a_query_string() {
        assert_eq!(encode("a+b/c=="), "a%2Bb%2Fc%3D%3D");
    }
}
