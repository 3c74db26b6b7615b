//! One consumer bound to two providers that try to be taken for each other: their offerings have one
//! name, and the second also has an export named like the binding to the first. What belongs to one
//! never reaches the other, and the end of one is not the end of the other.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::{bindings, merge, merge_status, ours, says};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    api, condition, create, create_namespace, secrets, service_namespace, wait_event, wait_gone,
    wait_until,
};
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::widgets::{self, TEMPLATE, widgets};
use kube_bind_e2e::{ControlPlane, eventually, run, wait_for};
use serde_json::{Value, json};

/// The binding to the second provider.
const GADGETS: &str = "gadgets";

fn gadgets(plane: &ControlPlane, namespace: &str) -> Api<DynamicObject> {
    api(plane.client(), ("example.org", "v1", "Gadget"), namespace)
}

/// The kind, whose objects name a Secret.
fn crd(plural: &str, kind: &str) -> Value {
    let mut crd = widgets::crd(plural, kind, true);
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["secretName"] =
        json!({"type": "string"});
    crd
}

/// An offering that claims the Secrets.
fn template(name: &str, plural: &str) -> Value {
    let mut template = widgets::template(name, plural);
    template["spec"]["permissionClaims"] = claims(plural);
    template
}

fn claims(plural: &str) -> Value {
    json!([{
        "group": "",
        "resource": "secrets",
        "selector": {"references": [{
            "group": "example.org",
            "resource": plural,
            "versions": ["v1"],
            "jsonPath": {"name": "spec.secretName"},
        }]},
    }])
}

fn object(kind: &str, name: &str, secret: &str) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": name}, "spec": {"secretName": secret}})
}

/// What the operator of a provider would make.
async fn make_secret(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    content: &str,
) -> Result<()> {
    let secret = serde_json::from_value(
        json!({"metadata": {"name": name}, "stringData": {"made-by": content}}),
    )?;
    secrets(plane, namespace)
        .create(&PostParams::default(), &secret)
        .await
        .with_context(|| format!("failed to create {namespace}/{name}"))?;
    Ok(())
}

fn made_by(secret: &Secret, whom: &str) -> bool {
    let content = secret.data.as_ref().and_then(|data| data.get("made-by"));
    content.is_some_and(|content| content.0 == whom.as_bytes())
}

/// The Secret that a binding names, and the namespace of the provider that it leads to.
async fn connection(consumer: &Consumer, binding: &str) -> Result<(String, String)> {
    let binding = bindings(&consumer.plane).get(binding).await?;
    let name = binding.data["spec"]["kubeconfigSecretRef"]["name"]
        .as_str()
        .context("the binding names no Secret")?
        .to_owned();
    let secret = secrets(&consumer.plane, names::KONNECTOR_NAMESPACE)
        .get(&name)
        .await?;
    let data = secret.data.unwrap_or_default();
    let document = &data
        .get(names::KUBECONFIG_KEY)
        .context("the Secret has no kubeconfig")?
        .0;
    let kubeconfig: Value =
        serde_saphyr::from_slice(document).context("the kubeconfig is not YAML")?;
    let namespace = kubeconfig["contexts"][0]["context"]["namespace"].as_str();
    Ok((
        name,
        namespace
            .context("the kubeconfig names no namespace")?
            .to_owned(),
    ))
}

/// The second provider also exports what the first one does, under the name of the binding to the
/// first one, and its consumer's credential has all rights for it.
async fn lure(second: &Provider, cluster_namespace: &str) -> Result<()> {
    let export = json!({
        "apiVersion": "kube-bind.io/v1alpha2",
        "kind": "APIServiceExport",
        "metadata": {"name": TEMPLATE},
        "spec": {
            "informerScope": "Namespaced",
            "isolation": "Prefixed",
            "resources": [{"group": "example.org", "resource": "widgets", "versions": ["v1"]}],
            "permissionClaims": claims("widgets"),
        },
    });
    let exports = ours(&second.plane, "APIServiceExport", cluster_namespace);
    create(&exports, &export).await?;
    wait_until(&exports, TEMPLATE, "in sync", |export| {
        condition(export, "ProviderInSync").is_some_and(|(status, ..)| status == "True")
    })
    .await?;
    Ok(())
}

/// An object with a Secret from its provider, all the way there and back.
async fn serve(
    consumer: &Consumer,
    (plane, service): (&ControlPlane, &str),
    kind: &str,
    name: &str,
) -> Result<()> {
    let side = |plane, namespace| match kind {
        "Widget" => widgets(plane, namespace),
        _ => gadgets(plane, namespace),
    };
    let (mine, copies) = (side(&consumer.plane, "shop"), side(plane, service));
    let secret = format!("{name}-secret");
    create(&mine, &object(kind, name, &secret)).await?;
    wait_until(&copies, name, "at its provider", |_| true).await?;
    make_secret(plane, service, &secret, kind).await?;
    let status = json!({"status": {"phase": kind}});
    merge_status(&copies, name, status).await?;
    wait_until(&mine, name, "its provider's status", |object| {
        object.data["status"]["phase"] == kind
    })
    .await?;
    let arrived = secrets(&consumer.plane, "shop");
    wait_until(&arrived, &secret, "its provider's Secret", |secret| {
        made_by(secret, kind)
    })
    .await?;
    Ok(())
}

#[test]
fn two_providers_with_one_export_name_never_see_each_others_objects() -> Result<()> {
    run(async {
        let options = || ProviderOptions {
            without_operator: true,
            ..ProviderOptions::default()
        };
        let (first, second, consumer) = tokio::try_join!(
            Provider::start(options()),
            Provider::start(options()),
            Consumer::start("consumer")
        )?;
        let established = ["wait", "--for=condition=Established", "--timeout=60s"];
        first
            .apply(&[crd("widgets", "Widget"), template(TEMPLATE, "widgets")])
            .await?;
        second
            .apply(&[
                crd("gadgets", "Gadget"),
                crd("widgets", "Widget"),
                template(TEMPLATE, "gadgets"),
            ])
            .await?;
        for provider in [&first, &second] {
            let args = [&established[..], &["crd/widgets.example.org"]].concat();
            provider.plane.kubectl(&args).await?;
        }
        for (provider, name) in [(&first, TEMPLATE), (&second, GADGETS)] {
            let args = ["--template-name", TEMPLATE, "--name", name];
            consumer
                .bind_reporting(&provider.url(), &provider.alice, &args, |_| {})
                .await?
                .success()?;
        }
        let (credential, first_home) = connection(&consumer, TEMPLATE).await?;
        let (second_credential, second_home) = connection(&consumer, GADGETS).await?;
        lure(&second, &second_home).await?;

        create_namespace(&consumer.plane, "shop").await?;
        // One of each makes the mappings.
        create(
            &widgets(&consumer.plane, "shop"),
            &object("Widget", "seed", "seed-secret"),
        )
        .await?;
        create(
            &gadgets(&consumer.plane, "shop"),
            &object("Gadget", "seed", "no-such"),
        )
        .await?;
        let first_service = service_namespace(&first.plane, &first_home, "shop").await?;
        let second_service = service_namespace(&second.plane, &second_home, "shop").await?;
        let at_first = (&*first.plane, first_service.as_str());
        let at_second = (&*second.plane, second_service.as_str());
        serve(&consumer, at_first, "Widget", "w").await?;
        serve(&consumer, at_second, "Gadget", "g").await?;

        // The second one offers Secrets that only the first one's objects refer to, and one that its
        // own object refers to as well.
        let (mine, copied) = (
            gadgets(&consumer.plane, "shop"),
            secrets(&consumer.plane, "shop"),
        );
        make_secret(&second.plane, &second_service, "seed-secret", "thief").await?;
        make_secret(&second.plane, &second_service, "w-secret", "thief").await?;
        create(&mine, &object("Gadget", "thief", "w-secret")).await?;
        wait_event(&consumer.plane, "shop", "thief", "ClaimConflict").await?;
        ensure!(made_by(&copied.get("w-secret").await?, "Widget"));
        mine.delete("thief", &DeleteParams::default()).await?;
        wait_gone(&mine, "thief").await?;
        ensure!(made_by(&copied.get("w-secret").await?, "Widget"));
        serve(&consumer, at_second, "Gadget", "later").await?;
        ensure!(copied.get_opt("seed-secret").await?.is_none());
        never_crossed(&first, &second, (&first_service, &second_service)).await?;

        let credentials = [credential.as_str(), &second_credential];
        another_providers_credential_is_not_used(&consumer, credentials, at_first).await?;
        never_crossed(&first, &second, (&first_service, &second_service)).await?;

        // The end of one.
        let bindings = bindings(&consumer.plane);
        bindings.delete(TEMPLATE, &DeleteParams::default()).await?;
        wait_gone(&bindings, TEMPLATE).await?;
        wait_gone(&copied, "w-secret").await?;
        ensure!(
            widgets(&first.plane, &first_service)
                .list(&ListParams::default())
                .await?
                .items
                .is_empty()
        );
        serve(&consumer, at_second, "Gadget", "after").await?;
        for (name, whom) in [("g-secret", "Gadget"), ("later-secret", "Gadget")] {
            ensure!(made_by(&copied.get(name).await?, whom), "{name} was lost");
        }
        nothing_runs_without_binding_and_secret(&first, &consumer, &credential).await?;
        serve(&consumer, at_second, "Gadget", "last").await?;
        let binding = bindings.get(GADGETS).await?;
        ensure!(
            condition(&binding, "Ready").is_some_and(|(status, ..)| status == "True"),
            "{}",
            binding.data["status"]
        );
        consumer.konnector()?.check_running()
    })
}

/// The credential of the first provider becomes that of the second: nothing moves, also after a restart,
/// and the right one brings all back without another.
async fn another_providers_credential_is_not_used(
    consumer: &Consumer,
    [own, other]: [&str; 2],
    (plane, service): (&ControlPlane, &str),
) -> Result<()> {
    let all = secrets(&consumer.plane, names::KONNECTOR_NAMESPACE);
    let (right, wrong) = (all.get(own).await?.data, all.get(other).await?.data);
    let put = async |data: &Option<_>| {
        let patch = Patch::Merge(json!({"data": data}));
        let put = all.patch(own, &PatchParams::default(), &patch).await;
        put.map(|_| ())
            .context("failed to change the kubeconfig secret")
    };
    // The right provider is still there, and renews its credential.
    wait_for("the wrong credential to be told", || async {
        put(&wrong).await?;
        let binding = bindings(&consumer.plane).get(TEMPLATE).await?;
        let told = condition(&binding, "SecretValid");
        let told = told.is_some_and(|(_, reason, _)| reason == "OtherProvider");
        ensure!(told, "its status is {}", binding.data["status"]);
        anyhow::Ok(())
    })
    .await?;
    consumer.kill_konnector()?;
    put(&wrong).await?;
    consumer.start_konnector()?;
    let mine = widgets(&consumer.plane, "shop");
    merge(
        &mine,
        "w",
        json!({"spec": {"secretName": "w-secret", "size": 9}}),
    )
    .await?;
    consumer.wait_konnector_ready().await?;
    serve_other(consumer).await?;
    let other_provider = ("False", "OtherProvider");
    says(&consumer.plane, TEMPLATE, "SecretValid", other_provider).await?;
    says(&consumer.plane, TEMPLATE, "Ready", ("False", "*")).await?;
    let copies = widgets(plane, service);
    let held = copies.get("w").await?;
    ensure!(held.data["spec"]["size"] != 9, "{}", held.data["spec"]);

    put(&right).await?;
    says(&consumer.plane, TEMPLATE, "Ready", ("True", "*")).await?;
    let copy = wait_until(&copies, "w", "the change", |copy| {
        copy.data["spec"]["size"] == 9
    })
    .await?;
    ensure!(copy.metadata.uid == held.metadata.uid, "it was made anew");
    Ok(())
}

/// The konnector has looked at all: the binding to the other provider is ready.
async fn serve_other(consumer: &Consumer) -> Result<()> {
    let mine = gadgets(&consumer.plane, "shop");
    create(&mine, &object("Gadget", "meanwhile", "no-such")).await?;
    wait_until(&mine, "meanwhile", "taken up", |object| {
        object
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|all| all.contains_key("kube-bind.io/provider-uid"))
    })
    .await?;
    Ok(())
}

async fn never_crossed(
    first: &Provider,
    second: &Provider,
    (first_service, second_service): (&str, &str),
) -> Result<()> {
    let lured = widgets(&second.plane, "")
        .list(&ListParams::default())
        .await?;
    ensure!(
        lured.items.is_empty(),
        "objects of the first provider reached the second"
    );
    let names_in = async |plane: &ControlPlane, namespace: &str| {
        let found = secrets(plane, namespace)
            .list(&ListParams::default())
            .await?;
        let names = found
            .items
            .into_iter()
            .filter_map(|secret| secret.metadata.name);
        anyhow::Ok(names.collect::<Vec<_>>())
    };
    ensure!(names_in(&first.plane, first_service).await? == ["w-secret"]);
    let theirs = secrets(&second.plane, second_service)
        .get("w-secret")
        .await?;
    ensure!(made_by(&theirs, "thief"), "{:?}", theirs.metadata);
    ensure!(
        names_in(&second.plane, second_service).await?
            == ["g-secret", "later-secret", "seed-secret", "w-secret"]
    );
    Ok(())
}

/// The watches of a provider end with the last Secret that leads to it, and nothing is asked there
/// any more.
async fn nothing_runs_without_binding_and_secret(
    provider: &Provider,
    consumer: &Consumer,
    credential: &str,
) -> Result<()> {
    let audit = provider.plane.audit();
    let since = audit.mark()?;
    let of_konnector = |since| {
        let mut requests = audit.since(since)?;
        requests.retain(|request| request.user_agent.contains("konnector"));
        anyhow::Ok(requests)
    };
    secrets(&consumer.plane, names::KONNECTOR_NAMESPACE)
        .delete(credential, &DeleteParams::default())
        .await?;
    for resource in [
        "apiserviceexports",
        "boundschemas",
        "apiservicenamespaces",
        "secrets",
    ] {
        eventually(&format!("the end of the watch of {resource}"), || async {
            of_konnector(since).is_ok_and(|requests| {
                requests
                    .iter()
                    .any(|request| request.verb == "watch" && request.resource == resource)
            })
        })
        .await?;
    }
    let since = audit.mark()?;
    create_namespace(&consumer.plane, "elsewhere").await?;
    create(
        &gadgets(&consumer.plane, "elsewhere"),
        &object("Gadget", "probe", "no-such"),
    )
    .await?;
    let probe = gadgets(&consumer.plane, "elsewhere");
    wait_until(&probe, "probe", "synced", |object| {
        let annotations = object.metadata.annotations.as_ref();
        annotations.is_some_and(|all| all.contains_key(names::ANNOTATION_PROVIDER_UID))
    })
    .await?;
    let mut asked = of_konnector(since)?;
    // Entries of watches are written when they end.
    asked.retain(|request| request.verb != "watch");
    ensure!(asked.is_empty(), "{asked:#?}");
    Ok(())
}
