//! Kinds that change, that have no status subresource, or that the consumer has already: what a
//! running konnector makes of them, against real API servers.

use anyhow::{Result, anyhow, ensure};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube_bind_crds::consumer_rights::binding_rules;
use kube_bind_crds::names;
use kube_bind_e2e::bindings::{bindings, definitions, merge, merge_status, ours};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    api, as_consumer, condition, create, create_namespace, service_namespace, wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::widgets::{self, widget, widgets};
use kube_bind_e2e::{ControlPlane, User, run, wait_for};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

static BOUND: OnceCell<(Provider, Consumer)> = OnceCell::const_new();

async fn bound() -> Result<&'static (Provider, Consumer)> {
    BOUND.get_or_try_init(widgets::bound).await
}

fn object(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("example.org/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// What the plugin would make if it did not look first: an export, all rights, and a binding.
async fn bind_by_hand(provider: &Provider, consumer: &Consumer, plural: &str) -> Result<()> {
    let resource = json!({"group": "example.org", "resource": plural});
    let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
    let export = json!({
        "apiVersion": "kube-bind.io/v1alpha2",
        "kind": "APIServiceExport",
        "metadata": {"name": plural},
        "spec": {"informerScope": "Namespaced", "isolation": "Prefixed", "resources": [&resource]},
    });
    let exports = ours(&provider.plane, "APIServiceExport", &cluster_namespace);
    create(&exports, &export).await?;
    let role = format!("test-{plural}");
    let rules = binding_rules(&[serde_json::from_value(resource)?], &[]);
    let user = User::service_account(names::KONNECTOR_NAMESPACE, "konnector");
    let widgets = bindings(&consumer.plane).get(widgets::TEMPLATE).await?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": role},
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user.name}],
        },
        {
            "apiVersion": "kube-bind.io/v1alpha2",
            "kind": "APIServiceBinding",
            "metadata": {"name": plural},
            "spec": {"kubeconfigSecretRef": widgets.data["spec"]["kubeconfigSecretRef"]},
        },
    ]});
    consumer
        .plane
        .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &list.to_string())
        .await?;
    Ok(())
}

/// Applies a kind and waits until it is served.
async fn serve(plane: &ControlPlane, crd: &Value) -> Result<()> {
    plane
        .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &crd.to_string())
        .await?;
    let name = crd["metadata"]["name"].as_str().unwrap_or_default();
    wait_until(&definitions(plane), name, "established", |crd| {
        condition(crd, "Established").is_some_and(|(status, ..)| status == "True")
    })
    .await?;
    Ok(())
}

/// Offers a kind in all its versions, to follow the provider's, and binds it under its plural.
async fn bind(provider: &Provider, consumer: &Consumer, crd: &Value) -> Result<()> {
    let plural = offer(provider, crd).await?;
    let args = arguments(&provider.url(), &plural);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    consumer.run_plugin(&args).await?.success()?;
    Ok(())
}

async fn offer(provider: &Provider, crd: &Value) -> Result<String> {
    serve(&provider.plane, crd).await?;
    let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
    let mut template = widgets::template(plural, plural);
    template["spec"]["schemaUpdatePolicy"] = "Always".into();
    template["spec"]["resources"] = json!([{"group": "example.org", "resource": plural}]);
    provider.apply(&[template]).await?;
    Ok(plural.to_owned())
}

fn arguments(url: &str, name: &str) -> Vec<String> {
    [
        "bind",
        url,
        "--template-name",
        name,
        "--name",
        name,
        "--yes",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The first object of a namespace: the service namespace that it goes to.
async fn first(
    (provider, consumer): &(Provider, Consumer),
    gvk: (&str, &str, &str),
    namespace: &str,
    object: &Value,
) -> Result<(Api<DynamicObject>, Api<DynamicObject>)> {
    create_namespace(&consumer.plane, namespace).await?;
    let mine = api(consumer.plane.client(), gvk, namespace);
    create(&mine, object).await?;
    let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
    let service = service_namespace(&provider.plane, &cluster_namespace, namespace).await?;
    let copies = api(provider.plane.client(), gvk, &service);
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    wait_until(&copies, name, "at the provider", |_| true).await?;
    Ok((mine, copies))
}

#[test]
fn a_field_that_the_provider_adds_reaches_the_consumer_and_is_synced() -> Result<()> {
    run(async {
        let world @ (provider, consumer) = bound().await?;
        let mut crd = widgets::crd("spanners", "Spanner", true);
        bind(provider, consumer, &crd).await?;
        let konnector = consumer.konnector()?.pid();
        let gvk = ("example.org", "v1", "Spanner");
        let spanner = object(
            "v1",
            "Spanner",
            "one",
            &json!({"size": 1, "coating": "zinc"}),
        );
        let (mine, copies) = first(world, gvk, "spanners", &spanner).await?;
        ensure!(
            mine.get("one").await?.data["spec"].get("coating").is_none(),
            "a field that nobody knows is pruned"
        );

        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            ["coating"] = json!({"type": "string"});
        serve(&provider.plane, &crd).await?;
        let change = json!({"spec": {"coating": "chrome"}});
        wait_for("the consumer to know the new field", || async {
            let object = merge(&mine, "one", change.clone()).await?;
            match &object.data["spec"]["coating"] {
                Value::String(_) => Ok(()),
                other => Err(anyhow!("{other}")),
            }
        })
        .await?;
        wait_until(&copies, "one", "the new field", |copy| {
            copy.data["spec"]["coating"] == "chrome"
        })
        .await?;
        // And its removal, which only an engine that knows the field can see.
        merge(&mine, "one", json!({"spec": {"coating": null}})).await?;
        wait_until(&copies, "one", "without the field", |copy| {
            copy.data["spec"].get("coating").is_none() && copy.data["spec"]["size"] == 1
        })
        .await?;
        ensure!(consumer.konnector()?.pid() == konnector);
        consumer.konnector()?.check_running()
    })
}

#[test]
fn a_new_first_version_is_followed_without_a_restart() -> Result<()> {
    run(async {
        let world @ (provider, consumer) = bound().await?;
        let mut crd = widgets::crd("valves", "Valve", true);
        crd["spec"]["versions"][0]["name"] = "v1alpha1".into();
        bind(provider, consumer, &crd).await?;
        let konnector = consumer.konnector()?.pid();
        let old = object("v1alpha1", "Valve", "old", &json!({"size": 1}));
        let (_, before) =
            first(world, ("example.org", "v1alpha1", "Valve"), "valves", &old).await?;
        let uid = before.get("old").await?.uid();
        // The operator wrote in the old version, too.
        let status = json!({"status": {"phase": "Ordered"}});
        merge_status(&before, "old", status).await?;

        // The provider moves on to v1, and still serves what it had.
        let mut first_version = crd["spec"]["versions"][0].clone();
        first_version["name"] = "v1".into();
        first_version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["grade"] =
            json!({"type": "string"});
        crd["spec"]["versions"][0]["storage"] = false.into();
        let last_version = crd["spec"]["versions"][0].take();
        crd["spec"]["versions"] = json!([first_version, last_version]);
        serve(&provider.plane, &crd).await?;
        let installed = definitions(&consumer.plane);
        wait_until(&installed, "valves.example.org", "with v1", |crd| {
            crd.data["spec"]["versions"][0]["name"] == "v1"
        })
        .await?;

        let mine = api(
            consumer.plane.client(),
            ("example.org", "v1", "Valve"),
            "valves",
        );
        let new = object("v1", "Valve", "new", &json!({"size": 2, "grade": "A"}));
        // The new version is served a little after the CRD has it.
        wait_for("v1 to be served", || create(&mine, &new)).await?;
        let service = before.get("old").await?.namespace().unwrap_or_default();
        let copies = api(
            provider.plane.client(),
            ("example.org", "v1", "Valve"),
            &service,
        );
        wait_until(&copies, "new", "with what only v1 knows", |copy| {
            copy.data["spec"]["grade"] == "A"
        })
        .await?;
        // What was there before goes on with what only v1 knows, in both directions.
        let change = json!({"spec": {"grade": "B"}});
        merge(&mine, "old", change).await?;
        wait_until(&copies, "old", "with what only v1 knows", |copy| {
            copy.data["spec"]["grade"] == "B"
        })
        .await?;
        let status = json!({"status": {"phase": "Fitted"}});
        merge_status(&copies, "old", status).await?;
        wait_until(&mine, "old", "its status", |object| {
            object.data["status"]["phase"] == "Fitted"
        })
        .await?;
        ensure!(copies.get("old").await?.uid() == uid, "made anew");
        ensure!(consumer.konnector()?.pid() == konnector);
        consumer.konnector()?.check_running()
    })
}

#[test]
fn a_kind_without_status_subresource_gets_its_status_and_keeps_its_spec() -> Result<()> {
    run(async {
        let world @ (provider, consumer) = bound().await?;
        let mut crd = widgets::crd("labels", "Label", true);
        crd["spec"]["versions"][0]
            .as_object_mut()
            .map(|version| version.remove("subresources"));
        bind(provider, consumer, &crd).await?;
        let gvk = ("example.org", "v1", "Label");
        let label = object("v1", "Label", "one", &json!({"size": 1}));
        let (mine, copies) = first(world, gvk, "labels", &label).await?;
        let built = json!({"status": {"phase": "Printed"}});
        merge(&copies, "one", built).await?;
        wait_until(&mine, "one", "its status", |object| {
            object.data["status"]["phase"] == "Printed"
        })
        .await?;
        // The spec goes one way only and the status the other, though both lie in one object.
        let change = json!({"spec": {"size": 2}, "status": {"phase": "forged"}});
        merge(&mine, "one", change).await?;
        wait_until(&copies, "one", "the new size", |copy| {
            copy.data["spec"]["size"] == 2
        })
        .await?;
        wait_until(&mine, "one", "the provider's status again", |object| {
            object.data["status"]["phase"] == "Printed" && object.data["spec"]["size"] == 2
        })
        .await?;
        ensure!(copies.get("one").await?.data["status"]["phase"] == "Printed");
        Ok(())
    })
}

#[test]
fn a_kind_that_the_consumer_has_already_is_neither_touched_nor_synced() -> Result<()> {
    run(async {
        let (provider, consumer) = bound().await?;
        let crd = widgets::crd("badges", "Badge", true);
        let plural = offer(provider, &crd).await?;
        serve(&consumer.plane, &crd).await?;
        create_namespace(&consumer.plane, "badges").await?;
        let badges = api(
            consumer.plane.client(),
            ("example.org", "v1", "Badge"),
            "badges",
        );
        let badge = object("v1", "Badge", "own", &json!({"size": 1}));
        let before = create(&badges, &badge).await?;
        let installed = definitions(&consumer.plane);
        let crd_before = installed.get("badges.example.org").await?;
        let since = (
            provider.plane.audit().mark()?,
            consumer.plane.audit().mark()?,
        );

        let args = arguments(&provider.url(), &plural);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let refused = consumer.run_plugin(&args).await?;
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        ensure!(
            refused.stderr.contains("badges.example.org"),
            "{}",
            refused.stderr
        );
        bind_by_hand(provider, consumer, &plural).await?;
        let bindings = bindings(&consumer.plane);
        let binding = wait_until(&bindings, &plural, "not connected", |binding| {
            condition(binding, "Connected").is_some_and(|(status, reason, _)| {
                status == "False" && reason == "ForeignCustomResourceDefinition"
            })
        })
        .await?;
        let (.., message) = condition(&binding, "Connected").unwrap_or_default();
        ensure!(message.contains("badges.example.org"), "{message}");

        // An object of another kind goes all the way through: whatever should not happen would have.
        create_namespace(&consumer.plane, "beside-badges").await?;
        let probes = widgets(&consumer.plane, "beside-badges");
        create(&probes, &widget("probe", 1)).await?;
        wait_until(&probes, "probe", "synced", |object| {
            object
                .annotations()
                .contains_key(names::ANNOTATION_PROVIDER_UID)
        })
        .await?;
        let after = badges.get("own").await?;
        ensure!(after.resource_version() == before.resource_version());
        let crd_after = installed.get("badges.example.org").await?;
        ensure!(crd_after.owner_references().is_empty());
        ensure!(crd_after.metadata.generation == crd_before.metadata.generation);
        ensure!(crd_after.metadata.labels == crd_before.metadata.labels);
        let mut asked = provider.plane.audit().since(since.0)?;
        asked.extend(consumer.plane.audit().since(since.1)?);
        asked.retain(|r| r.user_agent.contains("konnector") && r.resource == "badges");
        ensure!(asked.is_empty(), "{asked:#?}");
        Ok(())
    })
}
