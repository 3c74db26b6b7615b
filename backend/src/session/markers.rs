//! Small objects that make "once" and "no more" hold on every replica: a redeemed code, a token
//! that was logged out. ConfigMaps in the backend's namespace, deleted when they have expired.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use kube_bind_crds::hex;
use kube_bind_runtime::apply::timed;
use kube_bind_runtime::clock::SharedClock;
use kube_bind_runtime::shutdown::Shutdown;
use sha2::{Digest, Sha256};
use tracing::{debug, warn};

/// Label of all markers.
pub const LABEL: &str = "backend.kube-bind.io/login-marker";
/// When a marker may be deleted, as RFC 3339.
pub const ANNOTATION_EXPIRES: &str = "backend.kube-bind.io/expires";
const SWEEP: Duration = Duration::from_secs(60);
/// How long an answer "not logged out" is believed: the delay of a logout on other replicas.
const BELIEVED: Duration = Duration::from_secs(5);
const BELIEVED_MAX: usize = 4096;

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This code was redeemed.
    Redeemed,
    /// This token was logged out.
    LoggedOut,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Redeemed => "login-code",
            Self::LoggedOut => "login-revoked",
        }
    }
}

/// Whether a marker was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It is now there.
    First,
    /// It was there before.
    Again,
}

/// The markers of this backend.
pub struct Markers {
    api: Api<ConfigMap>,
    clock: SharedClock,
    absent: Mutex<HashMap<String, Instant>>,
}

impl Markers {
    /// Markers in `namespace`.
    pub fn new(client: kube::Client, namespace: &str, clock: SharedClock) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            clock,
            absent: Mutex::default(),
        }
    }

    /// Sets a marker, or finds that it was set. The API server decides between two replicas.
    pub async fn mark(
        &self,
        kind: Kind,
        id: &str,
        expires: Timestamp,
    ) -> Result<Marked, kube::Error> {
        let name = name(kind, id);
        self.absent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&name);
        let marker = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name),
                labels: Some(BTreeMap::from([(
                    LABEL.to_owned(),
                    kind.prefix().to_owned(),
                )])),
                annotations: Some(BTreeMap::from([(
                    ANNOTATION_EXPIRES.to_owned(),
                    expires.to_string(),
                )])),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            ..ConfigMap::default()
        };
        match timed(self.api.create(&PostParams::default(), &marker)).await {
            Ok(_) => Ok(Marked::First),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Marked::Again),
            Err(err) => Err(err),
        }
    }

    /// Whether a marker is set; an absent one is remembered for a few seconds.
    pub async fn is_marked(&self, kind: Kind, id: &str) -> Result<bool, kube::Error> {
        let name = name(kind, id);
        let now = self.clock.monotonic();
        let is_fresh = |seen: &Instant| now.duration_since(*seen) < BELIEVED;
        {
            let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
            if absent.get(&name).is_some_and(is_fresh) {
                return Ok(false);
            }
        }
        let found = timed(self.api.get_metadata_opt(&name)).await?.is_some();
        if !found {
            let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
            if absent.len() >= BELIEVED_MAX {
                absent.retain(|_, seen| is_fresh(seen));
            }
            absent.insert(name, now);
        }
        Ok(found)
    }

    /// Deletes what has expired, every minute. Any number of replicas may do so at once.
    pub async fn keep_swept(&self, shutdown: &Shutdown) {
        while shutdown
            .token
            .run_until_cancelled(tokio::time::sleep(SWEEP))
            .await
            .is_some()
        {
            if let Err(err) = self.sweep().await {
                warn!(
                    error = &err as &dyn StdError,
                    "failed to delete expired login markers"
                );
            }
        }
    }

    async fn sweep(&self) -> Result<(), kube::Error> {
        let now = self.clock.now();
        let list = timed(self.api.list_metadata(&ListParams::default().labels(LABEL))).await?;
        for marker in list {
            let name = marker.metadata.name.as_deref().unwrap_or_default();
            if !is_expired(&marker.metadata, now) {
                continue;
            }
            match timed(self.api.delete(name, &DeleteParams::default())).await {
                Ok(_) => debug!(configmap.name = name, "deleted expired login marker {name}"),
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }
}

/// A marker that nobody can date stays: better a leftover than a code that works twice.
fn is_expired(metadata: &ObjectMeta, now: Timestamp) -> bool {
    let expires = metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(ANNOTATION_EXPIRES));
    expires
        .and_then(|text| text.parse::<Timestamp>().ok())
        .is_some_and(|expires| now > expires)
}

fn name(kind: Kind, id: &str) -> String {
    let digest = hex::encode(&Sha256::digest(id)[..20]);
    format!("{}-{digest}", kind.prefix())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::extract::Path;
    use axum::routing::{delete, get};
    use axum::{Json, Router};
    use kube_bind_runtime::clock::FixedClock;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn sweeping_deletes_expired_markers_only() {
        let deleted = Arc::new(Mutex::new(Vec::new()));
        let marker = |name: &str, expires: &str| {
            json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": { "name": name, "annotations": { ANNOTATION_EXPIRES: expires } },
            })
        };
        let list = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {},
            "items": [marker("old", "1970-01-01T00:16:39Z"), marker("young", "1970-01-01T00:16:41Z")],
        });
        let seen = Arc::clone(&deleted);
        let router = Router::new()
            .route(
                "/api/v1/namespaces/ns/configmaps",
                get(move || async move { Json(list) }),
            )
            .route(
                "/api/v1/namespaces/ns/configmaps/{name}",
                delete(move |Path(name): Path<String>| async move {
                    seen.lock().unwrap().push(name);
                    Json(json!({ "apiVersion": "v1", "kind": "Status", "status": "Success" }))
                }),
            );
        let clock = FixedClock::new(Timestamp::from_second(1000).unwrap());
        let markers = Markers::new(kube::Client::new(router, "ns"), "ns", clock.shared());
        markers.sweep().await.unwrap();
        assert_eq!(*deleted.lock().unwrap(), ["old"]);
    }

    #[test]
    fn a_marker_expires_by_its_annotation_only() {
        let now = Timestamp::from_second(1000).unwrap();
        let with = |value: &str| ObjectMeta {
            annotations: Some(BTreeMap::from([(
                ANNOTATION_EXPIRES.to_owned(),
                value.to_owned(),
            )])),
            ..ObjectMeta::default()
        };
        assert!(is_expired(&with("1970-01-01T00:16:39Z"), now));
        assert!(!is_expired(&with("1970-01-01T00:16:40Z"), now));
        assert!(!is_expired(&with("soon"), now));
        assert!(!is_expired(&ObjectMeta::default(), now));
    }

    #[test]
    fn names_are_valid_and_differ_by_kind_and_id() {
        let code = name(Kind::Redeemed, "a");
        assert_eq!(code, "login-code-ca978112ca1bbdcafac231b39a23dc4da786eff8");
        assert_ne!(code, name(Kind::Redeemed, "b"));
        assert_ne!(code, name(Kind::LoggedOut, "a"));
    }
}
