//! A bind from the first object to the last: what both sides hold afterwards, what a second run of
//! the plugin changes (nothing), and what is left after the binding is deleted (nothing).

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::{bindings, definitions, ours};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    as_consumer, condition, create, create_namespace, provider_credential, secrets,
    service_namespace, wait_event, wait_gone, wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::run;
use kube_bind_e2e::widgets::{self, TEMPLATE, widget, widgets};
use serde_json::{Value, json};

fn is(object: &DynamicObject, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|(found, ..)| found == status)
}

#[test]
fn a_bind_from_the_first_object_to_the_last() -> Result<()> {
    run(async {
        let (provider, consumer) = widgets::bound().await?;
        create_namespace(&consumer.plane, "shop").await?;
        create(&widgets(&consumer.plane, "shop"), &widget("one", 1)).await?;
        let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &cluster_namespace, "shop").await?;
        wait_until(
            &widgets(&provider.plane, &service),
            "one",
            "at the provider",
            |_| true,
        )
        .await?;

        provider_side(&provider, &consumer, &cluster_namespace, &service).await?;
        consumer_side(&consumer).await?;
        second_run_changes_nothing(&provider, &consumer).await?;
        a_deleted_credential_comes_back_as_it_was(&consumer).await?;
        unbind(&provider, &consumer, &service).await
    })
}

/// Contract sections 3, 4 and 5.5, and what the original's own tests assert (10.1).
async fn provider_side(
    provider: &Provider,
    consumer: &Consumer,
    cluster_namespace: &str,
    service: &str,
) -> Result<()> {
    let plane = &provider.plane;
    let export = ours(plane, "APIServiceExport", cluster_namespace)
        .get(TEMPLATE)
        .await?;
    ensure!(
        export.data["spec"]["isolation"] == "Prefixed"
            && export.data["spec"]["informerScope"] == "Namespaced"
    );
    let hash = export.annotations().get(names::ANNOTATION_SOURCE_SPEC_HASH);
    ensure!(hash.is_some_and(|hash| hash.len() == 64), "{hash:?}");
    let exports = ours(plane, "APIServiceExport", cluster_namespace);
    for kind in ["ProviderInSync", "Connected", "ConsumerInSync"] {
        wait_until(&exports, TEMPLATE, kind, |export| is(export, kind, "True")).await?;
    }

    let schemas = ours(plane, "BoundSchema", cluster_namespace);
    let schema = schemas.get("widgets.example.org").await?;
    let owner = schema
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    let owner = owner.context("the schema is controlled by nobody")?;
    ensure!((owner.kind.as_str(), owner.name.as_str()) == ("APIServiceExport", TEMPLATE));
    ensure!(Some(&owner.uid) == export.uid().as_ref());
    wait_until(
        &schemas,
        "widgets.example.org",
        "the consumer's names",
        |schema| {
            schema.data["status"]["acceptedNames"]["plural"] == "widgets"
                && schema.data["status"]["storedVersions"] == json!(["v1"])
                && is(schema, "Established", "True")
        },
    )
    .await?;

    let requests = ours(plane, "APIServiceExportRequest", cluster_namespace);
    let request = requests.get(TEMPLATE).await?;
    ensure!(request.data["status"]["phase"] == "Succeeded" && is(&request, "Ready", "True"));

    let bindings = ours(plane, "ClusterBinding", cluster_namespace);
    let binding = wait_until(
        &bindings,
        names::CLUSTER_BINDING_NAME,
        "a heartbeat",
        |binding| {
            is(binding, "SecretValid", "True")
                && is(binding, "ValidVersion", "True")
                && is(binding, "Healthy", "True")
                && is(binding, "Ready", "True")
        },
    )
    .await?;
    let status = &binding.data["status"];
    ensure!(
        status["heartbeatInterval"] == "5m0s" && status["lastHeartbeatTime"].is_string(),
        "{status}"
    );
    ensure!(
        status["konnectorVersion"]
            .as_str()
            .is_some_and(|version| version.starts_with('v')),
        "{status}"
    );
    ensure!(
        status["consumerSecretRef"]["namespace"] == names::KONNECTOR_NAMESPACE,
        "{status}"
    );

    let namespaces: Api<Namespace> = Api::all(plane.client());
    let identity: Api<Namespace> = Api::all(consumer.plane.client());
    let identity = identity.get("kube-system").await?.uid();
    let home = namespaces.get(cluster_namespace).await?;
    ensure!(home.annotations().get(names::ANNOTATION_IDENTITY) == identity.as_ref());
    let mapped = namespaces.get(service).await?;
    let mark = mapped
        .annotations()
        .get(names::ANNOTATION_API_SERVICE_NAMESPACE);
    ensure!(
        mark == Some(&format!("{cluster_namespace}/shop")),
        "{mark:?}"
    );
    ensure!(service == format!("{cluster_namespace}-shop"));
    Ok(())
}

/// Contract section 5.4 and 5.6.
async fn consumer_side(consumer: &Consumer) -> Result<()> {
    let binding = bindings(&consumer.plane).get(TEMPLATE).await?;
    for kind in [
        "SecretValid",
        "InformersSynced",
        "Heartbeating",
        "Connected",
        "SchemaInSync",
        "Ready",
    ] {
        ensure!(
            is(&binding, kind, "True"),
            "{kind}: {}",
            binding.data["status"]
        );
    }
    let status = &binding.data["status"];
    ensure!(
        status["providerPrettyName"] == "Example Company",
        "{status}"
    );
    ensure!(
        status["boundSchemas"] == json!([{"group": "example.org", "resource": "widgets"}]),
        "{status}"
    );
    let crds = definitions(&consumer.plane);
    let crd = crds.get("widgets.example.org").await?;
    let owner = crd
        .owner_references()
        .first()
        .context("the CRD has no owner")?;
    ensure!((owner.kind.as_str(), owner.name.as_str()) == ("APIServiceBinding", TEMPLATE));
    ensure!(owner.controller == Some(true) && owner.block_owner_deletion != Some(true));
    let table = consumer
        .plane
        .kubectl(&["get", "apiservicebindings", "-o", "wide"])
        .await?;
    ensure!(
        table.contains("PROVIDER") && table.contains("Example Company") && table.contains("True"),
        "{table}"
    );
    ensure!(
        table.contains("RESOURCES") && table.contains("widgets.example.org"),
        "{table}"
    );

    // No right of the konnector is a wildcard.
    let roles = consumer
        .plane
        .kubectl(&["get", "clusterroles,roles", "-A", "-o", "json"])
        .await?;
    let roles: Value = serde_json::from_str(&roles)?;
    let ours = roles["items"]
        .as_array()
        .context("no roles")?
        .iter()
        .filter(|role| {
            role["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("kube-bind-konnector"))
        });
    let mut found = 0;
    for role in ours {
        found += 1;
        ensure!(!role["rules"].to_string().contains("\"*\""), "{role}");
    }
    ensure!(found >= 3, "{found} roles of the konnector");
    Ok(())
}

/// The plugin is idempotent: it says `unchanged`, and no object has another version afterwards.
async fn second_run_changes_nothing(provider: &Provider, consumer: &Consumer) -> Result<()> {
    let versions = || async {
        let mut versions = Vec::new();
        for kind in [
            "clusterroles",
            "clusterrolebindings",
            "deployments",
            "apiservicebindings",
            "secrets",
        ] {
            let list = consumer
                .plane
                .kubectl(&["get", kind, "-A", "-o", "json"])
                .await?;
            let list: Value = serde_json::from_str(&list)?;
            for item in list["items"].as_array().into_iter().flatten() {
                let metadata = &item["metadata"];
                versions.push(format!(
                    "{kind} {} {}",
                    metadata["name"], metadata["generation"]
                ));
            }
        }
        anyhow::Ok(versions)
    };
    let before = versions().await?;
    let args = [
        "bind",
        &provider.url(),
        "--template-name",
        TEMPLATE,
        "--yes",
    ];
    let run = consumer.run_plugin(&args).await?.success()?;
    ensure!(
        run.stdout.contains(&format!(
            "apiservicebinding.kube-bind.io/{TEMPLATE} unchanged"
        )),
        "{}",
        run.stdout
    );
    ensure!(!run.stdout.contains(" created"), "{}", run.stdout);
    ensure!(
        before == versions().await?,
        "a second run changed something"
    );
    Ok(())
}

/// While a binding needs it, under the name that the binding names, and nowhere else.
async fn a_deleted_credential_comes_back_as_it_was(consumer: &Consumer) -> Result<()> {
    let before = provider_credential(&consumer.plane).await?;
    let name = before.name_any();
    let all = secrets(&consumer.plane, names::KONNECTOR_NAMESPACE);
    all.delete(&name, &DeleteParams::default()).await?;
    wait_until(&all, &name, "restored", |secret| {
        secret.uid() != before.uid() && secret.data == before.data
    })
    .await?;
    // The only one with our label.
    ensure!(provider_credential(&consumer.plane).await?.name_any() == name);
    let everywhere: Api<Secret> = Api::all(consumer.plane.client());
    let everywhere = everywhere.list(&ListParams::default()).await?;
    let copies = everywhere
        .iter()
        .filter(|secret| secret.data.is_some() && secret.data == before.data);
    ensure!(copies.count() == 1, "the credential is in other Secrets");
    Ok(())
}

/// Contract section 5.6 without defect C10: nothing hangs and nothing is left behind.
async fn unbind(provider: &Provider, consumer: &Consumer, service: &str) -> Result<()> {
    let bindings = bindings(&consumer.plane);
    bindings.delete(TEMPLATE, &DeleteParams::default()).await?;
    wait_gone(&bindings, TEMPLATE).await?;
    // What a person asked for is no trouble.
    let events: Api<Event> = Api::namespaced(consumer.plane.client(), "default");
    let of_end = events.list(&ListParams::default()).await?.items;
    let warning = of_end.iter().find(|event| {
        event.involved_object.name.as_deref() == Some(TEMPLATE)
            && event.type_.as_deref() == Some("Warning")
            && event
                .message
                .as_deref()
                .is_some_and(|note| note.contains("Unbinding"))
    });
    ensure!(warning.is_none(), "{warning:?}");
    wait_event(&consumer.plane, "default", TEMPLATE, "Unbinding").await?;
    let crds = definitions(&consumer.plane);
    ensure!(
        crds.get_opt("widgets.example.org").await?.is_none(),
        "the CRD is left"
    );
    let copies = widgets(&provider.plane, service)
        .list(&ListParams::default())
        .await?;
    ensure!(
        copies.items.is_empty(),
        "{} copies are left",
        copies.items.len()
    );
    // The provider's own kind is untouched.
    let theirs = definitions(&provider.plane);
    ensure!(theirs.get_opt("widgets.example.org").await?.is_some());
    consumer.konnector()?.check_running()
}
