//! The life of one object in one mode, from its creation to its end, with everything that travels.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube_bind_crds::names;
use kube_bind_e2e::ControlPlane;
use kube_bind_e2e::bindings::{merge, merge_status};
use kube_bind_e2e::objects::{create, wait_gone, wait_until};
use serde_json::json;

use crate::kinds::{Isolation, Row};

/// Both sides of one object.
pub struct Sides {
    pub mine: Api<DynamicObject>,
    pub copy: Api<DynamicObject>,
    pub name: String,
    pub copy_name: String,
}

impl Sides {
    pub fn of(
        row: &Row,
        consumer: &ControlPlane,
        provider: &ControlPlane,
        home: &str,
        name: &str,
    ) -> Sides {
        let (namespace, copy_name) = row.copy_of(home, name);
        Sides {
            mine: row.api(consumer, &row.consumer_namespace()),
            copy: row.api(provider, &namespace),
            name: name.to_owned(),
            copy_name,
        }
    }
}

/// Lives it.
pub async fn live(row: &Row, sides: &Sides, home: &str) -> Result<()> {
    let Sides {
        mine,
        copy,
        name,
        copy_name,
    } = sides;
    create(mine, &row.object(name)).await?;
    let arrived = wait_until(copy, copy_name, "at the provider", |_| true).await?;
    let object = wait_until(mine, name, "linked", |object| {
        object
            .annotations()
            .contains_key(names::ANNOTATION_PROVIDER_UID)
    })
    .await?;
    is_marked(row, &object, &arrived, home)?;
    ensure!(
        arrived.data["data"] == json!({"motto": "eins"}),
        "{:?}",
        arrived.data
    );
    ensure!(
        arrived.data["spec"]["colours"] == json!(["red"]),
        "{:?}",
        arrived.data
    );

    let change = json!({
        "metadata": {
            "labels": {"team": null, "tier": "silver", "new": "label"},
            "annotations": {"example.org/note": null, "example.org/more": "text"},
        },
        "spec": {"size": 7, "colours": null},
        "data": {"motto": null, "other": "zwei"},
    });
    merge(mine, name, change).await?;
    wait_until(copy, copy_name, "changed", |object| {
        let (labels, annotations) = (object.labels(), object.annotations());
        let is =
            |map: &std::collections::BTreeMap<String, String>, key: &str| map.get(key).cloned();
        is(labels, "tier").as_deref() == Some("silver")
            && is(labels, "new").as_deref() == Some("label")
            && is(labels, "team").is_none()
            && is(annotations, "example.org/more").as_deref() == Some("text")
            && is(annotations, "example.org/kept").as_deref() == Some("yes")
            && is(annotations, "example.org/note").is_none()
            && object.data["spec"]["size"] == 7
            && object.data["spec"].get("colours").is_none()
            && object.data["data"] == json!({"other": "zwei"})
    })
    .await?;

    status_travels(sides).await?;

    merge(
        copy,
        copy_name,
        json!({"metadata": {"finalizers": ["example.org/wait"]}}),
    )
    .await?;
    mine.delete(name, &DeleteParams::default()).await?;
    wait_until(copy, copy_name, "terminating", |object| {
        object.metadata.deletion_timestamp.is_some()
    })
    .await?;
    ensure!(
        mine.get_opt(name).await?.is_some(),
        "it goes only after its copy"
    );
    merge(copy, copy_name, json!({"metadata": {"finalizers": null}})).await?;
    wait_gone(copy, copy_name).await?;
    wait_gone(mine, name).await
}

fn is_marked(row: &Row, object: &DynamicObject, copy: &DynamicObject, home: &str) -> Result<()> {
    let mark = |key: &str| copy.annotations().get(key).cloned().unwrap_or_default();
    ensure!(mark(names::ANNOTATION_CLUSTER_NAMESPACE) == home);
    ensure!(mark(names::ANNOTATION_CONSUMER_NAMESPACE) == row.consumer_namespace());
    ensure!(Some(mark(names::ANNOTATION_CONSUMER_UID)) == object.uid());
    let link = |key: &str| object.annotations().get(key).cloned();
    ensure!(link(names::ANNOTATION_PROVIDER_UID) == copy.uid());
    ensure!(
        link(names::ANNOTATION_PROVIDER_NAMESPACE) == Some(copy.namespace().unwrap_or_default())
    );
    ensure!(object.finalizers() == [names::FINALIZER_SYNCER]);
    let owners: Vec<_> = copy
        .owner_references()
        .iter()
        .map(|owner| (owner.kind.as_str(), owner.name.as_str(), owner.controller))
        .collect();
    let expected = [("Namespace", home, None)];
    let owned = row.cluster && row.isolation != Isolation::Namespaced;
    ensure!(
        owners == expected[..usize::from(owned)],
        "owners are {owners:?}"
    );
    Ok(())
}

/// Comes, changes and goes.
pub async fn status_travels(sides: &Sides) -> Result<()> {
    let Sides {
        mine,
        copy,
        name,
        copy_name,
    } = sides;
    for status in [json!({"phase": "Busy"}), json!({"phase": "Ready"})] {
        let patch = json!({"status": status});
        merge_status(copy, copy_name, patch).await?;
        wait_until(mine, name, "status", |object| {
            object.data["status"] == status
        })
        .await?;
    }
    let gone = json!([{"op": "remove", "path": "/status"}]);
    let gone = serde_json::from_value(gone)?;
    copy.patch_status(copy_name, &PatchParams::default(), &Patch::<()>::Json(gone))
        .await?;
    wait_until(mine, name, "no status", |object| {
        object.data.get("status").is_none()
    })
    .await?;
    Ok(())
}
