//! Schemas on their way from the provider to the consumer: CRD -> `BoundSchema` -> CRD (contract
//! sections 4.5, 4.6 and 5.6). Pure; OpenAPI schemas stay opaque JSON.

mod change;
mod from_crd;
mod groups;
mod hash;
mod to_crd;

pub use change::{Breaking, Judge, Narrowed, breaking_changes};
pub use from_crd::{FromCrd, bound_schema_from_crd};
pub use groups::is_built_in_group;
pub use hash::{combined_hash, hash};
pub use to_crd::crd_from_bound_schema;

use serde_json::Value;

use crate::api::{BoundSchema, BoundSchemaSpec, GroupResource, SchemaVersion};
use crate::names::ANNOTATION_LEFT_OUT;

/// Longest name of a version, and most of them, that are taken from an annotation.
const LONGEST_VERSION: usize = 63;
const MOST_VERSIONS: usize = 16;

/// Why a schema cannot cross.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source is not what a CRD looks like.
    #[error("failed to read the schema of {resource}")]
    Malformed {
        /// `<resource>.<group>`.
        resource: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The source has no `spec`.
    #[error("the schema source of {resource} has no spec")]
    NoSpec {
        /// `<resource>.<group>`.
        resource: String,
    },
    /// The source or the bound schema is of another kind than its name says.
    #[error("expected the schema of {expected}, found the one of {found}")]
    OtherResource {
        /// `<resource>.<group>` that was asked for.
        expected: String,
        /// `<plural>.<group>` that is in it.
        found: String,
    },
    /// Every version is switched off.
    #[error("{resource} has no served version")]
    NoServedVersion {
        /// `<resource>.<group>`.
        resource: String,
    },
    /// A version was asked for that the source does not serve.
    #[error("{resource} does not serve version {version:?}, only {}", served.join(", "))]
    VersionNotServed {
        /// `<resource>.<group>`.
        resource: String,
        /// The version.
        version: String,
        /// What it serves.
        served: Vec<String>,
    },
    /// A version without a schema; an API server refuses such a CRD.
    #[error("version {version:?} of {resource} has no schema")]
    NoSchema {
        /// `<resource>.<group>`.
        resource: String,
        /// The version.
        version: String,
    },
    /// A group that belongs to Kubernetes or to kube-bind itself.
    #[error("{resource} is in a built-in API group and cannot be bound")]
    BuiltIn {
        /// `<resource>.<group>`.
        resource: String,
    },
}

/// Name of a bound schema and of the CRD that it comes from or becomes: `<resource>.<group>`, with `core`
/// for the core group, which has no CRDs.
pub fn name(resource: &GroupResource) -> String {
    qualified(&resource.resource, &resource.group)
}

fn qualified(resource: &str, group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("{resource}.{group}")
}

/// The versions of a bound schema that cross, in its order. Objects of other versions would need the
/// provider's conversion webhook, which no other cluster can or should call: with one, only the
/// storage version crosses, or the first served one if the storage version is not served.
pub fn crossing_versions(spec: &BoundSchemaSpec) -> Vec<&SchemaVersion> {
    let by_webhook = spec
        .conversion
        .as_ref()
        .is_some_and(|conversion| conversion.strategy == WEBHOOK);
    let served = || spec.versions.iter().filter(|version| version.served);
    if by_webhook {
        let storage = served().find(|version| version.storage);
        storage.or_else(|| served().next()).into_iter().collect()
    } else {
        spec.versions.iter().collect()
    }
}

/// Served versions that do not cross, see [`crossing_versions`]: those that are in the bound schema, and
/// those that the provider says to have left out of it.
pub fn left_behind(bound: &BoundSchema) -> Vec<&str> {
    let crossing = crossing_versions(&bound.spec);
    let served = bound.spec.versions.iter().filter(|version| version.served);
    let left = served
        .filter(|version| !crossing.iter().any(|c| c.name == version.name))
        .map(|version| version.name.as_str());
    let annotations = bound.metadata.annotations.as_ref();
    let said = annotations.and_then(|all| all.get(ANNOTATION_LEFT_OUT));
    let said = said.into_iter().flat_map(|names| names.split(','));
    // Somebody else's text, which is shown to people.
    let said = said.filter(|name| (1..=LONGEST_VERSION).contains(&name.len()));
    left.chain(said.take(MOST_VERSIONS)).collect()
}

/// The version in which objects are synced: the first served one that crosses.
pub fn synced_version(spec: &BoundSchemaSpec) -> Option<&SchemaVersion> {
    crossing_versions(spec)
        .into_iter()
        .find(|version| version.served)
}

/// The OpenAPI schema of a version, which is wrapped in `openAPIV3Schema` when it comes from a CRD and
/// bare when it comes from elsewhere.
pub fn open_api(version: &SchemaVersion) -> Option<&Value> {
    match version.schema.get("openAPIV3Schema") {
        Some(wrapped) if !wrapped.is_null() => Some(wrapped),
        _ => Some(&version.schema).filter(|bare| {
            bare.as_object()
                .is_some_and(|fields| !fields.is_empty() && !fields.contains_key("openAPIV3Schema"))
        }),
    }
}

/// Conversion strategy that needs a webhook.
const WEBHOOK: &str = "Webhook";

#[cfg(test)]
mod tests;
