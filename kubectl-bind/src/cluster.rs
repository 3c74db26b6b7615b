//! A Kubernetes cluster as the plugin uses it: read one object, apply one object, say what changed. IO.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};
use kube_bind_crds::names::FIELD_MANAGER_PLUGIN;
use kube_bind_runtime::apply::{apply, timed};
use kube_bind_runtime::client::{Error as ClientError, consumer_or_provider};
use tokio::time::Instant;

use crate::objects::Object;
use crate::output::{self, Format};
use crate::text::causes;

/// User agent towards both clusters.
pub const USER_AGENT: &str = concat!("kubectl-bind/v", env!("CARGO_PKG_VERSION"));
/// Between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What an apply came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It was different.
    Configured,
    /// It was like this already.
    Unchanged,
}

/// A request to a cluster that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading.
    #[error("failed to read {what}")]
    Read {
        /// Which object.
        what: String,
        /// The API server's words.
        source: Box<kube::Error>,
    },
    /// Writing.
    #[error("failed to write {what}{remedy}")]
    Write {
        /// Which object.
        what: String,
        /// What to do, or nothing.
        remedy: &'static str,
        /// The API server's words.
        source: Box<kube::Error>,
    },
}

/// Connects to the user's own cluster, by kube's normal rules.
pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Client> {
    let loaded = consumer_or_provider(kubeconfig, context, USER_AGENT).await;
    let (client, _) = loaded.map_err(|err| match err {
        ClientError::Infer(_) => anyhow::anyhow!(
            "{}\n  Name the kubeconfig of your cluster with --kubeconfig, or with the variable KUBECONFIG.",
            causes(&err)
        ),
        other => other.into(),
    })?;
    Ok(client)
}

/// Identity of a cluster: the uid of one of its namespaces.
pub async fn identity(client: &Client, namespace: &str) -> anyhow::Result<String> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = timed(api.get(namespace))
        .await
        .map_err(|source| Error::Read {
            what: format!("namespace/{namespace}"),
            source: Box::new(source),
        })?;
    found
        .metadata
        .uid
        .ok_or_else(|| anyhow::anyhow!("namespace/{namespace} has no uid"))
}

/// Reads an object of the same kind, namespace and name; none if there is no such object, or kind.
pub async fn get(client: &Client, like: &Object) -> Result<Option<DynamicObject>, Error> {
    match timed(like.api(client).get(like.name())).await {
        Ok(found) => Ok(Some(found)),
        Err(err) if is_missing(&err) => Ok(None),
        Err(source) => Err(Error::Read {
            what: like.display(),
            source: Box::new(source),
        }),
    }
}

/// Applies an object and says what that changed.
pub async fn put(client: &Client, object: &Object) -> Result<(DynamicObject, Change), Error> {
    let before = get(client, object).await?;
    let after: DynamicObject = apply(
        &object.api(client),
        object.name(),
        FIELD_MANAGER_PLUGIN,
        &object.0,
    )
    .await
    .map_err(|source| write_error(object, source))?;
    let version = |object: &DynamicObject| {
        (
            object.metadata.uid.clone(),
            object.metadata.resource_version.clone(),
        )
    };
    let change = match before {
        None => Change::Created,
        Some(before) if version(&before) == version(&after) => Change::Unchanged,
        Some(_) => Change::Configured,
    };
    Ok((after, change))
}

/// The error of a failed write, with what to do about it.
pub fn write_error(object: &Object, source: kube::Error) -> Error {
    let rbac = matches!(
        object.0["kind"].as_str(),
        Some("ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding")
    );
    let remedy = if rbac && status_code(&source) == Some(403) {
        " (only who holds rights can grant them: run this as an administrator of the cluster)"
    } else {
        ""
    };
    Error::Write {
        what: object.display(),
        remedy,
        source: Box::new(source),
    }
}

/// Whether the object, or its whole kind, is not there.
pub fn is_missing(err: &kube::Error) -> bool {
    status_code(err) == Some(404)
}

/// HTTP status of an API server's refusal.
pub fn status_code(err: &kube::Error) -> Option<u16> {
    match err {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether waiting may help: the server is busy, or not there for the moment.
pub fn is_transient(err: &kube::Error) -> bool {
    status_code(err).is_none_or(|code| code == 429 || code >= 500)
}

/// Waits until the next look; false when the deadline has passed.
pub async fn look_again(deadline: Instant) -> bool {
    if Instant::now() >= deadline {
        return false;
    }
    tokio::time::sleep_until((Instant::now() + LOOK_EVERY).min(deadline)).await;
    true
}

/// Tells what was done: lines for people unless the result itself is wanted.
pub struct Report {
    /// Format of the result, if one was asked for.
    pub format: Option<Format>,
}

impl Report {
    /// `resource/name created`.
    pub fn changed(&self, display: &str, change: Change) -> anyhow::Result<()> {
        let word = match change {
            Change::Created => "created",
            Change::Configured => "configured",
            Change::Unchanged => "unchanged",
        };
        self.line(display, word)
    }

    /// `resource/name <word>`.
    pub fn line(&self, display: &str, word: &str) -> anyhow::Result<()> {
        if self.format.is_none() {
            output::data(&format!("{display} {word}"))?;
        }
        Ok(())
    }

    /// Creates an object unless there is one of that name, and tells.
    pub async fn ensure(&self, client: &Client, object: &Object) -> anyhow::Result<()> {
        let change = match get(client, object).await? {
            Some(_) => Change::Unchanged,
            None => {
                let body: DynamicObject = serde_json::from_value(object.0.clone())?;
                let parameters = PostParams {
                    field_manager: Some(FIELD_MANAGER_PLUGIN.into()),
                    ..PostParams::default()
                };
                match timed(object.api(client).create(&parameters, &body)).await {
                    Ok(_) => Change::Created,
                    // Somebody else was faster.
                    Err(err) if status_code(&err) == Some(409) => Change::Unchanged,
                    Err(source) => return Err(write_error(object, source).into()),
                }
            }
        };
        self.changed(&object.display(), change)
    }

    /// Applies an object and tells.
    pub async fn put(&self, client: &Client, object: &Object) -> anyhow::Result<DynamicObject> {
        let (after, change) = put(client, object).await?;
        self.changed(&object.display(), change)?;
        Ok(after)
    }
}
