//! Whether the schemas of an export are what they should be (contract section 4.3), and what to do
//! about it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::{
    APIServiceExport, BoundSchema, BoundSchemaSpec, GroupResource, is_owner_of_kind,
};
use kube_bind_crds::conditions::{New, Severity, reasons, types};
use kube_bind_crds::names::{ANNOTATION_LEFT_OUT, ANNOTATION_SOURCE_SPEC_HASH};
use kube_bind_crds::schema;
use serde_json::{Value, json};

use crate::controllers::export_request::schema_reason;
use crate::provision::names::ANNOTATION_UPDATE_POLICY;

/// Everything that a decision about an export rests on.
pub struct Observed {
    /// All exports of the cluster namespace, this one among them.
    pub exports: Vec<APIServiceExport>,
    /// Its bound schemas, by name.
    pub schemas: BTreeMap<String, BoundSchema>,
    /// Exported CRDs of its resources, by name of their bound schema.
    pub sources: BTreeMap<String, Arc<Value>>,
}

/// What to do for an export.
#[derive(Debug, PartialEq)]
pub struct Decision {
    /// Schemas that are missing.
    pub create: Vec<BoundSchema>,
    /// Changes of schemas: name and JSON patch.
    pub patch: Vec<(String, Value)>,
    /// Value of the hash annotation, once all schemas are in place; its change tells the konnector.
    pub hash: Option<String>,
    /// Condition `ProviderInSync`.
    pub condition: New,
}

/// Decides about an export.
pub fn decide(export: &APIServiceExport, observed: &Observed) -> Decision {
    let mut problem = None;
    let mut decision = Decision {
        create: Vec::new(),
        patch: Vec::new(),
        hash: None,
        condition: New::true_(types::PROVIDER_IN_SYNC),
    };
    let mut specs: Vec<BoundSchemaSpec> = Vec::new();
    let mut complete = true;
    for resource in &export.spec.resources {
        let one = Bound::of(&resource.group_resource, export, observed);
        if let Some(found) = one.problem {
            problem = problem.or(Some(found));
        }
        match one.state {
            State::Missing => complete = false,
            State::Create(new) => {
                specs.push(new.spec.clone());
                decision.create.push(*new);
            }
            State::Keep { spec, patch } => {
                specs.push(*spec);
                decision.patch.extend(patch.map(|patch| (one.name, patch)));
            }
        }
    }
    decision.hash = complete.then(|| schema::combined_hash(&specs));
    if let Some((severity, reason, message)) = problem {
        decision.condition = New::false_(types::PROVIDER_IN_SYNC, severity, reason, message);
    }
    decision
}

/// The condition when the API server refuses what was decided.
pub fn write_refused(message: String) -> New {
    New::false_(
        types::PROVIDER_IN_SYNC,
        Severity::Error,
        "WriteRefused",
        message,
    )
}

type Problem = (Severity, &'static str, String);

struct Bound {
    name: String,
    state: State,
    problem: Option<Problem>,
}

enum State {
    Missing,
    Create(Box<BoundSchema>),
    Keep {
        spec: Box<BoundSchemaSpec>,
        patch: Option<Value>,
    },
}

impl Bound {
    fn of(resource: &GroupResource, export: &APIServiceExport, observed: &Observed) -> Self {
        let name = schema::name(resource);
        let existing = observed.schemas.get(&name);
        let sharing: Vec<&APIServiceExport> = observed
            .exports
            .iter()
            .filter(|other| has(other, resource))
            .collect();
        let follows = sharing.iter().any(|other| follows_source(other));
        let made = (follows || existing.is_none()).then(|| {
            let Some(source) = observed.sources.get(&name) else {
                let message = format!(
                    "the provider does not export CustomResourceDefinition {name} any more"
                );
                return Err((Severity::Warning, reasons::SCHEMA_NOT_FOUND, message));
            };
            let namespace = export.metadata.namespace.as_deref().unwrap_or_default();
            schema::bound_schema_from_crd(
                source,
                resource,
                &wanted_versions(&sharing, resource),
                namespace,
                export.spec.informer_scope,
                // As it was exported: what the flag says today is for new exports.
                export.spec.isolation,
            )
            .map(|made| made.bound_schema)
            .map_err(|error| (Severity::Warning, schema_reason(&error), error.to_string()))
        });
        let (wanted, problem) = match made {
            None => (None, None),
            Some(Ok(wanted)) => (Some(wanted), None),
            Some(Err(problem)) => (None, Some(problem)),
        };
        match (existing, wanted) {
            (None, Some(mut new)) => {
                new.metadata.owner_references = Some(owners(&[], export, &observed.exports));
                Self {
                    name,
                    state: State::Create(Box::new(new)),
                    problem,
                }
            }
            (None, None) => {
                let why = problem.map_or_else(String::new, |(_, _, why)| format!(": {why}"));
                let message = format!("BoundSchema {name} is missing{why}");
                let problem = Some((Severity::Error, reasons::BOUND_SCHEMA_MISSING, message));
                Self {
                    name,
                    state: State::Missing,
                    problem,
                }
            }
            (Some(existing), wanted) => {
                let left_out = |schema: &BoundSchema| {
                    let annotations = schema.annotations();
                    annotations.get(ANNOTATION_LEFT_OUT).cloned()
                };
                let (spec, left_out) = match wanted {
                    Some(wanted) => (wanted.spec.clone(), left_out(&wanted)),
                    None => (existing.spec.clone(), left_out(existing)),
                };
                let owners = owners(existing.owner_references(), export, &observed.exports);
                let patch = patch(existing, &spec, left_out, &owners);
                Self {
                    name,
                    state: State::Keep {
                        spec: Box::new(spec),
                        patch,
                    },
                    problem,
                }
            }
        }
    }
}

fn has(export: &APIServiceExport, resource: &GroupResource) -> bool {
    export.metadata.deletion_timestamp.is_none()
        && export
            .spec
            .resources
            .iter()
            .any(|other| other.group_resource == *resource)
}

/// Whether the schemas of an export follow their source.
pub fn follows_source(export: &APIServiceExport) -> bool {
    export
        .annotations()
        .get(ANNOTATION_UPDATE_POLICY)
        .is_some_and(|policy| policy == "Always")
}

/// What all exports that share the schema want together; one that wants all wants all for everybody.
fn wanted_versions(sharing: &[&APIServiceExport], resource: &GroupResource) -> Vec<String> {
    let mut all = BTreeSet::new();
    for wanted in sharing.iter().flat_map(|export| &export.spec.resources) {
        if wanted.group_resource != *resource {
            continue;
        }
        if wanted.versions.is_empty() {
            return Vec::new();
        }
        all.extend(wanted.versions.iter().cloned());
    }
    all.into_iter().collect()
}

/// The owners that a schema should have: every export that has it, so that it is collected with the
/// last of them. Only one owner can be the controller; the first stays it.
fn owners(
    current: &[OwnerReference],
    export: &APIServiceExport,
    exports: &[APIServiceExport],
) -> Vec<OwnerReference> {
    let is_export = |owner: &OwnerReference| is_owner_of_kind::<APIServiceExport>(owner);
    let lives = |owner: &OwnerReference| {
        exports
            .iter()
            .any(|export| export.metadata.uid.as_deref() == Some(owner.uid.as_str()))
    };
    // References to exports that are gone would only wait for the garbage collector.
    let mut owners: Vec<OwnerReference> = current
        .iter()
        .filter(|owner| !is_export(owner) || lives(owner))
        .cloned()
        .collect();
    let Some(ours) = export.owner_ref(&()) else {
        return owners;
    };
    let controlled = owners.iter().any(|owner| owner.controller == Some(true));
    match owners.iter_mut().find(|owner| owner.uid == ours.uid) {
        Some(owner) if !controlled => owner.controller = Some(true),
        Some(_) => {}
        None => owners.push(OwnerReference {
            controller: (!controlled).then_some(true),
            ..ours
        }),
    }
    owners
}

/// JSON patch from the schema as it is to the schema as it should be. It replaces whole fields, because
/// merging would keep versions and names that are gone, and it tests what it was made for.
fn patch(
    existing: &BoundSchema,
    spec: &BoundSchemaSpec,
    left_out: Option<String>,
    owners: &[OwnerReference],
) -> Option<Value> {
    let mut changes = Vec::new();
    let hash = schema::hash(spec);
    if schema::hash(&existing.spec) != hash {
        changes.push(json!({ "op": "replace", "path": "/spec", "value": spec }));
    }
    let mut annotations = existing.annotations().clone();
    annotations.insert(ANNOTATION_SOURCE_SPEC_HASH.to_owned(), hash);
    annotations.remove(ANNOTATION_LEFT_OUT);
    annotations.extend(left_out.map(|versions| (ANNOTATION_LEFT_OUT.to_owned(), versions)));
    if *existing.annotations() != annotations {
        changes.push(json!({ "op": "add", "path": "/metadata/annotations", "value": annotations }));
    }
    if existing.owner_references() != owners {
        changes.push(json!({ "op": "add", "path": "/metadata/ownerReferences", "value": owners }));
    }
    if changes.is_empty() {
        return None;
    }
    let version = existing
        .metadata
        .resource_version
        .as_deref()
        .unwrap_or_default();
    changes.insert(
        0,
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version }),
    );
    Some(Value::Array(changes))
}

#[cfg(test)]
mod tests;
