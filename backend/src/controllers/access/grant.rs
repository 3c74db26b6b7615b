//! Puts cluster-wide rights in place and takes them away (IO), in an order that never leaves writes
//! unconfined: finalizer, policy, its effect seen, role, binding; and back: binding, role, finalizer.

use std::sync::PoisonError;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube_bind_crds::api::{Cluster, ClusterBinding, ClusterSpec};
use kube_bind_runtime::apply::{apply, timed};
use serde_json::json;

use super::decide::Access;
use super::{State, has_finalizer, is_ours, policy};
use crate::controllers::driver::Scoped;
use crate::controllers::error::Error;
use crate::provision::desired::{Change, Desired, change};
use crate::provision::ensure;
use crate::provision::names::{
    ANNOTATION_PROBE, COMPONENT_ACCESS, COMPONENT_POLICY, FINALIZER_ACCESS, POLICY_PROBE,
};

/// Gives the consumer these rights and no more.
pub async fn grant(
    binding: &ClusterBinding,
    access: &Access,
    scoped: &Scoped<State>,
) -> Result<(), Error> {
    let namespace = binding.namespace().unwrap_or_default();
    if !access.writes.is_empty() && !is_covered(&namespace, scoped) {
        return Err(Error::NotCovered { namespace });
    }
    if !has_finalizer(binding) {
        let mut finalizers = binding.finalizers().to_vec();
        finalizers.push(FINALIZER_ACCESS.to_owned());
        set_finalizers(binding, finalizers, scoped).await?;
        return Err(Error::waiting("the object with our finalizer"));
    }
    if !access.writes.is_empty() {
        confine(scoped).await?;
    }
    let namespaces: Api<Namespace> = Api::all(scoped.context.client.clone());
    let step = Error::request(format!("read namespace {namespace}"));
    let found = timed(namespaces.get_metadata(&namespace))
        .await
        .map_err(step)?;
    for desired in access.cluster_role(&namespace, &found.uid().unwrap_or_default()) {
        put(&desired, COMPONENT_ACCESS, scoped).await?;
    }
    Ok(())
}

/// Takes all cluster-wide rights away, and then the finalizer.
pub async fn withdraw(binding: &ClusterBinding, scoped: &Scoped<State>) -> Result<(), Error> {
    let namespace = binding.namespace().unwrap_or_default();
    let [role, role_binding] = Access::default().cluster_role(&namespace, "");
    for desired in [role_binding, role] {
        let api: Api<DynamicObject> =
            Api::all_with(scoped.context.client.clone(), &desired.resource);
        let what = format!("{} {}", desired.resource.kind, desired.name);
        let found = timed(api.get_opt(&desired.name)).await;
        let found = found.map_err(Error::request(format!("read {what}")))?;
        if let Some(found) = found.filter(|found| is_ours(found.labels(), COMPONENT_ACCESS)) {
            ensure::delete(&api, &found)
                .await
                .map_err(Error::request(format!("delete {what}")))?;
        }
    }
    let mut finalizers = binding.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER_ACCESS);
    set_finalizers(binding, finalizers, scoped).await
}

/// The policy knows consumers by the names of their namespaces.
fn is_covered(namespace: &str, scoped: &Scoped<State>) -> bool {
    let prefix = &scoped.context.settings.namespace_prefix;
    namespace.strip_prefix(prefix.as_str()).is_some_and(|hash| {
        !hash.is_empty()
            && hash
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// Puts the policy in place and returns once it is seen to be enforced.
async fn confine(scoped: &Scoped<State>) -> Result<(), Error> {
    let State { policy, enforced } = &scoped.state;
    let current = put(&policy.policy, COMPONENT_POLICY, scoped).await?;
    let bound = put(&policy.binding, COMPONENT_POLICY, scoped).await?;
    let identity = |object: &DynamicObject| {
        let generation = object.metadata.generation.unwrap_or_default();
        (object.uid().unwrap_or_default(), generation)
    };
    let ((uid, generation), (binding, _)) = (identity(&current), identity(&bound));
    let seen = Some((uid + &binding, generation));
    if *enforced.lock().unwrap_or_else(PoisonError::into_inner) == seen {
        return Ok(());
    }
    probe(&policy.digest, scoped).await?;
    *enforced.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    tracing::info!(policy.name = %policy.name, "the policy that confines cluster-wide writes is in effect");
    Ok(())
}

/// Tries what only the policy refuses, without storing it.
async fn probe(digest: &str, scoped: &Scoped<State>) -> Result<(), Error> {
    let api: Api<Cluster> = Api::all(scoped.context.client.clone());
    let mut object = Cluster::new(POLICY_PROBE, ClusterSpec {});
    object
        .annotations_mut()
        .insert(ANNOTATION_PROBE.to_owned(), digest.to_owned());
    let params = PostParams {
        dry_run: true,
        field_manager: Some(scoped.manager()),
    };
    match timed(api.create(&params, &object)).await {
        Ok(_) => Err(Error::waiting("the policy is not in effect yet")),
        Err(kube::Error::Api(status)) if status.message.contains(&policy::answer(digest)) => Ok(()),
        // A policy of another content refuses nothing of this probe, so this is a real failure.
        Err(source) => Err(Error::request("try the policy")(source)),
    }
}

/// Brings one cluster-scoped object of ours to its desired state, unless one of somebody else is there.
async fn put(
    desired: &Desired,
    component: &str,
    scoped: &Scoped<State>,
) -> Result<DynamicObject, Error> {
    let client = &scoped.context.client;
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &desired.resource);
    let what = format!("{} {}", desired.resource.kind, desired.name);
    let found = timed(api.get_opt(&desired.name)).await;
    let Some(found) = found.map_err(Error::request(format!("read {what}")))? else {
        let step = Error::request(format!("create {what}"));
        let created = ensure::create_desired(client, desired, &scoped.manager()).await;
        return created.map_err(step);
    };
    if !is_ours(found.labels(), component) {
        return Err(Error::Foreign { what });
    }
    match change(Some(&found), desired) {
        Change::None => Ok(found),
        Change::Apply => {
            let mut body = desired.body.clone();
            body["metadata"]["uid"] = json!(found.uid());
            apply(&api, &desired.name, &scoped.manager(), &body)
                .await
                .map_err(Error::request(format!("apply {what}")))
        }
        Change::Recreate => {
            ensure::delete(&api, &found)
                .await
                .map_err(Error::request(format!("delete {what}")))?;
            Err(Error::waiting(format!("{what} is made anew")))
        }
    }
}

async fn set_finalizers(
    binding: &ClusterBinding,
    finalizers: Vec<String>,
    scoped: &Scoped<State>,
) -> Result<(), Error> {
    let namespace = binding.namespace().unwrap_or_default();
    let api: Api<ClusterBinding> = Api::namespaced(scoped.context.client.clone(), &namespace);
    let patch = json!({ "metadata": {
        "uid": binding.uid(),
        "resourceVersion": binding.resource_version(),
        "finalizers": finalizers,
    }});
    let params = PatchParams {
        field_manager: Some(scoped.manager()),
        ..PatchParams::default()
    };
    match timed(api.patch_metadata(&binding.name_any(), &params, &Patch::Merge(patch))).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(Error::request("change the finalizers")(source)),
    }
}
