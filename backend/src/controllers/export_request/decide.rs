//! What becomes of a request (contract section 4.5): an ordered chain of checks, each with one reason. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ObjectMeta;
use kube_bind_crds::api::{
    APIServiceExport, APIServiceExportRequest, APIServiceExportSpec, BoundSchema, BoundSchemaSpec,
    ExportResource, SchemaUpdatePolicy,
};
use kube_bind_crds::conditions::types;
use kube_bind_crds::names::ANNOTATION_SOURCE_SPEC_HASH;
use kube_bind_crds::schema::{self, FromCrd};
use serde_json::Value;

use super::checks;
use super::offer::Offer;
use crate::provision::Settings;
use crate::provision::names::ANNOTATION_UPDATE_POLICY;

/// Everything that a decision about a request rests on.
pub struct Observed {
    /// Exported CRDs of the requested resources, by name of their bound schema.
    pub sources: BTreeMap<String, Value>,
    /// Bound schemas of the requested resources that exist already, by name.
    pub schemas: BTreeMap<String, BoundSchema>,
    /// Export of the request's name.
    pub export: Option<APIServiceExport>,
    /// Kinds that other consumers have, by name of their bound schema; known only where it matters.
    pub of_others: BTreeSet<String>,
}

/// What stands in the way of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Type of the condition that says so.
    pub condition: &'static str,
    /// Its reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
    /// Whether nothing but another request can help.
    pub is_final: bool,
}

/// What is made for a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Bound schemas that do not exist yet.
    pub schemas: Vec<BoundSchema>,
    /// The export, unless it exists.
    pub export: Option<APIServiceExport>,
    /// Versions that stay behind, in a sentence, if there are any.
    pub left_out: Option<String>,
}

pub(super) type Input<'a> = (&'a APIServiceExportRequest, &'a Observed, &'a Settings);

/// Whether the request is one that anybody could be granted.
pub fn check(request: &APIServiceExportRequest) -> Result<(), Problem> {
    match checks::ALONE.iter().find_map(|check| check(request)) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Whether this consumer is offered what it asks for.
pub fn check_offer(request: &APIServiceExportRequest, offer: &Offer) -> Result<(), Problem> {
    match checks::not_offered(request, offer) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Decides about a pending request that has passed both checks.
pub fn decide(
    request: &APIServiceExportRequest,
    observed: &Observed,
    settings: &Settings,
) -> Result<Grant, Problem> {
    let input = (request, observed, settings);
    if let Some(problem) = checks::OBSERVED.iter().find_map(|check| check(input)) {
        return Err(problem);
    }
    grant(request, observed, settings)
}

/// Messages repeat what the consumer wrote, which may be as long as an object can be.
const MESSAGE_MAX: usize = 512;

pub(super) fn refused(condition: &'static str, reason: &'static str, message: String) -> Problem {
    Problem {
        condition,
        reason,
        message: shortened(message),
        is_final: true,
    }
}

fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_MAX) {
        message.truncate(end);
        message.push('…');
    }
    message
}

pub(super) fn pending(reason: &'static str, message: String) -> Problem {
    Problem {
        condition: types::EXPORTS_READY,
        reason,
        message: shortened(message),
        is_final: false,
    }
}

pub(super) fn export_spec(
    request: &APIServiceExportRequest,
    settings: &Settings,
) -> APIServiceExportSpec {
    APIServiceExportSpec {
        resources: request.spec.resources.clone(),
        permission_claims: request.spec.permission_claims.clone(),
        informer_scope: settings.informer_scope,
        isolation: settings.isolation,
        cluster_scoped_isolation: None,
    }
}

fn grant(
    request: &APIServiceExportRequest,
    observed: &Observed,
    settings: &Settings,
) -> Result<Grant, Problem> {
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let mut new = Vec::new();
    let mut specs = Vec::new();
    let mut left_out = Vec::new();
    for resource in &request.spec.resources {
        let name = schema::name(&resource.group_resource);
        let FromCrd {
            bound_schema: wanted,
            left_out: behind,
        } = build(resource, &observed.sources[&name], namespace, settings)?;
        if !behind.is_empty() {
            left_out.push(format!("{name} {}", behind.join(", ")));
        }
        match observed.schemas.get(&name) {
            None => {
                specs.push(wanted.spec.clone());
                new.push(wanted);
            }
            Some(existing) => {
                let mode = |spec: &BoundSchemaSpec| (spec.scope, spec.informer_scope);
                if mode(&existing.spec) != mode(&wanted.spec) {
                    let message = format!(
                        "{name} is bound in this namespace already, as it was offered under another mode of this provider"
                    );
                    return Err(refused(types::EXPORTS_READY, "BoundInOtherMode", message));
                }
                let has = |version: &str| {
                    existing
                        .spec
                        .versions
                        .iter()
                        .any(|v| v.served && v.name == version)
                };
                if let Some(missing) = wanted.spec.versions.iter().find(|v| !has(&v.name)) {
                    let message = format!(
                        "{name} is bound in this namespace already, without version {}",
                        missing.name
                    );
                    return Err(refused(
                        types::EXPORTS_READY,
                        "BoundInOtherVersions",
                        message,
                    ));
                }
                specs.push(existing.spec.clone());
            }
        }
    }
    let export = observed.export.is_none().then(|| {
        let mut annotations = BTreeMap::from([(
            ANNOTATION_SOURCE_SPEC_HASH.to_owned(),
            schema::combined_hash(&specs),
        )]);
        if request.spec.schema_update_policy == SchemaUpdatePolicy::Always {
            annotations.insert(ANNOTATION_UPDATE_POLICY.to_owned(), "Always".to_owned());
        }
        APIServiceExport {
            metadata: ObjectMeta {
                name: request.metadata.name.clone(),
                namespace: Some(namespace.to_owned()),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            spec: export_spec(request, settings),
            status: None,
        }
    });
    Ok(Grant {
        schemas: new,
        export,
        left_out: (!left_out.is_empty()).then(|| {
            let versions = left_out.join("; ");
            shortened(format!(
                "not exported, because only the provider's webhook can convert them: {versions}"
            ))
        }),
    })
}

fn build(
    resource: &ExportResource,
    source: &Value,
    namespace: &str,
    settings: &Settings,
) -> Result<FromCrd, Problem> {
    schema::bound_schema_from_crd(
        source,
        &resource.group_resource,
        &resource.versions,
        namespace,
        settings.informer_scope,
        settings.isolation,
    )
    .map_err(|error| Problem {
        // A kind of Kubernetes itself stays one; everything else the provider can repair.
        is_final: matches!(error, schema::Error::BuiltIn { .. }),
        ..pending(schema_reason(&error), error.to_string())
    })
}

/// Condition reason of a source that cannot be used.
pub fn schema_reason(error: &schema::Error) -> &'static str {
    match error {
        schema::Error::NoServedVersion { .. } => "NoServedVersion",
        schema::Error::VersionNotServed { .. } => "VersionNotServed",
        schema::Error::BuiltIn { .. } => "BuiltInKind",
        schema::Error::Malformed { .. }
        | schema::Error::NoSpec { .. }
        | schema::Error::OtherResource { .. }
        | schema::Error::NoSchema { .. } => "SchemaInvalid",
    }
}

#[cfg(test)]
mod tests;
