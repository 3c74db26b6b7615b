//! What has to happen to the provider namespace of one `APIServiceNamespace`. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::ObjectMeta;
use kube_bind_crds::api::{APIServiceExport, APIServiceNamespace, Isolation};
use kube_bind_crds::isolation;
use kube_bind_crds::names::ANNOTATION_API_SERVICE_NAMESPACE;

use crate::provision::Settings;
use crate::provision::names::{COMPONENT_SERVICE_NAMESPACE, LABEL_COMPONENT};

/// Why an `APIServiceNamespace` gets no provider namespace; nothing is tried again before it changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No API server accepts the name.
    #[error("{0}")]
    Name(#[from] isolation::Error),
    /// Under isolation `None` the consumer chooses the name, and these belong to others.
    #[error("namespace {name} is reserved on the provider")]
    Reserved {
        /// The name.
        name: String,
    },
    /// There is a namespace of that name, made by somebody else.
    #[error("namespace {name} exists on the provider and was not made for this consumer namespace")]
    Foreign {
        /// The name.
        name: String,
    },
}

impl Refusal {
    /// Reason of the event.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidNamespaceName",
            Self::Reserved { .. } => "ReservedNamespace",
            Self::Foreign { .. } => "ForeignNamespace",
        }
    }
}

/// What to do with a provider namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Leave it alone and say why.
    Refuse(Refusal),
    /// Make it.
    Create,
    /// It is ours; fill it with rights.
    Equip {
        /// Whether it was made by the original, which labelled nothing.
        label: bool,
    },
    /// It is being deleted; it can be made again when it is gone.
    Wait,
}

/// Value of the ownership annotation.
pub fn marker(cluster_namespace: &str, name: &str) -> String {
    format!("{cluster_namespace}/{name}")
}

/// Name of the provider namespace: the published one stays, whatever the settings say today.
pub fn provider_name(
    object: &APIServiceNamespace,
    cluster_namespace: &str,
    name: &str,
    settings: &Settings,
) -> Result<String, Refusal> {
    let published = object
        .status
        .as_ref()
        .and_then(|status| status.namespace.clone());
    if let Some(published) = published.filter(|name| !name.is_empty()) {
        return Ok(published);
    }
    let provider = isolation::service_namespace(settings.isolation, cluster_namespace, name)?;
    if settings.isolation == Isolation::None && is_reserved(&provider, settings) {
        return Err(Refusal::Reserved { name: provider });
    }
    Ok(provider)
}

/// Whether a name that a consumer chose means something here: to Kubernetes, to what runs in it, or to
/// this backend, whose own namespace and those of its consumers hold credentials.
fn is_reserved(name: &str, settings: &Settings) -> bool {
    name == "default"
        || name.starts_with("kube-")
        || name.ends_with("-system")
        || name == settings.namespace
        || (!settings.namespace_prefix.is_empty() && name.starts_with(&settings.namespace_prefix))
}

/// Decides about the namespace `name` as it is found.
pub fn decide(found: Option<&ObjectMeta>, name: &str, marker: &str) -> Decision {
    let Some(found) = found else {
        return Decision::Create;
    };
    if !is_ours(found, marker) {
        return Decision::Refuse(Refusal::Foreign {
            name: name.to_owned(),
        });
    }
    if found.deletion_timestamp.is_some() {
        return Decision::Wait;
    }
    let labelled = found
        .labels
        .as_ref()
        .and_then(|labels| labels.get(LABEL_COMPONENT))
        .is_some_and(|value| value == COMPONENT_SERVICE_NAMESPACE);
    Decision::Equip { label: !labelled }
}

/// The owners that the object keeps, if it has some that it must not keep. The original's konnector
/// makes the export that came first its owner, and the end of that one would take the namespace, and
/// the data of all other exports, with it.
pub fn without_exports(owners: &[OwnerReference]) -> Option<Vec<&OwnerReference>> {
    let kept: Vec<_> = owners
        .iter()
        .filter(|owner| owner.kind != APIServiceExport::kind(&()))
        .collect();
    (kept.len() < owners.len()).then_some(kept)
}

/// What is left to do before the `APIServiceNamespace` may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing: the namespace is gone, or not ours.
    Done,
    /// Delete it.
    Delete,
    /// Wait until it is gone.
    Wait,
}

/// Decides about the namespace that was found when the `APIServiceNamespace` goes.
pub fn clean_up(found: Option<&ObjectMeta>, marker: &str) -> Cleanup {
    match found {
        Some(found) if is_ours(found, marker) && found.deletion_timestamp.is_none() => {
            Cleanup::Delete
        }
        Some(found) if is_ours(found, marker) => Cleanup::Wait,
        _ => Cleanup::Done,
    }
}

fn is_ours(found: &ObjectMeta, marker: &str) -> bool {
    found
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(ANNOTATION_API_SERVICE_NAMESPACE))
        .is_some_and(|value| value == marker)
}

#[cfg(test)]
mod tests;
