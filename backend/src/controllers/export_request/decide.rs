//! What becomes of a request (contract section 4.5): an ordered chain of checks, each with one reason. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::api::ObjectMeta;
use kube_bind_crds::api::{
    APIServiceExport, APIServiceExportRequest, APIServiceExportSpec, APIServiceExportTemplate,
    BoundSchema, ExportResource, InformerScope, SchemaUpdatePolicy,
};
use kube_bind_crds::claims;
use kube_bind_crds::conditions::{reasons, types};
use kube_bind_crds::names::ANNOTATION_SOURCE_SPEC_HASH;
use kube_bind_crds::schema;
use serde_json::Value;

use super::offer;
use crate::provision::Settings;
use crate::provision::names::ANNOTATION_UPDATE_POLICY;

/// Everything that a decision about a request rests on.
pub struct Observed {
    /// Known templates.
    pub templates: Vec<Arc<APIServiceExportTemplate>>,
    /// Exported CRDs of the requested resources, by name of their bound schema.
    pub sources: BTreeMap<String, Value>,
    /// Bound schemas of the requested resources that exist already, by name.
    pub schemas: BTreeMap<String, BoundSchema>,
    /// Export of the request's name.
    pub export: Option<APIServiceExport>,
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
}

type Input<'a> = (&'a APIServiceExportRequest, &'a Observed, &'a Settings);

/// Decides about a pending request.
pub fn decide(
    request: &APIServiceExportRequest,
    observed: &Observed,
    settings: &Settings,
) -> Result<Grant, Problem> {
    const CHECKS: [fn(Input<'_>) -> Option<Problem>; 7] = [
        claim_not_claimable,
        claim_twice,
        not_offered,
        source_missing,
        cluster_scoped,
        cluster_wide_informers,
        other_export,
    ];
    let input = (request, observed, settings);
    if let Some(problem) = CHECKS.iter().find_map(|check| check(input)) {
        return Err(problem);
    }
    grant(request, observed, settings)
}

fn refused(condition: &'static str, reason: &'static str, message: String) -> Problem {
    Problem {
        condition,
        reason,
        message,
        is_final: true,
    }
}

fn pending(reason: &'static str, message: String) -> Problem {
    Problem {
        condition: types::EXPORTS_READY,
        reason,
        message,
        is_final: false,
    }
}

fn claim_not_claimable((request, ..): Input<'_>) -> Option<Problem> {
    let resources = request
        .spec
        .permission_claims
        .iter()
        .map(|claim| &claim.group_resource);
    let bad = resources
        .into_iter()
        .find(|resource| !claims::is_claimable(resource))?;
    let message = format!("{} cannot be claimed", schema::name(bad));
    Some(refused(
        types::PERMISSION_CLAIM,
        reasons::INVALID_PERMISSION_CLAIM,
        message,
    ))
}

fn claim_twice((request, ..): Input<'_>) -> Option<Problem> {
    let mut seen = BTreeSet::new();
    let resources = request
        .spec
        .permission_claims
        .iter()
        .map(|claim| &claim.group_resource);
    let twice = resources
        .into_iter()
        .find(|resource| !seen.insert(*resource))?;
    let message = format!("{} is claimed more than once", schema::name(twice));
    Some(refused(
        types::PERMISSION_CLAIM,
        reasons::DUPLICATE_PERMISSION_CLAIM,
        message,
    ))
}

fn not_offered((request, observed, _): Input<'_>) -> Option<Problem> {
    let message = offer::beyond(&request.spec, observed.templates.iter().map(|t| &t.spec))?;
    Some(refused(types::EXPORTS_READY, NOT_OFFERED, message))
}

/// Reason: no template has what was asked for.
pub const NOT_OFFERED: &str = "NotOffered";

fn source_missing((request, observed, _): Input<'_>) -> Option<Problem> {
    let mut names = request
        .spec
        .resources
        .iter()
        .map(|r| schema::name(&r.group_resource));
    let missing = names.find(|name| !observed.sources.contains_key(name))?;
    let message = format!("the provider has no exported CustomResourceDefinition {missing}");
    Some(pending(reasons::SCHEMA_NOT_FOUND, message))
}

fn cluster_scoped((request, observed, _): Input<'_>) -> Option<Problem> {
    let scoped: Vec<(String, bool)> = request
        .spec
        .resources
        .iter()
        .map(|resource| {
            let name = schema::name(&resource.group_resource);
            let cluster = observed
                .sources
                .get(&name)
                .is_some_and(|crd| crd["spec"]["scope"] == "Cluster");
            (name, cluster)
        })
        .collect();
    let (name, _) = scoped.iter().find(|(_, cluster)| *cluster)?;
    let message =
        format!("{name} is cluster-scoped, and this provider offers namespaced kinds only");
    let mixed = scoped.iter().any(|(_, cluster)| !cluster);
    let reason = if mixed {
        reasons::DIFFERENT_SCOPES
    } else {
        "ClusterScopedKind"
    };
    Some(refused(types::EXPORTS_READY, reason, message))
}

fn cluster_wide_informers((_, _, settings): Input<'_>) -> Option<Problem> {
    if settings.informer_scope == InformerScope::Namespaced {
        return None;
    }
    let message = "informers for all namespaces would let every consumer read the objects of all, so this provider does not offer them";
    Some(refused(
        types::EXPORTS_READY,
        "ClusterWideInformers",
        message.to_owned(),
    ))
}

fn other_export((request, observed, settings): Input<'_>) -> Option<Problem> {
    let export = observed.export.as_ref()?;
    if export.metadata.deletion_timestamp.is_some() {
        let message = "the former export of this name is being deleted".to_owned();
        return Some(pending("ExportTerminating", message));
    }
    let wanted = export_spec(request, settings);
    if export.spec.resources == wanted.resources
        && export.spec.permission_claims == wanted.permission_claims
    {
        return None;
    }
    let message = "an export of this name exists with other resources or claims, which cannot be changed; use another name".to_owned();
    Some(refused(types::EXPORTS_READY, "ExportExists", message))
}

fn export_spec(request: &APIServiceExportRequest, settings: &Settings) -> APIServiceExportSpec {
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
    for resource in &request.spec.resources {
        let name = schema::name(&resource.group_resource);
        let wanted = build(resource, &observed.sources[&name], namespace, settings)?;
        match observed.schemas.get(&name) {
            None => {
                specs.push(wanted.spec.clone());
                new.push(wanted);
            }
            Some(existing) => {
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
    })
}

fn build(
    resource: &ExportResource,
    source: &Value,
    namespace: &str,
    settings: &Settings,
) -> Result<BoundSchema, Problem> {
    schema::bound_schema_from_crd(
        source,
        &resource.group_resource,
        &resource.versions,
        namespace,
        settings.informer_scope,
        settings.isolation,
    )
    .map(|made| made.bound_schema)
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
