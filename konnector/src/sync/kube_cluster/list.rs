//! Lists in pages, and where in its history a server is. IO.

use futures::SinkExt;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::cluster::{Error, WatchEvent};
use super::requests::Untold;
use super::watch::{LIST_TIMEOUT, Sender, read, unreadable};
use super::{KubeCluster, requests};
use crate::watch::is_before;

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
    sender: &mut Sender,
) -> Result<Option<String>, Failed> {
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
            let event = match read(cluster.managed_fields, item.get()) {
                Ok(item) => WatchEvent::Listed(item),
                Err(known) => unreadable(path, known),
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

/// Whether the server has gone back behind this version: it was restored from a backup. A watch from a
/// version that is yet to come would be silent until it comes, and skip everything before it.
pub(super) async fn is_behind(
    cluster: &KubeCluster,
    path: &str,
    version: &str,
) -> Result<bool, Error> {
    let request = requests::get(format!("{path}?limit=1"))?;
    let now = page(cluster, request)
        .await
        .map_err(|failed| failed.error)?;
    let now = now.metadata.resource_version;
    Ok(is_before(&now, version))
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

    /// A server whose watches break, and which has been restored when it is back.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_went_back_is_listed_again_and_the_list_says_what_was_known() {
        use futures::StreamExt;
        let restored = std::sync::atomic::AtomicBool::new(false);
        let client = crate::test_support::answering(move |request| {
            use std::sync::atomic::Ordering::Relaxed;
            if request.uri.contains("watch=true") {
                restored.store(true, Relaxed);
                return (200, serde_json::Value::Null);
            }
            let version = if restored.load(Relaxed) { "50" } else { "100" };
            let list = serde_json::json!({"metadata": {"resourceVersion": version}, "items": []});
            (200, list)
        });
        let resource = super::super::super::Resource {
            group: "example.io".into(),
            version: "v1".into(),
            plural: "widgets".into(),
            kind: "Widget".into(),
        };
        let cluster = KubeCluster::new(
            super::super::EngineClient::new(client),
            super::super::super::Limiter::new(),
            &resource,
        );
        let all = super::super::super::WatchScope::All;
        let events = super::super::watch::stream(cluster, all);
        let begun = events.filter_map(async |event| match event {
            WatchEvent::ListBegin { known } => Some(known),
            _ => None,
        });
        let begun: Vec<String> = begun.take(2).collect().await;
        assert_eq!(begun, ["", "100"]);
    }

    #[test]
    fn continue_tokens_survive_a_query_string() {
        assert_eq!(encode("a+b/c=="), "a%2Bb%2Fc%3D%3D");
    }
}
