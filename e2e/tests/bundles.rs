//! A consumer that never saw the plugin: rights, a Secret and a bundle are applied as YAML, and
//! everything that the provider exports is bound, synced, accepted or kept as it should be. The
//! provider is as the original's backend leaves it.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube_bind_e2e::bindings::{bindings, ours};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::manifests::{apply, credential, konnector, user_of};
use kube_bind_e2e::objects::{
    condition, create, create_namespace, wait_event, wait_gone, wait_until,
};
use kube_bind_e2e::original::OriginalProvider;
use kube_bind_e2e::widgets::{self, widget, widgets};
use kube_bind_e2e::{run, wait_for};
use regex::Regex;
use serde_json::json;

const BUNDLE: &str = "company";

async fn wait_condition(
    api: &Api<DynamicObject>,
    name: &str,
    type_: &str,
    expected: (&str, &str),
) -> Result<String> {
    let what = format!("{type_} {expected:?}");
    let object = wait_until(api, name, &what, |object| {
        condition(object, type_).is_some_and(|(status, reason, _)| (&*status, &*reason) == expected)
    })
    .await?;
    Ok(condition(&object, type_).unwrap_or_default().2)
}

async fn export(provider: &OriginalProvider, plural: &str, kind: &str) -> Result<()> {
    provider.export(&widgets::crd(plural, kind, true)).await
}

async fn names(bindings: &Api<DynamicObject>) -> Result<Vec<String>> {
    let all = bindings.list(&ListParams::default()).await?;
    Ok(all.iter().map(ResourceExt::name_any).collect())
}

#[test]
fn applied_yaml_is_enough_and_no_list_takes_a_binding_away_by_mistake() -> Result<()> {
    run(async {
        let (provider, consumer) =
            tokio::try_join!(OriginalProvider::start(), Consumer::start("consumer"))?;
        export(&provider, "widgets", "Widget").await?;
        apply(&consumer, &konnector()).await?;
        let polling = ["--provider-polling-interval", "2s"];
        consumer.keep_konnector(consumer.launch_konnector()?.args(polling))?;
        let (bundles, bindings) = (
            ours(&consumer.plane, "APIServiceBindingBundle", ""),
            bindings(&consumer.plane),
        );
        // Before the Secret: the order of applied files is nobody's business.
        wait_for("the konnector's CRDs", || names(&bundles)).await?;
        let manual = json!({"kube-bind.io/acceptance": "Manual"});
        let bundle = user_of("APIServiceBindingBundle", BUNDLE, "company", &manual);
        apply(&consumer, std::slice::from_ref(&bundle)).await?;
        let secret_valid = ("False", "KubeconfigSecretNotFound");
        wait_condition(&bundles, BUNDLE, "SecretValid", secret_valid).await?;
        let credential = credential("company", provider.kubeconfig());
        apply(&consumer, std::slice::from_ref(&credential)).await?;
        wait_condition(&bundles, BUNDLE, "Ready", ("True", "")).await?;

        a_missing_right_is_named_and_enough(&provider, &consumer, &bindings).await?;
        what_is_new_waits(&provider, &consumer, &bundles, &bindings).await?;
        a_taken_name_is_left_alone(&provider, &consumer, &bundles, &bindings).await?;
        a_withdrawn_export_unbinds(&provider, &bindings).await?;
        an_empty_list_unbinds_nothing(&provider, &bundles, &bindings).await?;

        // The end of a bundle is the end of its bindings, and of everything that they brought.
        export(&provider, "widgets", "Widget").await?;
        bundles.delete(BUNDLE, &DeleteParams::default()).await?;
        wait_gone(&bindings, "widgets").await?;
        ensure!(names(&bindings).await? == ["sprockets"]);
        consumer.konnector()?.check_running()
    })
}

/// The manifest that the konnector shows for the binding, as a person would copy it.
fn role_in(log: &str) -> Option<&str> {
    let (_, shown) = log.split_once("rights are missing for APIServiceBinding widgets;")?;
    let (_, manifest) = shown.split_once("-f -\n")?;
    let (manifest, _) = manifest.split_once(" binding.name=")?;
    Some(manifest)
}

/// A binding that a bundle made asks for exactly the rights that the manifest grants.
async fn a_missing_right_is_named_and_enough(
    provider: &OriginalProvider,
    consumer: &Consumer,
    bindings: &Api<DynamicObject>,
) -> Result<()> {
    let missing = wait_until(bindings, "widgets", "a missing right", |binding| {
        condition(binding, "Ready").is_some_and(|(.., message)| message.contains("lacks"))
    })
    .await?;
    let owner = missing.owner_references();
    ensure!(owner.len() == 1 && owner[0].kind == "APIServiceBindingBundle");
    ensure!(owner[0].controller == Some(true) && owner[0].name == BUNDLE);
    ensure!(missing.annotations()["kube-bind.io/acceptance"] == "Manual");
    let manifest = wait_for("the role in the log", || async {
        let log = consumer.konnector()?.log();
        role_in(&log).map(str::to_owned).context("it is not there")
    })
    .await?;
    let args = ["apply", "--server-side", "-f", "-"];
    consumer.plane.kubectl_with_input(&args, &manifest).await?;
    wait_condition(bindings, "widgets", "Ready", ("True", "")).await?;
    wait_condition(bindings, "widgets", "Heartbeating", ("True", "")).await?;
    create_namespace(&consumer.plane, "shop").await?;
    let service = provider.serve("shop").await?;
    create(&widgets(&consumer.plane, "shop"), &widget("first", 3)).await?;
    wait_until(
        &widgets(&provider.plane, &service),
        "first",
        "synced",
        |copy| copy.data["spec"]["size"] == 3,
    )
    .await?;
    Ok(())
}

/// A new export waits until a person says so, in the words of the condition.
async fn what_is_new_waits(
    provider: &OriginalProvider,
    consumer: &Consumer,
    bundles: &Api<DynamicObject>,
    bindings: &Api<DynamicObject>,
) -> Result<()> {
    for (plural, kind) in [("gadgets", "Gadget"), ("gizmos", "Gizmo")] {
        export(provider, plural, kind).await?;
    }
    let message = wait_for("both exports to be shown", || async {
        let message =
            wait_condition(bundles, BUNDLE, "Synced", ("True", "AcceptancePending")).await?;
        let both =
            message.contains("gadgets.example.org") && message.contains("gizmos.example.org");
        if both {
            Ok(message)
        } else {
            Err(anyhow::anyhow!(message))
        }
    })
    .await?;
    wait_event(&consumer.plane, "default", BUNDLE, "AcceptancePending").await?;
    ensure!(
        names(bindings).await? == ["widgets"],
        "nothing is bound yet"
    );
    let command = Regex::new(r"kubectl (annotate apiservicebindingbundle \S+ \S+ --overwrite)")?;
    let command = command.captures(&message).context("no command")?;
    let args: Vec<&str> = command[1].split(' ').collect();
    consumer.plane.kubectl(&args).await?;
    wait_condition(bundles, BUNDLE, "Synced", ("True", "")).await?;
    ensure!(names(bindings).await? == ["gadgets", "gizmos", "widgets"]);
    wait_until(bundles, BUNDLE, "without the acceptance", |bundle| {
        !bundle.annotations().contains_key("kube-bind.io/accept")
    })
    .await?;
    Ok(())
}

/// A binding that somebody else made is not touched, and it is said.
async fn a_taken_name_is_left_alone(
    provider: &OriginalProvider,
    consumer: &Consumer,
    bundles: &Api<DynamicObject>,
    bindings: &Api<DynamicObject>,
) -> Result<()> {
    let theirs = user_of("APIServiceBinding", "sprockets", "another", &json!({}));
    apply(consumer, &[theirs]).await?;
    export(provider, "sprockets", "Sprocket").await?;
    let message = wait_condition(bundles, BUNDLE, "Synced", ("False", "SyncErrors")).await?;
    ensure!(message.contains("sprockets"), "{message}");
    let theirs = bindings.get("sprockets").await?;
    ensure!(theirs.owner_references().is_empty());
    ensure!(theirs.data["spec"]["kubeconfigSecretRef"]["name"] == "another");
    provider.withdraw("sprockets").await?;
    wait_condition(bundles, BUNDLE, "Synced", ("True", "")).await?;
    Ok(())
}

async fn a_withdrawn_export_unbinds(
    provider: &OriginalProvider,
    bindings: &Api<DynamicObject>,
) -> Result<()> {
    provider.withdraw("gizmos").await?;
    wait_gone(bindings, "gizmos").await?;
    ensure!(names(bindings).await? == ["gadgets", "sprockets", "widgets"]);
    Ok(())
}

/// A provider that lost its exports takes nothing away.
async fn an_empty_list_unbinds_nothing(
    provider: &OriginalProvider,
    bundles: &Api<DynamicObject>,
    bindings: &Api<DynamicObject>,
) -> Result<()> {
    provider.withdraw("--all").await?;
    let message = wait_condition(bundles, BUNDLE, "Synced", ("False", "RemovalsHeld")).await?;
    ensure!(message.contains("gadgets, widgets"), "{message}");
    let uid = |object: &DynamicObject| object.uid();
    let before = uid(&bindings.get("widgets").await?);
    // It stays that way for longer than the wait: a binding that really goes would be gone by then.
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(6);
    wait_for("the wait to be over", || async {
        ensure!(names(bindings).await? == ["gadgets", "sprockets", "widgets"]);
        ensure!(tokio::time::Instant::now() > end, "not yet");
        Ok(())
    })
    .await?;
    let widgets = bindings.get("widgets").await?;
    ensure!(uid(&widgets) == before && widgets.metadata.deletion_timestamp.is_none());
    Ok(())
}
