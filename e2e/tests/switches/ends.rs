//! What an export, a credential or a binding has no more.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use kube_bind_crds::names::{KEY_PREFIX, KONNECTOR_NAMESPACE, KUBECONFIG_KEY};
use kube_bind_crds::switches::{ACCEPT, DELETION_POLICY};
use kube_bind_e2e::bindings::{bindings, definitions, merge, ours, renew_export, says, switch};
use kube_bind_e2e::claims::{self, labelled, wait_copy};
use kube_bind_e2e::objects::{
    create, provider_credential, secrets, wait_event, wait_gone, wait_until,
};
use kube_bind_e2e::wait_for;
use kube_bind_e2e::widgets::{self, TEMPLATE, offer_all};
use serde_json::json;

use crate::{GEARS, Scene, named, size};

/// Its objects and copies stay, the other kind goes on, and the binding can still end.
pub async fn a_kind_that_the_export_drops(scene: &Scene) -> Result<()> {
    let (consumer, provider) = (&scene.consumer.plane, &scene.provider.plane);
    let mut template = widgets::template("parts", "bolts");
    let resource =
        |plural: &str| json!({"group": "example.org", "resource": plural, "versions": ["v1"]});
    template["spec"]["resources"] = json!([resource("bolts"), resource("nuts")]);
    let offers = [
        widgets::crd("bolts", "Bolt", true),
        widgets::crd("nuts", "Nut", true),
        template,
    ];
    offer_all(&scene.provider, &offers).await?;
    let url = scene.provider.url();
    let bind = [
        "bind",
        &url,
        "--template-name",
        "parts",
        "--name",
        "parts",
        "--yes",
    ];
    scene.consumer.run_plugin(&bind).await?.success()?;
    let (bolts, nuts) = (scene.both("Bolt"), scene.both("Nut"));
    let names = named("p", 3);
    bolts.fill("Bolt", &names).await?;
    nuts.fill("Nut", &names).await?;
    let before = (
        crate::uids(&nuts.mine).await?,
        crate::uids(&nuts.copies).await?,
    );

    let exports = ours(provider, "APIServiceExport", &scene.home);
    renew_export(&exports, "parts", |spec| {
        let resources = spec["resources"].as_array_mut();
        resources
            .into_iter()
            .for_each(|all| all.retain(|r| r["resource"] != "nuts"));
    })
    .await?;
    let withdrawn = ("False", "ResourceWithdrawn");
    let message = says(consumer, "parts", "SchemaInSync", withdrawn).await?;
    ensure!(message.contains("nuts.example.org"), "{message}");
    merge(&bolts.mine, "p-0", size(5)).await?;
    wait_until(&bolts.copies, "p-0", "the change", |copy| {
        copy.data["spec"]["size"] == 5
    })
    .await?;
    let after = (
        crate::uids(&nuts.mine).await?,
        crate::uids(&nuts.copies).await?,
    );
    ensure!(before == after, "{before:?} is now {after:?}");

    bindings(consumer)
        .delete("parts", &DeleteParams::default())
        .await?;
    wait_gone(&bindings(consumer), "parts").await?;
    ensure!(
        crate::uids(&bolts.copies).await?.is_empty(),
        "bolts are left"
    );
    for crd in ["bolts.example.org", "nuts.example.org"] {
        ensure!(definitions(consumer).get_opt(crd).await?.is_none(), "{crd}");
    }
    Ok(())
}

/// A running konnector restores it from the provider's; one that starts without it says so, and goes on
/// without a restart when it is back.
pub async fn a_credential_that_is_gone_for_a_while(scene: &Scene) -> Result<()> {
    let consumer = &scene.consumer.plane;
    let widgets = scene.both("Widget");
    let secret = provider_credential(consumer).await?;
    let name = secret.name_any();
    let all = secrets(consumer, KONNECTOR_NAMESPACE);
    all.delete(&name, &DeleteParams::default()).await?;
    let restored = wait_for("the credential to be restored", || async {
        let found = all.get(&name).await?;
        ensure!(found.metadata.uid != secret.metadata.uid, "not yet");
        anyhow::Ok(found)
    })
    .await?;
    ensure!(restored.data == secret.data && restored.labels() == secret.labels());

    scene.consumer.stop_konnector().await?;
    all.delete(&name, &DeleteParams::default()).await?;
    let konnector = scene.consumer.start_konnector()?;
    let missing = ("False", "KubeconfigSecretNotFound");
    says(consumer, TEMPLATE, "SecretValid", missing).await?;
    says(consumer, TEMPLATE, "Ready", ("False", "*")).await?;
    merge(&widgets.mine, "changed", size(11)).await?;
    let mut again = restored.clone();
    again.metadata = Default::default();
    again.metadata.name = Some(name);
    again.metadata.labels = Some(restored.labels().clone());
    again.metadata.annotations = Some(restored.annotations().clone());
    all.create(&PostParams::default(), &again).await?;
    scene.ready(TEMPLATE).await?;
    wait_until(&widgets.copies, "changed", "the change", |copy| {
        copy.data["spec"]["size"] == 11
    })
    .await?;
    konnector.check_running()
}

/// A credential that leads elsewhere is not used before a person accepts the address.
pub async fn an_address_that_is_not_accepted_yet(scene: &Scene) -> Result<()> {
    let consumer = &scene.consumer.plane;
    let kubeconfig = || async {
        let secret = provider_credential(consumer).await?;
        let data = secret.data.unwrap_or_default();
        let bytes = data.get(KUBECONFIG_KEY).context("no kubeconfig")?;
        anyhow::Ok(String::from_utf8(bytes.0.clone())?)
    };
    let old = scene.provider.plane.server();
    let new = old.replace("127.0.0.1", "localhost");
    scene.provider.advertise(&new);
    scene.provider.restart_backend(&[]).await?;
    // Every binding that uses the credential has to accept, with the command that its message shows.
    for binding in [GEARS, TEMPLATE] {
        let pending = ("True", "AcceptancePending");
        let message = says(consumer, binding, "Connected", pending).await?;
        ensure!(message.contains(&new), "{message}");
        wait_event(consumer, "default", binding, "AcceptancePending").await?;
        ensure!(kubeconfig().await?.contains(old), "it was used unasked");
        let argument = message
            .split_whitespace()
            .find(|word| word.starts_with(ACCEPT));
        let argument = argument.context("the message shows no command")?;
        let kind = "apiservicebinding";
        let command = ["annotate", kind, binding, argument, "--overwrite"];
        consumer.kubectl(&command).await?;
    }
    wait_for("the new address to be used", || async {
        let text = kubeconfig().await?;
        ensure!(text.contains(&new) && !text.contains(old), "not yet");
        anyhow::Ok(())
    })
    .await?;
    says(consumer, TEMPLATE, "Connected", ("True", "")).await?;
    let widgets = scene.both("Widget");
    merge(&widgets.mine, "changed", size(13)).await?;
    wait_until(&widgets.copies, "changed", "the change", |copy| {
        copy.data["spec"]["size"] == 13
    })
    .await?;
    Ok(())
}

/// Secrets that were claimed stay on both sides and belong to nobody.
pub async fn orphans_with_a_claimed_secret(scene: &Scene) -> Result<()> {
    let consumer = &scene.consumer.plane;
    let (widgets, secrets) = (scene.both("Widget"), scene.both("Secret"));
    let secret = |name: &str, content: &str| labelled(claims::object("Secret", name, content));
    create(&secrets.mine, &secret("kept-own", "mine")).await?;
    create(&secrets.copies, &secret("kept-lent", "theirs")).await?;
    wait_copy(&secrets.copies, "kept-own", "mine", "consumer").await?;
    wait_copy(&secrets.mine, "kept-lent", "theirs", "provider").await?;
    let before = [
        crate::uids(&widgets.mine).await?,
        crate::uids(&widgets.copies).await?,
        crate::uids(&secrets.mine).await?,
        crate::uids(&secrets.copies).await?,
    ];
    switch(consumer, TEMPLATE, (DELETION_POLICY, Some("Orphan"))).await?;
    bindings(consumer)
        .delete(TEMPLATE, &DeleteParams::default())
        .await?;
    wait_gone(&bindings(consumer), TEMPLATE).await?;
    let all = [
        &widgets.mine,
        &widgets.copies,
        &secrets.mine,
        &secrets.copies,
    ];
    for (api, before) in all.into_iter().zip(before) {
        ensure!(crate::uids(api).await? == before, "something went or came");
        for name in before.keys() {
            let object = api.get(name).await?;
            let ours = |key: &&String| key.starts_with(KEY_PREFIX);
            let keys = object.annotations().keys().chain(object.labels().keys());
            let marks: Vec<_> = keys.filter(ours).cloned().collect();
            ensure!(marks.is_empty(), "{name} keeps {marks:?}");
            ensure!(object.finalizers().is_empty(), "{:?}", object.finalizers());
        }
    }
    Ok(())
}
