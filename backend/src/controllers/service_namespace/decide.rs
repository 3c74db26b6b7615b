//! What has to happen to the provider namespace of one `APIServiceNamespace`. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::ObjectMeta;
use kube_bind_crds::api::{APIServiceExport, APIServiceNamespace, Isolation};
use kube_bind_crds::isolation;
use kube_bind_crds::names::ANNOTATION_API_SERVICE_NAMESPACE;

use crate::provision::names::{COMPONENT_SERVICE_NAMESPACE, LABEL_COMPONENT};

/// Why an `APIServiceNamespace` gets no provider namespace; nothing is tried again before it changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No API server accepts the name.
    #[error("{0}")]
    Name(#[from] isolation::Error),
    /// Under isolation `None` the consumer chooses the name, and these belong to Kubernetes.
    #[error("namespace {name} is reserved for Kubernetes")]
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
    isolation: Isolation,
) -> Result<String, Refusal> {
    let published = object
        .status
        .as_ref()
        .and_then(|status| status.namespace.clone());
    if let Some(published) = published.filter(|name| !name.is_empty()) {
        return Ok(published);
    }
    let provider = isolation::service_namespace(isolation, cluster_namespace, name)?;
    let reserved = provider.starts_with("kube-") || provider == "default";
    if isolation == Isolation::None && reserved {
        return Err(Refusal::Reserved { name: provider });
    }
    Ok(provider)
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
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube_bind_crds::api::{APIServiceNamespaceSpec, APIServiceNamespaceStatus};

    use super::*;

    const MARKER: &str = "cluster-a/shop";

    fn object(published: Option<&str>) -> APIServiceNamespace {
        let mut object = APIServiceNamespace::new("shop", APIServiceNamespaceSpec {});
        object.status = Some(APIServiceNamespaceStatus {
            namespace: published.map(str::to_owned),
        });
        object
    }

    fn found(marker: Option<&str>, deleting: bool) -> ObjectMeta {
        ObjectMeta {
            annotations: marker
                .map(|m| [(ANNOTATION_API_SERVICE_NAMESPACE.into(), m.into())].into()),
            deletion_timestamp: deleting.then(|| Time("2026-01-01T00:00:00Z".parse().unwrap())),
            labels: Some([(LABEL_COMPONENT.into(), COMPONENT_SERVICE_NAMESPACE.into())].into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn names_follow_the_isolation_until_one_is_published() {
        let name = |published, isolation| {
            provider_name(&object(published), "cluster-a", "shop", isolation)
        };
        assert_eq!(name(None, Isolation::Prefixed).unwrap(), "cluster-a-shop");
        assert_eq!(name(None, Isolation::None).unwrap(), "shop");
        assert_eq!(name(Some("older"), Isolation::Prefixed).unwrap(), "older");
    }

    #[test]
    fn names_of_kubernetes_and_names_too_long_are_refused() {
        let reserved = provider_name(&object(None), "cluster-a", "kube-system", Isolation::None);
        assert_eq!(reserved.unwrap_err().reason(), "ReservedNamespace");
        assert!(
            provider_name(
                &object(None),
                "cluster-a",
                "kube-system",
                Isolation::Prefixed
            )
            .is_ok()
        );
        let long = "x".repeat(60);
        let refused = provider_name(&object(None), "cluster-a", &long, Isolation::Prefixed);
        assert_eq!(refused.unwrap_err().reason(), "InvalidNamespaceName");
    }

    #[test]
    fn a_foreign_namespace_is_neither_adopted_nor_deleted() {
        for foreign in [
            found(None, false),
            found(Some("cluster-b/shop"), false),
            found(None, true),
        ] {
            let refused = Decision::Refuse(Refusal::Foreign {
                name: "cluster-a-shop".into(),
            });
            assert_eq!(decide(Some(&foreign), "cluster-a-shop", MARKER), refused);
            assert_eq!(clean_up(Some(&foreign), MARKER), Cleanup::Done);
        }
    }

    #[test]
    fn our_namespace_is_made_equipped_and_awaited() {
        assert_eq!(decide(None, "n", MARKER), Decision::Create);
        let ours = found(Some(MARKER), false);
        assert_eq!(
            decide(Some(&ours), "n", MARKER),
            Decision::Equip { label: false }
        );
        let mut original = ours.clone();
        original.labels = None;
        assert_eq!(
            decide(Some(&original), "n", MARKER),
            Decision::Equip { label: true }
        );
        assert_eq!(
            decide(Some(&found(Some(MARKER), true)), "n", MARKER),
            Decision::Wait
        );
    }

    #[test]
    fn no_export_owns_a_namespace_that_all_share() {
        let owner = |kind: &str| OwnerReference {
            kind: kind.into(),
            ..OwnerReference::default()
        };
        let (export, other) = (owner("APIServiceExport"), owner("ConfigMap"));
        assert_eq!(
            without_exports(&[export, other.clone()]),
            Some(vec![&other])
        );
        assert_eq!(without_exports(&[other]), None);
        assert_eq!(without_exports(&[]), None);
    }

    #[test]
    fn clean_up_ends_when_the_namespace_is_gone() {
        assert_eq!(
            clean_up(Some(&found(Some(MARKER), false)), MARKER),
            Cleanup::Delete
        );
        assert_eq!(
            clean_up(Some(&found(Some(MARKER), true)), MARKER),
            Cleanup::Wait
        );
        assert_eq!(clean_up(None, MARKER), Cleanup::Done);
    }
}
