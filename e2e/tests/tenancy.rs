//! What a consumer may not do with the credential that it was given, and how a provider ends one.

use std::cell::Cell;

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, WatchEvent, WatchParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::{bindings, merge, says};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    api, as_consumer, condition, create, secrets, service_namespace, wait_event, wait_gone,
    wait_until,
};
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::widgets::{self, TEMPLATE};
use kube_bind_e2e::{run, wait_for};
use serde_json::{Value, json};

const VERSION: &str = "v1alpha2";

/// One bind opens one offering, one object stops nobody, and a revocation stands.
#[test]
fn a_consumer_has_what_it_was_given_until_that_is_taken_back() -> Result<()> {
    run(async {
        let options = ProviderOptions {
            without_operator: true,
            ..ProviderOptions::default()
        };
        let (provider, consumer) =
            tokio::try_join!(Provider::start(options), Consumer::start("consumer"))?;
        widgets::offer(&provider).await?;
        provider
            .apply(&[
                widgets::crd("gadgets", "Gadget", true),
                widgets::template("gadgets", "gadgets"),
            ])
            .await?;
        let args = ["--template-name", TEMPLATE];
        consumer
            .bind_reporting(&provider.url(), &provider.alice, &args, |_| {})
            .await?
            .success()?;
        let (client, namespace) = as_consumer(&consumer.plane).await?;

        let requests = api(
            client,
            (names::GROUP, VERSION, "APIServiceExportRequest"),
            &namespace,
        );
        let gadgets = json!({
            "apiVersion": names::API_VERSION, "kind": "APIServiceExportRequest",
            "metadata": {"name": "gadgets"},
            "spec": {"resources": [{"group": "example.org", "resource": "gadgets", "versions": ["v1"]}]},
        });
        create(&requests, &gadgets).await?;
        let refused = wait_until(&requests, "gadgets", "decided", |request| {
            request.data["status"]["phase"] != "Pending"
        })
        .await?;
        ensure!(
            refused.data["status"]["phase"] == "Failed",
            "an offering that was never bound was granted: {}",
            refused.data
        );

        poison(&provider, &namespace, &gadgets["spec"]).await?;
        let mut after = gadgets.clone();
        after["metadata"]["name"] = "after".into();
        create(&requests, &after).await?;
        wait_until(&requests, "after", "decided", |request| {
            request.data["status"]["phase"] == "Failed"
        })
        .await?;

        let own: Api<Secret> = secrets(&provider.plane, &namespace);
        let objects = widgets::widgets(&consumer.plane, "default");
        create(&objects, &widgets::widget("mine", 1)).await?;
        says(&consumer.plane, TEMPLATE, "Ready", ("True", "*")).await?;
        own.delete("kube-binder-token", &DeleteParams::default())
            .await?;
        wait_until(&own, names::KUBECONFIG_SECRET, "withdrawn", |secret| {
            secret
                .data
                .as_ref()
                .is_none_or(std::collections::BTreeMap::is_empty)
        })
        .await?;
        wait_event(
            &provider.plane,
            &namespace,
            names::CLUSTER_BINDING_NAME,
            "CredentialWithdrawn",
        )
        .await?;
        ensure!(
            own.get_opt("kube-binder-token").await?.is_none(),
            "the revoked credential was issued again"
        );
        is_told_until_it_binds_again(&provider, &consumer).await?;

        let connections = api(
            provider.plane.client(),
            (names::GROUP, VERSION, "ClusterBinding"),
            &namespace,
        );
        connections
            .delete(names::CLUSTER_BINDING_NAME, &DeleteParams::default())
            .await?;
        let rights = api(
            provider.plane.client(),
            ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
            &namespace,
        );
        wait_gone(&rights, names::BINDER).await
    })
}

/// The consumer sees what it has lost, nothing says that it is ready, and a bind brings all back.
async fn is_told_until_it_binds_again(provider: &Provider, consumer: &Consumer) -> Result<()> {
    let mine = widgets::widgets(&consumer.plane, "default");
    let all = bindings(&consumer.plane);
    let size = Cell::new(1);
    // An API server knows for some seconds more who a token was, so it takes several changes.
    let expired = wait_for("the expired credential to be told", || async {
        size.set(size.get() + 1);
        merge(&mine, "mine", json!({"spec": {"size": size.get()}})).await?;
        let binding = all.get(TEMPLATE).await?;
        let told = condition(&binding, "SecretValid");
        let told = told
            .is_some_and(|(status, reason, _)| status == "False" && reason == "CredentialExpired");
        ensure!(told, "its status is {}", binding.data["status"]);
        anyhow::Ok(binding)
    })
    .await?;
    let is_true = |binding: &DynamicObject, kind: &str| {
        condition(binding, kind).is_some_and(|(status, ..)| status == "True")
    };
    ensure!(!is_true(&expired, "Ready"), "{}", expired.data["status"]);
    // Also not after a restart, which has only the dead credential.
    consumer.kill_konnector()?;
    consumer.start_konnector()?;
    consumer.wait_konnector_ready().await?;
    merge(&mine, "mine", json!({"spec": {"size": 77}})).await?;

    widgets::bind(provider, consumer, TEMPLATE, &[]).await?;
    says(&consumer.plane, TEMPLATE, "Ready", ("True", "*")).await?;
    let version = expired.resource_version().unwrap_or_default();
    let one = WatchParams::default().fields(&format!("metadata.name={TEMPLATE}"));
    let mut events = std::pin::pin!(all.watch(&one, &version).await?);
    let mut seen = 0;
    while let Some(event) = events.try_next().await? {
        let WatchEvent::Modified(binding) = event else {
            anyhow::bail!("not a change: {event:?}");
        };
        seen += 1;
        let good = is_true(&binding, "SecretValid");
        let ready = is_true(&binding, "Ready");
        ensure!(good || !ready, "{}", binding.data["status"]);
        if ready {
            break;
        }
    }
    ensure!(seen > 0, "no change was seen");
    let (_, home) = as_consumer(&consumer.plane).await?;
    let service = service_namespace(&provider.plane, &home, "default").await?;
    let copies = widgets::widgets(&provider.plane, &service);
    wait_until(&copies, "mine", "the last change", |copy| {
        copy.data["spec"]["size"] == 77
    })
    .await?;
    Ok(())
}

/// Makes an object whose editing history no type can hold.
async fn poison(provider: &Provider, namespace: &str, spec: &Value) -> Result<()> {
    let object = json!({
        "apiVersion": names::API_VERSION, "kind": "APIServiceExportRequest",
        "metadata": {
            "name": "poison", "namespace": namespace,
            "managedFields": [{
                "manager": "far-future", "operation": "Update", "apiVersion": names::API_VERSION,
                "time": "9999-12-31T23:59:59Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {"f:a": {}}}},
            }],
            "annotations": {"a": "b"},
        },
        "spec": spec,
    });
    let plane = &provider.plane;
    plane
        .kubectl_with_input(&["create", "-f", "-"], &object.to_string())
        .await?;
    plane
        .kubectl_with_input(&["replace", "-f", "-"], &object.to_string())
        .await?;
    let args = [
        "get",
        "apiserviceexportrequests.kube-bind.io",
        "poison",
        "-n",
        namespace,
    ];
    let stored = plane
        .kubectl(&[&args[..], &["-o", "json", "--show-managed-fields"]].concat())
        .await
        .context("failed to read the object back")?;
    ensure!(format!("{stored:?}").contains("9999-12-31"), "{stored:?}");
    Ok(())
}
