//! Brings one object to its desired state with as few writes as possible (IO).

use kube::api::{Api, DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use kube_bind_runtime::apply::{apply, timed};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::desired::{Change, Desired, change};

/// Reads the object and writes it only if it differs. Says whether anything was written.
pub async fn ensure(
    client: &Client,
    desired: &Desired,
    manager: &str,
) -> Result<bool, kube::Error> {
    let api = api_of(client, desired);
    let current = timed(api.get_opt(&desired.name)).await?;
    let mut body = desired.body.clone();
    match change(current.as_ref(), desired) {
        Change::None => return Ok(false),
        Change::Apply => {
            // Without the uid, an object deleted in the meantime would come back half-made.
            if let Some(uid) = current.and_then(|object| object.uid()) {
                body["metadata"]["uid"] = uid.into();
            }
        }
        Change::Recreate => {
            if let Some(current) = &current {
                delete(&api, current).await?;
            }
        }
    }
    apply(&api, &desired.name, manager, &body).await?;
    Ok(true)
}

/// Creates the object; that one of its name exists is an error.
pub async fn create_desired(
    client: &Client,
    desired: &Desired,
    manager: &str,
) -> Result<DynamicObject, kube::Error> {
    let params = PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    };
    let object: DynamicObject =
        serde_json::from_value(desired.body.clone()).map_err(kube::Error::SerdeError)?;
    timed(api_of(client, desired).create(&params, &object)).await
}

fn api_of(client: &Client, desired: &Desired) -> Api<DynamicObject> {
    match &desired.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &desired.resource),
        None => Api::all_with(client.clone(), &desired.resource),
    }
}

/// Creates an object unless one of its name exists; says whether it did. The caller decides whether
/// an existing one is the right one.
pub async fn create<K>(api: &Api<K>, object: &K, manager: &str) -> Result<bool, kube::Error>
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let params = PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    };
    match timed(api.create(&params, object)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes exactly this object: one that took its name is left alone, and a missing one is fine.
pub async fn delete<K>(api: &Api<K>, object: &K) -> Result<(), kube::Error>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match timed(api.delete(&object.name_any(), &params)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
