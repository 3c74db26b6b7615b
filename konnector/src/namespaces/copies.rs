//! Whether anything is left in a service namespace that would go with it. IO: lists at the provider,
//! only when the consumer's namespace is gone.
//!
//! Asked of the API server and not of the engines: an engine that does not run, or does not know all
//! yet, knows of no copies either. What cannot be asked is unknown, and nothing goes because of that.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceExport, BoundSchema, GroupResource, ResourceScope,
};
use kube_bind_crds::claims::{Claimable, claimable};
use kube_bind_crds::names::ANNOTATION_CLUSTER_NAMESPACE;
use kube_bind_crds::{schema, switches};
use kube_bind_runtime::apply;

use crate::context::Context;
use crate::fault;
use crate::provider::{LinkState, Provider};

/// Claimed objects per page: only metadata, and most of them are copies.
const PAGE: u32 = 100;

/// What would go with a service namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing of the bound kinds, and no copy of a claimed object.
    Nothing,
    /// Objects of this kind.
    Objects(String),
    /// Nobody knows, and why.
    Unknown(String),
}

/// What to ask for.
#[derive(Debug, Default, PartialEq)]
struct Kinds {
    /// Bound kinds: every object of theirs counts, ours or not.
    bound: Vec<ApiResource>,
    /// Claimed kinds: only copies of ours count.
    claimed: Vec<ApiResource>,
}

/// Looks into a service namespace, with everything that was ever bound to the provider.
pub(super) async fn left(
    ctx: &Context,
    provider: &Provider,
    service_namespace: &str,
) -> Result<Left, kube::Error> {
    let bindings = bindings_to(ctx, provider);
    if let Some(why) = unknown(ctx, provider, &bindings) {
        return Ok(Left::Unknown(why));
    }
    let exports = provider.stores.exports();
    let exports: Vec<&APIServiceExport> = exports.iter().map(AsRef::as_ref).collect();
    let mut claimed: Vec<GroupResource> = Vec::new();
    for engine in provider.running_claims().await {
        claimed.push(engine.resource());
    }
    let schema = |kind: &GroupResource| provider.stores.schema(kind);
    match kinds(&bindings, &exports, claimed, schema) {
        Ok(kinds) => {
            let (client, ours) = (&provider.client, &provider.cluster_namespace);
            look(client, service_namespace, ours, &kinds).await
        }
        Err(why) => Ok(Left::Unknown(why)),
    }
}

/// A person wants nothing to be written for any of the bindings to the provider.
pub(super) fn all_suspended(ctx: &Context, provider: &Provider) -> bool {
    let bindings = bindings_to(ctx, provider);
    !bindings.is_empty() && bindings.iter().all(is_suspended)
}

fn is_suspended(binding: &APIServiceBinding) -> bool {
    // A mistyped value is not meant to go on.
    switches::suspended(binding.annotations()) != Ok(false)
}

fn bindings_to(ctx: &Context, provider: &Provider) -> Vec<APIServiceBinding> {
    let secrets = provider.secrets();
    let all = ctx.bindings.state();
    let ours = all
        .iter()
        .filter(|binding| secrets.contains(&binding.spec.kubeconfig_secret_ref));
    ours.map(|binding| APIServiceBinding::clone(binding))
        .collect()
}

/// Why nothing can be said, before anything is asked.
fn unknown(ctx: &Context, provider: &Provider, bindings: &[APIServiceBinding]) -> Option<String> {
    if !ctx.bindings_listed.is_set() || !provider.stores.synced() {
        return Some("not everything is listed yet".into());
    }
    if provider.exports_fail() {
        return Some("the exports cannot be watched".into());
    }
    if provider.link.state() != LinkState::Up {
        return Some("the provider does not answer as it should".into());
    }
    not_ours_to_say(bindings)
}

/// Why these bindings say nothing about what is left, if they do not.
fn not_ours_to_say(bindings: &[APIServiceBinding]) -> Option<String> {
    if bindings.is_empty() {
        return Some("there is no binding to the provider".into());
    }
    let suspended = bindings.iter().find(|binding| is_suspended(binding))?;
    Some(format!("binding {} is suspended", suspended.name_any()))
}

/// All kinds with objects in service namespaces: of the exports, and those that bindings had before.
fn kinds(
    bindings: &[APIServiceBinding],
    exports: &[&APIServiceExport],
    mut claimed: Vec<GroupResource>,
    schema_of: impl Fn(&GroupResource) -> Option<Arc<BoundSchema>>,
) -> Result<Kinds, String> {
    for binding in bindings {
        let name = binding.name_any();
        if !exports.iter().any(|export| export.name_any() == name) {
            return Err(format!("binding {name} has no export"));
        }
    }
    let of_exports = exports.iter().flat_map(|export| &export.spec.resources);
    let before = bindings
        .iter()
        .filter_map(|binding| binding.status.as_ref());
    let bound: BTreeSet<GroupResource> = of_exports
        .map(|resource| resource.group_resource.clone())
        .chain(before.flat_map(|status| status.bound_schemas.iter().cloned()))
        .collect();
    let mut kinds = Kinds::default();
    for kind in bound {
        let schema = schema_of(&kind);
        if schema
            .as_ref()
            .is_some_and(|bound| bound.spec.scope == ResourceScope::Cluster)
        {
            continue;
        }
        let Some(resource) = schema.and_then(|bound| api_resource(&bound)) else {
            return Err(format!("{} has no usable schema", schema::name(&kind)));
        };
        kinds.bound.push(resource);
    }
    let claims = exports
        .iter()
        .flat_map(|export| &export.spec.permission_claims);
    claimed.extend(claims.map(|claim| claim.group_resource.clone()));
    let claimed: BTreeSet<GroupResource> = claimed.into_iter().collect();
    kinds.claimed = claimed.iter().filter_map(claimable).map(of_claim).collect();
    Ok(kinds)
}

fn api_resource(bound: &BoundSchema) -> Option<ApiResource> {
    let version = schema::synced_version(&bound.spec)?;
    let kind = GroupVersionKind::gvk(&bound.spec.group, &version.name, &bound.spec.names.kind);
    let plural = &bound.spec.names.plural;
    Some(ApiResource::from_gvk_with_plural(&kind, plural))
}

fn of_claim(kind: &Claimable) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    ApiResource::from_gvk_with_plural(&gvk, kind.plural)
}

async fn look(
    client: &Client,
    namespace: &str,
    cluster_namespace: &str,
    kinds: &Kinds,
) -> Result<Left, kube::Error> {
    let bound = kinds.bound.iter().map(|kind| (kind, false));
    let claimed = kinds.claimed.iter().map(|kind| (kind, true));
    for (kind, marked) in bound.chain(claimed) {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, kind);
        let limit = if marked { PAGE } else { 1 };
        let mut params = ListParams::default().limit(limit);
        loop {
            let page = match apply::timed(api.list_metadata(&params)).await {
                Ok(page) => page,
                // A kind that is withdrawn, or not served for now: its objects may be there.
                Err(error) if matches!(fault::code(&error), Some(403 | 404)) => {
                    return Ok(Left::Unknown(fault::describe(&error)));
                }
                Err(error) => return Err(error),
            };
            let counts = |object: &PartialObjectMeta<DynamicObject>| {
                let mark = object.annotations().get(ANNOTATION_CLUSTER_NAMESPACE);
                !marked || mark.is_some_and(|mark| mark == cluster_namespace)
            };
            if page.items.iter().any(counts) {
                return Ok(Left::Objects(kind.plural.clone()));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(Left::Nothing)
}

#[cfg(test)]
mod tests;
