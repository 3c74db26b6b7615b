//! Releases the objects of a kind that the provider has withdrawn while its binding ends: nobody can
//! tell any more whether their copies are gone, and the provider said itself that they are not
//! wanted. IO: pages of metadata, one merge patch per object.

use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::GroupResource;
use kube_bind_crds::names::FINALIZER_SYNCER;
use kube_bind_runtime::apply;
use serde_json::json;

use crate::consumer::CrdView;
use crate::fault;
use crate::names::MANAGER_BINDING;

/// Objects per page.
const PAGE: u32 = 500;

/// Takes our finalizer off all objects that are being deleted; says how many those were.
pub(super) async fn release(
    client: &Client,
    resource: &GroupResource,
    crd: &CrdView,
) -> Result<usize, kube::Error> {
    let Some(kind) = api_resource(resource, crd) else {
        return Ok(0);
    };
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let mut released = 0;
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = apply::timed(all.list_metadata(&params)).await?;
        for object in &page.items {
            let Some(patch) = without_finalizer(object) else {
                continue;
            };
            let namespace = object.namespace().unwrap_or_default();
            let api: Api<DynamicObject> = if namespace.is_empty() {
                Api::all_with(client.clone(), &kind)
            } else {
                Api::namespaced_with(client.clone(), &namespace, &kind)
            };
            let params = PatchParams {
                field_manager: Some(MANAGER_BINDING.to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(&patch);
            match apply::timed(api.patch_metadata(&object.name_any(), &params, &patch)).await {
                Ok(_) => released += 1,
                // The next look sees what became of it.
                Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(released),
        }
    }
}

fn api_resource(resource: &GroupResource, crd: &CrdView) -> Option<ApiResource> {
    let version = crd.stored_versions.last()?;
    let kind = &crd.accepted_names.as_ref()?.kind;
    let kind = GroupVersionKind::gvk(&resource.group, version, kind);
    Some(ApiResource::from_gvk_with_plural(&kind, &resource.resource))
}

/// The patch that releases an object, if it is being deleted and waits for us.
fn without_finalizer(object: &PartialObjectMeta<DynamicObject>) -> Option<serde_json::Value> {
    let ours = |finalizer: &&String| *finalizer == FINALIZER_SYNCER;
    object.metadata.deletion_timestamp.as_ref()?;
    object.finalizers().iter().find(ours)?;
    let others: Vec<_> = object.finalizers().iter().filter(|f| !ours(f)).collect();
    Some(json!({"metadata": {
        "uid": object.uid(),
        "resourceVersion": object.resource_version(),
        "finalizers": others,
    }}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn only_what_is_being_deleted_is_released_and_foreign_finalizers_stay() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let client = answering(move |request| {
            seen.lock().unwrap().push(request.clone());
            if request.method == "PATCH" {
                return (200, json!({"metadata": {"name": "going"}}));
            }
            let object = |name: &str, deletion: Option<&str>| {
                json!({"metadata": {"name": name, "namespace": "team", "uid": name,
                    "resourceVersion": "7", "deletionTimestamp": deletion,
                    "finalizers": ["other/x", FINALIZER_SYNCER]}})
            };
            let items = [
                object("going", Some("2026-01-01T00:00:00Z")),
                object("living", None),
            ];
            (
                200,
                json!({"metadata": {"resourceVersion": "9"}, "items": items}),
            )
        });
        let resource = GroupResource {
            group: "example.org".into(),
            resource: "widgets".into(),
        };
        let crd = CrdView {
            stored_versions: vec!["v1".into()],
            accepted_names: Some(Default::default()),
            ..CrdView::default()
        };
        assert_eq!(release(&client, &resource, &crd).await.unwrap(), 1);
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 2);
        assert!(
            asked[1]
                .uri
                .contains("/apis/example.org/v1/namespaces/team/widgets/going"),
            "{}",
            asked[1].uri
        );
        assert_eq!(asked[1].body["metadata"]["finalizers"], json!(["other/x"]));
        assert_eq!(asked[1].body["metadata"]["uid"], "going");
    }
}
