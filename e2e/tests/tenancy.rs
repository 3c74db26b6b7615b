//! What a consumer may not do with the credential that it was given, and how a provider ends one.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use kube_bind_crds::names;
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    api, as_consumer, create, secrets, wait_event, wait_gone, wait_until,
};
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::run;
use kube_bind_e2e::widgets::{self, TEMPLATE};
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
