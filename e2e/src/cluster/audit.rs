//! What was asked of an API server, from its own audit log: one entry per finished request.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Reader of one audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
}

/// A place in the log: "from here on".
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

/// A finished request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedRequest {
    /// Who asked, after impersonation.
    pub user: String,
    /// The program, as it names itself.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural of the kind; empty for requests that are not about objects.
    pub resource: String,
    /// `status`, `token`, ...
    pub subresource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Path and query.
    pub uri: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// When it came, RFC 3339 with microseconds.
    pub received: String,
    /// When it was answered, likewise.
    pub finished: String,
}

impl AuditedRequest {
    /// Does it change something?
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    /// `verb group/resource/subresource`, the key of [`count_by_kind`].
    pub fn kind(&self) -> String {
        let slash = |text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                format!("/{text}")
            }
        };
        let group = if self.group.is_empty() {
            "core"
        } else {
            &self.group
        };
        format!(
            "{} {group}{}{}",
            self.verb,
            slash(&self.resource),
            slash(&self.subresource)
        )
    }
}

impl Audit {
    pub(super) fn new(path: PathBuf) -> Audit {
        Audit { path }
    }

    /// The present end of the log.
    pub fn mark(&self) -> Result<Mark> {
        let length = std::fs::metadata(&self.path)
            .with_context(|| format!("failed to read {}", self.path.display()))?
            .len();
        Ok(Mark(length))
    }

    /// All requests that finished after `mark`. A watch is written when it ends, not when it begins.
    pub fn since(&self, mark: Mark) -> Result<Vec<AuditedRequest>> {
        self.text_since(mark)?.lines().map(parse).collect()
    }

    /// Reads on from the present end of the log.
    pub fn tail(&self) -> Result<Tail> {
        Ok(Tail {
            audit: self.clone(),
            mark: self.mark()?,
        })
    }

    /// The complete lines after `mark`.
    fn text_since(&self, mark: Mark) -> Result<String> {
        let open = || format!("failed to read {}", self.path.display());
        let mut file = std::fs::File::open(&self.path).with_context(open)?;
        file.seek(SeekFrom::Start(mark.0)).with_context(open)?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(open)?;
        // The last line may be in the middle of being written.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        Ok(text)
    }

    /// All requests of the log.
    pub fn all(&self) -> Result<Vec<AuditedRequest>> {
        self.since(Mark(0))
    }
}

/// How many requests of each [`AuditedRequest::kind`]; for messages and snapshots.
pub fn count_by_kind(requests: &[AuditedRequest]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request.kind()).or_default() += 1;
    }
    counts
}

/// An audit log that is read as it grows.
#[derive(Debug)]
pub struct Tail {
    audit: Audit,
    mark: Mark,
}

impl Tail {
    /// The requests that have finished since the last call.
    pub fn read(&mut self) -> Result<Vec<AuditedRequest>> {
        let text = self.audit.text_since(self.mark)?;
        self.mark.0 += text.len() as u64;
        text.lines().map(parse).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    #[serde(default)]
    user_agent: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: UserRef,
    impersonated_user: Option<UserRef>,
    object_ref: Option<Object>,
    response_status: Option<Code>,
    #[serde(default)]
    request_received_timestamp: String,
    #[serde(default)]
    stage_timestamp: String,
}

#[derive(Deserialize, Default)]
struct UserRef {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct Code {
    #[serde(default)]
    code: u16,
}

fn parse(line: &str) -> Result<AuditedRequest> {
    let line: Line = serde_json::from_str(line).context("an audit line is not an event")?;
    let object = line.object_ref.unwrap_or_default();
    Ok(AuditedRequest {
        user: line.impersonated_user.unwrap_or(line.user).username,
        user_agent: line.user_agent,
        verb: line.verb,
        group: object.api_group,
        resource: object.resource,
        subresource: object.subresource,
        namespace: object.namespace,
        name: object.name,
        uri: line.uri,
        code: line.response_status.unwrap_or_default().code,
        received: line.request_received_timestamp,
        finished: line.stage_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::{count_by_kind, parse};

    const LINE: &str = r#"{"kind":"Event","verb":"patch","user":{"username":"admin"},"userAgent":"probe","requestURI":"/x",
        "objectRef":{"resource":"widgets","apiGroup":"example.org","subresource":"status","namespace":"n","name":"w"},
        "responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z"}"#;

    #[test]
    fn a_request_is_counted_under_its_verb_resource_and_subresource() {
        let request = parse(&LINE.replace('\n', "")).unwrap();
        assert_eq!((request.user.as_str(), request.code), ("admin", 200));
        assert!(request.is_write());
        let counts = count_by_kind(&[request.clone(), request]);
        assert_eq!(
            counts,
            [("patch example.org/widgets/status".to_owned(), 2)].into()
        );
    }
}
