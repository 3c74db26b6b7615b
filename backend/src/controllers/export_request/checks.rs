//! The ordered chain of checks that a request has to pass, one reason each. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kube_bind_crds::api::{APIServiceExportRequest, Isolation, ResourceScope};
use kube_bind_crds::conditions::{reasons, types};
use kube_bind_crds::{claims, schema};
use serde_json::Value;

use super::decide::{Input, Problem, export_spec, pending, refused};
use super::offer::{self, Offer};
use crate::provision::Settings;
use crate::provision::reach::Reach;

/// Reason: no template has what was asked for.
const NOT_OFFERED: &str = "NotOffered";

/// What the request alone shows; nothing is read for one that fails here. The first problem counts, and
/// claims come first, as the conditions rely on.
pub const ALONE: [fn(&APIServiceExportRequest) -> Option<Problem>; 4] =
    [too_many, claim_not_claimable, claim_twice, resource_twice];

/// Most resources, and most claims, of one request: each costs reads.
const ITEMS_MAX: usize = 64;
/// Most versions of one resource.
const VERSIONS_MAX: usize = 16;

/// What the provider's objects show.
pub const OBSERVED: [fn(Input<'_>) -> Option<Problem>; 5] = [
    source_missing,
    different_scopes,
    cluster_scoped_in_namespaces,
    other_export,
    shared_reads,
];

fn too_many(request: &APIServiceExportRequest) -> Option<Problem> {
    let spec = &request.spec;
    let refuse = |condition, what: &str, found: usize, most: usize| {
        let message = format!("the request has {found} {what}, more than {most}");
        refused(condition, "TooMany", message)
    };
    let claims = spec.permission_claims.len();
    if claims > ITEMS_MAX {
        return Some(refuse(types::PERMISSION_CLAIM, "claims", claims, ITEMS_MAX));
    }
    for (what, found) in [
        ("resources", spec.resources.len()),
        ("namespaces", spec.namespaces.len()),
    ] {
        if found > ITEMS_MAX {
            return Some(refuse(types::EXPORTS_READY, what, found, ITEMS_MAX));
        }
    }
    let mut versions = spec.resources.iter().map(|r| r.versions.len());
    let found = versions.find(|found| *found > VERSIONS_MAX)?;
    let what = "versions of one resource";
    Some(refuse(types::EXPORTS_READY, what, found, VERSIONS_MAX))
}

fn claim_not_claimable(request: &APIServiceExportRequest) -> Option<Problem> {
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

fn claim_twice(request: &APIServiceExportRequest) -> Option<Problem> {
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

fn resource_twice(request: &APIServiceExportRequest) -> Option<Problem> {
    let mut seen = BTreeSet::new();
    let mut resources = request.spec.resources.iter().map(|r| &r.group_resource);
    let twice = resources.find(|resource| !seen.insert(*resource))?;
    let message = format!("{} is requested more than once", schema::name(twice));
    Some(refused(types::EXPORTS_READY, "DuplicateResource", message))
}

/// Whether this consumer is offered all of it.
pub fn not_offered(request: &APIServiceExportRequest, offer: &Offer) -> Option<Problem> {
    let message = offer::beyond(&request.spec, offer.permitted())?;
    Some(refused(types::EXPORTS_READY, NOT_OFFERED, message))
}

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

/// Name of the bound schema and scope of each requested kind.
fn scopes((request, observed, _): Input<'_>) -> impl Iterator<Item = (String, ResourceScope)> {
    request.spec.resources.iter().filter_map(|resource| {
        let name = schema::name(&resource.group_resource);
        let source = observed.sources.get(&name)?;
        let cluster = source["spec"]["scope"] == "Cluster";
        let scope = if cluster {
            ResourceScope::Cluster
        } else {
            ResourceScope::Namespaced
        };
        Some((name, scope))
    })
}

fn different_scopes(input: Input<'_>) -> Option<Problem> {
    let of = |wanted| scopes(input).find(|(_, scope)| *scope == wanted);
    let (cluster, _) = of(ResourceScope::Cluster)?;
    let (namespaced, _) = of(ResourceScope::Namespaced)?;
    let message = format!(
        "{cluster} is cluster-scoped and {namespaced} is not; one export has kinds of one scope"
    );
    Some(refused(
        types::EXPORTS_READY,
        reasons::DIFFERENT_SCOPES,
        message,
    ))
}

/// Its objects have no namespace that could keep consumers apart.
fn cluster_scoped_in_namespaces(input: Input<'_>) -> Option<Problem> {
    let (_, _, settings) = input;
    if settings.isolation != Isolation::Namespaced {
        return None;
    }
    let (name, _) = scopes(input).find(|(_, scope)| *scope == ResourceScope::Cluster)?;
    let message = format!(
        "{name} is cluster-scoped, and this provider keeps consumers apart by namespaces (--isolation=namespaced)"
    );
    Some(refused(types::EXPORTS_READY, "ClusterScopedKind", message))
}

fn shared_reads(input: Input<'_>) -> Option<Problem> {
    let (_, observed, settings) = input;
    if settings.allow_shared_reads {
        return None;
    }
    let (name, _) = scopes(input).find(|(name, scope)| {
        shares_reads(*scope, settings) && observed.of_others.contains(name)
    })?;
    let message = format!(
        "whoever has {name} can read the objects of everybody, and another consumer has it; the provider does not allow that (--allow-shared-reads)"
    );
    Some(refused(types::EXPORTS_READY, "SharedReads", message))
}

/// Whether all consumers of a kind of that scope can read all of its objects.
fn shares_reads(scope: ResourceScope, settings: &Settings) -> bool {
    Reach::of(scope, settings.isolation, settings.informer_scope, settings).shares_reads()
}

/// Whether the exports of other consumers matter to a request, which are many.
pub fn depends_on_others(sources: &BTreeMap<String, Value>, settings: &Settings) -> bool {
    let cluster = sources
        .values()
        .any(|source| source["spec"]["scope"] == "Cluster");
    let scope = if cluster {
        ResourceScope::Cluster
    } else {
        ResourceScope::Namespaced
    };
    !settings.allow_shared_reads && shares_reads(scope, settings)
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
