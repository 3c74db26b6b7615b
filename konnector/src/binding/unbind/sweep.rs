//! Takes what is ours off many objects that no engine looks after any more. What to take is decided
//! purely; IO: pages of metadata, one merge patch per object, each with uid and resourceVersion.
//!
//! A sweep may take long, so it stops at a deadline and begins anew: what it has done is seen in the
//! objects themselves, and a crash loses nothing.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::GroupResource;
use kube_bind_crds::names::{
    ANNOTATION_BINDING, ANNOTATION_CLUSTER_NAMESPACE, ANNOTATION_CONSUMER_NAMESPACE,
    ANNOTATION_CONSUMER_UID, ANNOTATION_PROVIDER_CLUSTER, ANNOTATION_PROVIDER_NAMESPACE,
    ANNOTATION_PROVIDER_UID, ANNOTATION_SYNC_PROBLEM, FINALIZER_SYNCER, LABEL_OWNER,
};
use kube_bind_runtime::apply;
use serde_json::{Map, Value, json};

use crate::consumer::CrdView;
use crate::fault;
use crate::names::MANAGER_BINDING;

/// Objects per page.
const PAGE: u32 = 500;
/// Patches under way at the same time.
const PARALLEL: usize = 8;

/// The metadata of any object.
pub(super) type Meta = PartialObjectMeta<DynamicObject>;

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Objects that were changed.
    pub(super) released: usize,
    /// Everything was seen, and nothing was left to do: no writer came in between.
    pub(super) clean: bool,
}

/// Where to sweep.
pub(super) struct Field<'a> {
    /// The cluster.
    pub(super) client: &'a Client,
    /// The kind.
    pub(super) kind: &'a ApiResource,
    /// Only in this namespace.
    pub(super) namespace: Option<&'a str>,
    /// Only objects with these labels.
    pub(super) labels: Option<&'a str>,
}

impl Field<'_> {
    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, self.kind),
            None => Api::all_with(self.client.clone(), self.kind),
        }
    }
}

/// Patches all objects for which `patch` has something, until everything was seen or `until`. One that is
/// refused is an error only when there is nothing else to do: it keeps no other from being let go.
pub(super) async fn sweep(
    field: &Field<'_>,
    until: Instant,
    now: impl Fn() -> Instant + Send + Sync,
    patch: impl Fn(&Meta) -> Option<Value> + Send + Sync,
) -> Result<Swept, kube::Error> {
    let all = field.api(field.namespace);
    let mut swept = Swept {
        released: 0,
        clean: true,
    };
    let mut refused = None;
    let mut params = ListParams::default().limit(PAGE);
    params.label_selector = field.labels.map(str::to_owned);
    loop {
        let page = apply::timed(all.list_metadata(&params)).await?;
        let mut wanted = Vec::new();
        for object in &page.items {
            if let Some(patch) = patch(object) {
                let namespace = object.namespace().filter(|n| !n.is_empty());
                let api = field.api(namespace.as_deref());
                wanted.push(write(api, object.name_any(), patch));
            }
        }
        let mut writes = futures::stream::iter(wanted).buffer_unordered(PARALLEL);
        while let Some(written) = writes.next().await {
            match written {
                Ok(written) => {
                    swept.released += usize::from(written);
                    swept.clean = false;
                }
                Err(error) if fault::is_refused(&error) => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if now() < until => params = params.continue_token(&token),
            more => {
                swept.clean &= more.is_none();
                return refused
                    .filter(|_| swept.released == 0)
                    .map_or(Ok(swept), Err);
            }
        }
    }
}

/// The same everywhere, or, where the rights end before, in these namespaces.
pub(super) async fn sweep_where_allowed(
    field: &Field<'_>,
    namespaces: &BTreeSet<String>,
    until: Instant,
    now: impl Fn() -> Instant + Send + Sync,
    patch: impl Fn(&Meta) -> Option<Value> + Send + Sync,
) -> Result<Swept, kube::Error> {
    let everywhere = sweep(field, until, &now, &patch).await;
    match everywhere {
        Err(error) if fault::code(&error) == Some(403) && !namespaces.is_empty() => {}
        answered => return answered,
    }
    let mut all = Swept {
        released: 0,
        clean: true,
    };
    for namespace in namespaces {
        let part = Field {
            namespace: Some(namespace),
            ..*field
        };
        let swept = sweep(&part, until, &now, &patch).await?;
        all.released += swept.released;
        all.clean &= swept.clean;
    }
    Ok(all)
}

async fn write(api: Api<DynamicObject>, name: String, patch: Value) -> Result<bool, kube::Error> {
    let params = PatchParams {
        field_manager: Some(MANAGER_BINDING.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    match apply::timed(api.patch_metadata(&name, &params, &patch)).await {
        Ok(_) => Ok(true),
        // The next pass sees what became of it.
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A kind of the consumer, in a version that can be listed.
pub(super) fn kind_of(resource: &GroupResource, crd: &CrdView) -> Option<ApiResource> {
    let version = crd.served.first().or(crd.stored_versions.last())?;
    let kind = &crd.accepted_names.as_ref()?.kind;
    let kind = GroupVersionKind::gvk(&resource.group, version, kind);
    Some(ApiResource::from_gvk_with_plural(&kind, &resource.resource))
}

/// Releases a consumer object that is being deleted and waits for us.
pub(super) fn of_terminating(object: &Meta) -> Option<Value> {
    object.metadata.deletion_timestamp.as_ref()?;
    let finalizers = without_ours(object)?;
    Some(patch(object, &json!({"finalizers": finalizers})))
}

/// Takes our finalizer and all our marks off a consumer object.
pub(super) fn of_consumer(object: &Meta) -> Option<Value> {
    let mut fields = Map::new();
    if let Some(finalizers) = without_ours(object) {
        fields.insert("finalizers".into(), json!(finalizers));
    }
    let ours = [
        ANNOTATION_PROVIDER_NAMESPACE,
        ANNOTATION_PROVIDER_UID,
        ANNOTATION_SYNC_PROBLEM,
    ];
    if let Some(annotations) = removals(object, &ours) {
        fields.insert("annotations".into(), annotations);
    }
    (!fields.is_empty()).then(|| patch(object, &Value::Object(fields)))
}

/// Takes this consumer's marks off a copy on the provider, and the owner that would take it along.
/// Copies of others are left alone.
pub(super) fn of_provider(object: &Meta, cluster_namespace: &str, uid: &str) -> Option<Value> {
    let marked = object.annotations().get(ANNOTATION_CLUSTER_NAMESPACE)?;
    if marked != cluster_namespace {
        return None;
    }
    let ours = [
        ANNOTATION_CLUSTER_NAMESPACE,
        ANNOTATION_CONSUMER_NAMESPACE,
        ANNOTATION_CONSUMER_UID,
    ];
    let mut fields = Map::new();
    fields.insert("annotations".into(), removals(object, &ours)?);
    let owners = object.owner_references();
    if owners.iter().any(|owner| owner.uid == uid) {
        let others: Vec<_> = owners.iter().filter(|owner| owner.uid != uid).collect();
        fields.insert("ownerReferences".into(), json!(others));
    }
    Some(patch(object, &Value::Object(fields)))
}

/// Takes our marks off a claimed object of the consumer that a binding's claim made or labelled.
pub(super) fn of_claimed(object: &Meta, binding: &str) -> Option<Value> {
    (object.annotations().get(ANNOTATION_BINDING)? == binding).then_some(())?;
    let ours = [
        ANNOTATION_BINDING,
        ANNOTATION_PROVIDER_CLUSTER,
        ANNOTATION_PROVIDER_NAMESPACE,
        ANNOTATION_PROVIDER_UID,
    ];
    Some(patch(
        object,
        &json!({
            "annotations": removals(object, &ours)?,
            "labels": {LABEL_OWNER: null},
        }),
    ))
}

fn without_ours(object: &Meta) -> Option<Vec<&String>> {
    let ours = |finalizer: &&String| *finalizer == FINALIZER_SYNCER;
    object.finalizers().iter().find(ours)?;
    Some(object.finalizers().iter().filter(|f| !ours(f)).collect())
}

/// Annotations to remove, if the object has any of them.
fn removals(object: &Meta, keys: &[&str]) -> Option<Value> {
    let there: Map<String, Value> = keys
        .iter()
        .filter(|key| object.annotations().contains_key(**key))
        .map(|key| ((*key).to_owned(), Value::Null))
        .collect();
    (!there.is_empty()).then_some(Value::Object(there))
}

fn patch(object: &Meta, fields: &Value) -> Value {
    let mut metadata = fields.clone();
    metadata["uid"] = json!(object.uid());
    metadata["resourceVersion"] = json!(object.resource_version());
    json!({"metadata": metadata})
}

#[cfg(test)]
mod tests;
