//! Kinds whose objects every consumer can read: one consumer only, unless the provider allows more; and
//! then none can write what is another's.

use anyhow::{Context, Result, ensure};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::ours;
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{api, as_consumer, create, wait_gone, wait_until};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::{run, wait_for, widgets};
use serde_json::{Value, json};

use crate::kinds::{self, Isolation, Row};
use crate::life::{Sides, live};
use crate::{bind, provider};

const TENANTS: Row = Row {
    kind: "Tenant",
    isolation: Isolation::Prefixed,
    informers: "namespaced",
    cluster: true,
};

#[test]
fn a_second_consumer_can_read_only_where_that_is_allowed_and_never_write() -> Result<()> {
    run(async {
        let (provider, north, south) = tokio::try_join!(
            provider(),
            Consumer::start("consumer-north"),
            Consumer::start("consumer-south")
        )?;
        provider
            .apply(&[
                kinds::crd("tenants", "Tenant", "Cluster"),
                widgets::template("tenants", "tenants"),
            ])
            .await?;
        bind(&provider, &north, "tenants").await?;
        let args = ["--template-name", "tenants"];
        let refused = south
            .bind_reporting(&provider.url(), &provider.bob, &args, |_| {})
            .await?;
        ensure!(!refused.status.success(), "the second consumer was let in");
        ensure!(
            refused.stderr.contains("can read the objects of everybody"),
            "the person is not told why: {}",
            refused.stderr
        );
        let (_, north_home) = as_consumer(&north.plane).await?;
        let only_north = [format!("kube-binder-{north_home}")];
        ensure!(
            cluster_roles(&provider).await? == only_north,
            "who was refused has rights"
        );

        provider.restart_backend(&["--allow-shared-reads"]).await?;
        let catalogue = south
            .run_plugin(&["bind", "templates", "-o", "json"])
            .await?;
        ensure!(
            catalogue.stdout.contains("can read each other's objects"),
            "the catalogue says nothing of it: {catalogue:?}"
        );
        let bound = south
            .bind_reporting(&provider.url(), &provider.bob, &args, |_| {})
            .await?;
        bound.success()?;
        let (client, home) = as_consumer(&south.plane).await?;
        let (mine, theirs) = (
            Sides::of(&TENANTS, &south.plane, &provider.plane, &home, "acme"),
            Sides::of(&TENANTS, &north.plane, &provider.plane, &north_home, "acme"),
        );
        live(&TENANTS, &mine, &home).await?;
        create(&theirs.mine, &TENANTS.object("acme")).await?;
        let victim = wait_until(&theirs.copy, &theirs.copy_name, "there", |_| true).await?;
        // It would delete what this test writes in its name.
        south.stop_konnector().await?;
        nobody_writes_for_others(client, &home, &north_home, &victim).await?;
        let after = theirs.copy.get(&theirs.copy_name).await?;
        ensure!(after.data["spec"] == victim.data["spec"]);
        ensure!(after.metadata.generation == victim.metadata.generation);

        rights_end_with_their_reason(&provider, &north, &home).await
    })
}

/// Names of the cluster-wide rights of consumers.
async fn cluster_roles(provider: &Provider) -> Result<Vec<String>> {
    let params = ListParams::default().labels("backend.kube-bind.io/component=access");
    let mut names = Vec::new();
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        let all = api(
            provider.plane.client(),
            ("rbac.authorization.k8s.io", "v1", kind),
            "",
        );
        names.extend(
            all.list(&params)
                .await?
                .items
                .iter()
                .map(ResourceExt::name_any),
        );
    }
    names.dedup();
    Ok(names)
}

/// Everything that a consumer could try with its credential.
async fn nobody_writes_for_others(
    client: Client,
    home: &str,
    victims_home: &str,
    victim: &DynamicObject,
) -> Result<()> {
    let all: Api<DynamicObject> = api(client, ("example.org", "v1", "Tenant"), "");
    let name = victim.name_any();
    ensure!(all.get(&name).await.is_ok(), "reading is what was allowed");
    let forged = |name: &str, marker: &str, extra: Value| {
        let mut object = TENANTS.object(name);
        object["metadata"]["annotations"] = json!({
            names::ANNOTATION_CLUSTER_NAMESPACE: marker, names::ANNOTATION_CONSUMER_UID: "u",
        });
        for (key, value) in extra.as_object().into_iter().flatten() {
            object["metadata"][key] = value.clone();
        }
        object
    };
    let owner = |kind: &str, name: &str, block: bool| {
        json!({"ownerReferences": [{
            "apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "blockOwnerDeletion": block,
        }]})
    };
    let own_name = format!("{home}-own");
    let creations = [
        ("without a mark", TENANTS.object(&own_name)),
        (
            "with another's mark",
            forged(&own_name, victims_home, json!({})),
        ),
        (
            "under another's name",
            forged(&format!("{victims_home}-new"), home, json!({})),
        ),
        ("under a free name", forged("free", home, json!({}))),
        ("generated under a free name", {
            let mut object = forged("x", home, json!({"generateName": "free-"}));
            object["metadata"]["name"] = Value::Null;
            object
        }),
        (
            "owned by another's namespace",
            forged(&own_name, home, owner("Namespace", victims_home, false)),
        ),
        (
            "owned by a node",
            forged(&own_name, home, owner("Node", home, false)),
        ),
        (
            "blocking its owner",
            forged(&own_name, home, owner("Namespace", home, true)),
        ),
    ];
    for (what, object) in creations {
        let object: DynamicObject = serde_json::from_value(object)?;
        refused(what, all.create(&PostParams::default(), &object).await)?;
    }
    let forge = json!({"metadata": {"annotations": {names::ANNOTATION_CLUSTER_NAMESPACE: home}}});
    for (what, patch) in [
        ("a change", json!({"spec": {"size": 66}})),
        ("a change that forges the mark", forge),
    ] {
        let answer = all
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        refused(what, answer)?;
    }
    let status = json!({"status": {"phase": "Broken"}});
    let answer = all
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
        .await;
    refused("a status", answer)?;
    refused(
        "a deletion",
        all.delete(&name, &DeleteParams::default()).await,
    )?;
    let (how, which) = (DeleteParams::default(), ListParams::default());
    refused(
        "a deletion of all",
        all.delete_collection(&how, &which).await,
    )?;
    // The same rules let through what is its own.
    let own: DynamicObject = serde_json::from_value(forged(&own_name, home, json!({})))?;
    let made = all.create(&PostParams::default(), &own).await;
    made.context("its own object is refused")?;
    let forge =
        json!({"metadata": {"annotations": {names::ANNOTATION_CLUSTER_NAMESPACE: victims_home}}});
    let answer = all
        .patch(&own_name, &PatchParams::default(), &Patch::Merge(&forge))
        .await;
    refused("a gift", answer)
}

fn refused<T: std::fmt::Debug>(what: &str, answer: kube::Result<T>) -> Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        other => anyhow::bail!("{what} was not refused: {other:?}"),
    }
}

/// With the export, and with the consumer.
async fn rights_end_with_their_reason(
    provider: &Provider,
    north: &Consumer,
    south_home: &str,
) -> Result<()> {
    let (_, north_home) = as_consumer(&north.plane).await?;
    north.stop_konnector().await?;
    let exports = ours(&provider.plane, "APIServiceExport", &north_home);
    exports.delete("tenants", &DeleteParams::default()).await?;
    wait_for("the rights of the export to end", || async {
        let left = cluster_roles(provider).await?;
        ensure!(
            left == [format!("kube-binder-{south_home}")],
            "there are {left:?}"
        );
        anyhow::Ok(())
    })
    .await?;
    let connections = ours(&provider.plane, "ClusterBinding", south_home);
    connections
        .delete(names::CLUSTER_BINDING_NAME, &DeleteParams::default())
        .await?;
    wait_gone(&connections, names::CLUSTER_BINDING_NAME).await?;
    let left = cluster_roles(provider).await?;
    ensure!(left.is_empty(), "there are {left:?}");
    Ok(())
}
