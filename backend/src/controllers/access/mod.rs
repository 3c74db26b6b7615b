//! Gives consumers the rights that their exports need outside of their service namespaces (contract
//! section 4.9): in the cluster namespace under isolation `Namespaced`, cluster-wide where a kind cannot
//! be had otherwise. Cluster-wide writes are bound only while the admission policy that confines them is
//! seen to work, and what all can read has one consumer, unless sharing is allowed.
//!
//! Cluster-wide rights end with their exports, with the `ClusterBinding` (a finalizer), and with the
//! cluster namespace (their owner).

mod decide;
mod grant;
mod policy;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::{
    APIServiceExport, BoundSchema, ClusterBinding, GroupResource, Isolation, ResourceScope,
};
use kube_bind_crds::names::CLUSTER_BINDING_NAME;
use kube_bind_crds::schema;
use kube_bind_runtime::apply::timed;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Scoped};
use super::error::{Error, RESYNC};
use super::rights::Rights;
use super::{Context, seen, tolerant};
use crate::provision::names::{COMPONENT_ACCESS, FINALIZER_ACCESS, LABEL_COMPONENT, ROLE_EXPORTS};
use crate::provision::{ensure, names};
use decide::Access;
use policy::Policy;

const NAME: &str = "access";
const CONCURRENCY: u16 = 4;
/// When a kind is looked for again that another consumer has, or whose schema is missing.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Of this controller.
pub(super) struct State {
    policy: Policy,
    /// Uid and generation of the policy that was seen to be enforced.
    enforced: Mutex<Option<(String, i64)>>,
}

/// Serves all consumers until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let state = State {
        policy: policy::policy(&context.settings),
        enforced: Mutex::default(),
    };
    let binding_in = |namespace: &str| vec![ObjectRef::new(CLUSTER_BINDING_NAME).within(namespace)];
    let ours = watcher::Config::default().labels(&format!("{LABEL_COMPONENT}={COMPONENT_ACCESS}"));
    let of_role = move |role: &str| decide::namespace_of(role).map_or_else(Vec::new, binding_in);
    let by_name = format!("metadata.name={}", state.policy.name);
    let the_policy = watcher::Config::default().fields(&by_name);
    let driver = Driver::<ClusterBinding>::new(context, NAME, seen::without_status);
    let (of_policy, of_policy_binding) = (driver.store(), driver.store());
    let protected = |store: &kube::runtime::reflector::Store<ClusterBinding>| {
        store
            .state_filter(has_finalizer)
            .iter()
            .map(|binding| ObjectRef::from_obj(&**binding))
            .collect::<Vec<_>>()
    };
    driver
        .watches::<APIServiceExport>(
            watcher::Config::default(),
            seen::without_status,
            move |export| binding_in(&export.namespace().unwrap_or_default()),
        )
        .watches::<ClusterRole>(ours.clone(), seen::everything, move |role| {
            of_role(&role.name_any())
        })
        .watches::<ClusterRoleBinding>(ours, seen::everything, move |binding| {
            of_role(&binding.name_any())
        })
        .watches::<ValidatingAdmissionPolicy>(the_policy.clone(), seen::without_status, move |_| {
            protected(&of_policy)
        })
        .watches::<ValidatingAdmissionPolicyBinding>(the_policy, seen::without_status, move |_| {
            protected(&of_policy_binding)
        })
        .run(state, CONCURRENCY, stop, reconcile)
        .await;
}

fn has_finalizer(binding: &ClusterBinding) -> bool {
    binding.finalizers().iter().any(|f| f == FINALIZER_ACCESS)
}

async fn reconcile(
    binding: Arc<ClusterBinding>,
    scoped: Arc<Scoped<State>>,
) -> Result<Action, Error> {
    let namespace = binding.namespace().unwrap_or_default();
    if binding.meta().deletion_timestamp.is_some() {
        if has_finalizer(&binding) {
            grant::withdraw(&binding, &scoped).await?;
        }
        return Ok(Action::await_change());
    }
    let (exports, scopes) = observe(&namespace, &scoped).await?;
    let settings = &scoped.context.settings;
    let mut access = Access::of(&exports, &scopes, settings);
    in_own_namespace(&namespace, &exports, &access, &scoped).await?;
    let mut again = RESYNC;
    let all_known = exports
        .iter()
        .flat_map(|export| &export.spec.resources)
        .all(|resource| scopes.contains_key(&resource.group_resource));
    if !all_known {
        again = LOOK_AGAIN;
    }
    if !access.is_narrow() {
        let lost = without_taken(&namespace, &mut access, &scoped).await?;
        if !lost.is_empty() {
            again = LOOK_AGAIN;
            let lost: Vec<String> = lost.iter().map(schema::name).collect();
            let note = format!(
                "no rights on {}: their objects are visible to all consumers, another one has them \
                 already, and --allow-shared-reads is not set",
                lost.join(", ")
            );
            let (events, object) = (&scoped.context.events, binding.object_ref(&()));
            events.warning(&object, "SharedReadsRefused", note).await;
        }
    }
    if access.is_narrow() {
        if has_finalizer(&binding) {
            grant::withdraw(&binding, &scoped).await?;
        }
    } else {
        let granted = grant::grant(&binding, &access, &scoped).await;
        if let Err(error @ (Error::Foreign { .. } | Error::NotCovered { .. })) = &granted {
            let (events, object) = (&scoped.context.events, binding.object_ref(&()));
            events
                .warning(&object, "AccessNotGranted", error.to_string())
                .await;
        }
        granted?;
    }
    Ok(Action::requeue(again))
}

async fn observe(
    namespace: &str,
    scoped: &Scoped<State>,
) -> Result<
    (
        Vec<APIServiceExport>,
        BTreeMap<GroupResource, ResourceScope>,
    ),
    Error,
> {
    let client = &scoped.context.client;
    let exports = tolerant::list::<APIServiceExport>(&Api::namespaced(client.clone(), namespace))
        .await
        .map_err(Error::request("list exports"))?;
    let api: Api<BoundSchema> = Api::namespaced(client.clone(), namespace);
    let mut scopes = BTreeMap::new();
    for resource in exports.iter().flat_map(|export| &export.spec.resources) {
        let name = schema::name(&resource.group_resource);
        let step = Error::request(format!("read BoundSchema {name}"));
        if let Some(schema) = timed(api.get_opt(&name)).await.map_err(step)? {
            scopes.insert(resource.group_resource.clone(), schema.spec.scope);
        }
    }
    Ok((exports, scopes))
}

/// Under isolation `Namespaced` exported objects live in the cluster namespace itself. Once made, the
/// role stays, so that the end of an export takes its rights away.
async fn in_own_namespace(
    namespace: &str,
    exports: &[APIServiceExport],
    access: &Access,
    scoped: &Scoped<State>,
) -> Result<(), Error> {
    let client = &scoped.context.client;
    if access.own.is_empty() {
        let roles: Api<k8s_openapi::api::rbac::v1::Role> =
            Api::namespaced(client.clone(), namespace);
        let found = timed(roles.get_metadata_opt(ROLE_EXPORTS)).await;
        let found = found.map_err(Error::request(format!("read Role {ROLE_EXPORTS}")))?;
        if found.is_none() {
            return Ok(());
        }
    }
    let here = exports
        .iter()
        .filter(|export| export.spec.isolation == Isolation::Namespaced);
    for desired in Rights::of(here).exported(namespace, namespace) {
        let step = Error::request(format!("apply {} {}", desired.resource.kind, desired.name));
        ensure::ensure(client, &desired, &scoped.manager())
            .await
            .map_err(step)?;
    }
    Ok(())
}

/// Read from the API server, because it decides who sees whose objects.
async fn without_taken(
    namespace: &str,
    access: &mut Access,
    scoped: &Scoped<State>,
) -> Result<Vec<GroupResource>, Error> {
    let settings = &scoped.context.settings;
    if settings.allow_shared_reads {
        return Ok(Vec::new());
    }
    let all = tolerant::list::<APIServiceExport>(&Api::all(scoped.context.client.clone()))
        .await
        .map_err(Error::request("list the exports of all consumers"))?;
    Ok(access.without(&decide::taken(&all, namespace, settings)))
}

/// Object of ours by its label: what merely has the name is not touched.
fn is_ours(labels: &BTreeMap<String, String>, component: &str) -> bool {
    labels.get(names::LABEL_COMPONENT).map(String::as_str) == Some(component)
}

#[cfg(test)]
mod tests;
