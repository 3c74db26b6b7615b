//! The `Cluster` object stands for this provider: while it exists, the configured groups and users may
//! bind (contract sections 3.5 and 4.1).

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, ObjectMeta};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::{Cluster, ClusterSpec};
use kube_bind_crds::names::GROUP;
use kube_bind_runtime::backoff::Backoff;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Scoped};
use super::error::{Error, RESYNC};
use super::{Context, seen};
use crate::login_permission;
use crate::provision::Settings;
use crate::provision::desired::Desired;
use crate::provision::ensure;
use crate::provision::names::{DEFAULT_CLUSTER, LOGIN_ROLE};

const NAME: &str = "cluster";

/// Seeds the `Cluster` object and keeps the login permission until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let ours = |name: &str| {
        if name == LOGIN_ROLE {
            vec![ObjectRef::new(DEFAULT_CLUSTER)]
        } else {
            vec![]
        }
    };
    let by_name = watcher::Config::default().fields(&format!("metadata.name={LOGIN_ROLE}"));
    let driver = Driver::<Cluster>::new(context.clone(), NAME, seen::without_status)
        .watches::<ClusterRole>(by_name.clone(), seen::everything, move |role| {
            ours(&role.name_any())
        })
        .watches::<ClusterRoleBinding>(by_name, seen::everything, move |binding| {
            ours(&binding.name_any())
        });
    let seeding = stop.run_until_cancelled(seed(&context));
    let Context {
        client,
        settings,
        health,
        ..
    } = &context;
    let granted = login_permission::of_leader(client, settings, health, &stop);
    tokio::join!(seeding, driver.run((), 1, stop.clone(), reconcile), granted);
}

/// Creates the object whenever this process becomes the leader. Who deletes it takes the login permission
/// away until then only; for good, empty the lists of users and groups that may log in.
async fn seed(context: &Context) {
    let api: Api<Cluster> = Api::all(context.client.clone());
    let cluster = Cluster {
        metadata: ObjectMeta {
            name: Some(DEFAULT_CLUSTER.to_owned()),
            ..ObjectMeta::default()
        },
        spec: ClusterSpec {},
        status: None,
    };
    let backoff = Backoff::new();
    while let Err(error) = ensure::create(&api, &cluster, "kube-bind-backend/cluster").await {
        let delay = backoff.next(&());
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            retry_ms = delay.as_millis(),
            "failed to seed Cluster {DEFAULT_CLUSTER}"
        );
        tokio::time::sleep(delay).await;
    }
}

async fn reconcile(cluster: Arc<Cluster>, scoped: Arc<Scoped<()>>) -> Result<Action, Error> {
    // All Cluster objects would share one role, so only one of them counts.
    if cluster.name_any() != DEFAULT_CLUSTER || cluster.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    for desired in decide(&cluster, &scoped.context.settings) {
        ensure::ensure(&scoped.context.client, &desired, &scoped.manager())
            .await
            .map_err(Error::request(format!(
                "apply {} {}",
                desired.resource.kind, desired.name
            )))?;
    }
    Ok(Action::requeue(RESYNC))
}

/// The login permission. Names from the identity provider are prefixed, so that a group of that name
/// is never `system:masters`.
fn decide(cluster: &Cluster, settings: &Settings) -> Vec<Desired> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let owners: Vec<_> = cluster.controller_owner_ref(&()).into_iter().collect();
    let subject = |kind: &str, prefix: &str, name: &str| -> Value {
        json!({ "apiGroup": RBAC, "kind": kind, "name": format!("{prefix}{name}") })
    };
    let groups = settings
        .allowed_groups
        .iter()
        .map(|g| subject("Group", &settings.groups_prefix, g));
    let users = settings
        .allowed_users
        .iter()
        .map(|u| subject("User", &settings.username_prefix, u));
    let subjects: Vec<Value> = groups.chain(users).collect();
    vec![
        Desired::of::<ClusterRole>(
            None,
            LOGIN_ROLE,
            json!({
                "metadata": { "ownerReferences": owners },
                "rules": [
                    { "apiGroups": [GROUP], "resources": ["*"], "verbs": ["bind"] },
                    { "nonResourceURLs": ["/", "/api", "/api/*", "/apis", "/apis/*"], "verbs": ["access"] },
                ],
            }),
        ),
        Desired::of::<ClusterRoleBinding>(
            None,
            LOGIN_ROLE,
            json!({
                "metadata": { "ownerReferences": owners },
                "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": LOGIN_ROLE },
                "subjects": subjects,
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::test_support::settings;

    fn cluster() -> Cluster {
        let mut cluster = Cluster::new(DEFAULT_CLUSTER, ClusterSpec {});
        cluster.metadata.uid = Some("uid-of-cluster".into());
        cluster
    }

    #[test]
    fn subjects_are_prefixed_groups_first() {
        let mut settings = settings();
        settings.allowed_groups = vec!["system:masters".into()];
        settings.allowed_users = vec!["anna".into()];
        let names: Vec<_> = decide(&cluster(), &settings)[1].body["subjects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| {
                (
                    s["kind"].as_str().unwrap().to_owned(),
                    s["name"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!(
            names,
            [
                ("Group".into(), "oidc:system:masters".into()),
                ("User".into(), "oidc:anna".into())
            ]
        );
    }

    #[test]
    fn the_permission_goes_with_the_cluster_object() {
        for desired in decide(&cluster(), &settings()) {
            let owner = &desired.body["metadata"]["ownerReferences"][0];
            assert_eq!(owner["uid"], "uid-of-cluster");
            assert_eq!(owner["controller"], true);
        }
    }
}
