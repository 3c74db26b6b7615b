//! What was asked of an API server, from its own audit log: one entry per finished request.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

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
        let open = || format!("failed to read {}", self.path.display());
        let mut file = std::fs::File::open(&self.path).with_context(open)?;
        file.seek(SeekFrom::Start(mark.0)).with_context(open)?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(open)?;
        // The last line may be in the middle of being written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().map(parse).collect()
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

fn parse(line: &str) -> Result<AuditedRequest> {
    let event: Value = serde_json::from_str(line).context("an audit line is not JSON")?;
    let text = |pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let user = event
        .pointer("/impersonatedUser/username")
        .or_else(|| event.pointer("/user/username"));
    Ok(AuditedRequest {
        user: user.and_then(Value::as_str).unwrap_or_default().to_owned(),
        user_agent: text("/userAgent"),
        verb: text("/verb"),
        group: text("/objectRef/apiGroup"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        uri: text("/requestURI"),
        code: event
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or_default(),
        received: text("/requestReceivedTimestamp"),
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
