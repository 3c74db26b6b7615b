//! Bad input and bad days: each with a clear answer, nothing lost, and nobody else disturbed.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{ResourceExt, api::DeleteParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::{bindings, merge};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    as_consumer, condition, create, create_namespace, provider_credential, service_namespace,
    wait_event, wait_gone, wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::widgets::{self, TEMPLATE, widget, widgets};
use kube_bind_e2e::{run, wait_for};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

struct Bound {
    provider: Provider,
    consumer: Consumer,
    /// Held by the test that takes the provider's API server away.
    provider_up: Mutex<()>,
}

static BOUND: OnceCell<Bound> = OnceCell::const_new();

async fn bound() -> Result<&'static Bound> {
    BOUND
        .get_or_try_init(|| async {
            let (provider, consumer) = widgets::bound().await?;
            anyhow::Ok(Bound {
                provider,
                consumer,
                provider_up: Mutex::new(()),
            })
        })
        .await
}

/// A consumer namespace with one synced widget, and its service namespace.
async fn mapped(bound: &Bound, namespace: &str) -> Result<String> {
    create_namespace(&bound.consumer.plane, namespace).await?;
    create(
        &widgets(&bound.consumer.plane, namespace),
        &widget("seed", 1),
    )
    .await?;
    let (_, cluster_namespace) = as_consumer(&bound.consumer.plane).await?;
    let service = service_namespace(&bound.provider.plane, &cluster_namespace, namespace).await?;
    wait_until(
        &widgets(&bound.provider.plane, &service),
        "seed",
        "at the provider",
        |_| true,
    )
    .await?;
    Ok(service)
}

fn problem(object: &DynamicObject) -> Option<&str> {
    object
        .annotations()
        .get(names::ANNOTATION_SYNC_PROBLEM)
        .map(String::as_str)
}

#[test]
fn a_foreign_object_in_the_way_is_reported_and_left_alone() -> Result<()> {
    run(async {
        let bound = bound().await?;
        let _up = bound.provider_up.lock().await;
        let service = mapped(bound, "conflict").await?;
        let (mine, theirs) = (
            widgets(&bound.consumer.plane, "conflict"),
            widgets(&bound.provider.plane, &service),
        );
        let foreign = create(&theirs, &widget("taken", 99)).await?;
        create(&mine, &widget("taken", 1)).await?;
        let object = wait_until(&mine, "taken", "a problem", |object| {
            problem(object).is_some()
        })
        .await?;
        ensure!(!problem(&object).unwrap_or_default().is_empty());
        wait_event(&bound.consumer.plane, "conflict", "taken", "SyncConflict").await?;
        let now = theirs.get("taken").await?;
        ensure!(
            now.resource_version() == foreign.resource_version(),
            "the foreign object was written to"
        );

        // Its deletion on the consumer leaves the foreign object alone too.
        mine.delete("taken", &DeleteParams::default()).await?;
        wait_gone(&mine, "taken").await?;
        let now = theirs.get("taken").await?;
        ensure!(now.resource_version() == foreign.resource_version());

        // Once it is out of the way, the consumer's object is synced and the problem is gone.
        create(&mine, &widget("taken", 1)).await?;
        wait_until(&mine, "taken", "a problem", |object| {
            problem(object).is_some()
        })
        .await?;
        theirs.delete("taken", &DeleteParams::default()).await?;
        wait_until(&mine, "taken", "solved", |object| {
            problem(object).is_none()
                && object
                    .annotations()
                    .contains_key(names::ANNOTATION_PROVIDER_UID)
        })
        .await?;
        ensure!(theirs.get("taken").await?.data["spec"]["size"] == 1);
        Ok(())
    })
}

#[test]
fn a_rejected_object_says_why_in_the_providers_words() -> Result<()> {
    run(async {
        let bound = bound().await?;
        let _up = bound.provider_up.lock().await;
        let service = mapped(bound, "rejected").await?;
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "widget-sizes"},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["example.org"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["widgets"],
                }]},
                "validations": [{"expression": "object.spec.size < 1000", "message": "widgets of 1000 and more are sold out"}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "widget-sizes"},
            "spec": {"policyName": "widget-sizes", "validationActions": ["Deny"]},
        });
        bound.provider.apply(&[policy, binding]).await?;
        let theirs = widgets(&bound.provider.plane, &service);
        // The policy takes a moment; a dry run shows when it is enforced.
        wait_for("the policy to be enforced", || async {
            let dry = kube::api::PostParams {
                dry_run: true,
                ..Default::default()
            };
            let object: DynamicObject = serde_json::from_value(widget("dry", 5000))?;
            match theirs.create(&dry, &object).await {
                Err(kube::Error::Api(_)) => Ok(()),
                other => Err(anyhow::anyhow!("{other:?}")),
            }
        })
        .await?;

        let mine = widgets(&bound.consumer.plane, "rejected");
        create(&mine, &widget("huge", 5000)).await?;
        let object = wait_until(&mine, "huge", "a problem", |object| {
            problem(object).is_some()
        })
        .await?;
        ensure!(
            problem(&object).unwrap_or_default().contains("sold out"),
            "{:?}",
            problem(&object)
        );
        let note = wait_event(&bound.consumer.plane, "rejected", "huge", "SyncRejected").await?;
        ensure!(note.contains("sold out"), "{note}");
        // Its author mends it, and it goes through at once.
        let mend = json!({"spec": {"size": 10}});
        merge(&mine, "huge", mend).await?;
        wait_until(&mine, "huge", "solved", |object| problem(object).is_none()).await?;
        wait_until(&theirs, "huge", "at the provider", |object| {
            object.data["spec"]["size"] == 10
        })
        .await?;
        Ok(())
    })
}

#[test]
fn an_unreachable_provider_loses_nothing_and_needs_no_restart() -> Result<()> {
    run(async {
        let bound = bound().await?;
        let _up = bound.provider_up.lock().await;
        let service = mapped(bound, "outage").await?;
        let (mine, theirs) = (
            widgets(&bound.consumer.plane, "outage"),
            widgets(&bound.provider.plane, &service),
        );
        let konnector = bound.consumer.konnector()?.pid();
        bound.provider.plane.kill_api_server()?;
        create(&mine, &widget("during", 1)).await?;
        let change = json!({"spec": {"size": 7}});
        merge(&mine, "seed", change).await?;
        mine.delete("during", &DeleteParams::default()).await?;
        create(&mine, &widget("kept", 3)).await?;
        let bindings = bindings(&bound.consumer.plane);
        wait_until(&bindings, TEMPLATE, "not ready", |binding| {
            condition(binding, "Ready").is_some_and(|(status, ..)| status == "False")
        })
        .await?;
        bound.provider.plane.start_api_server().await?;
        wait_until(&theirs, "seed", "the change", |object| {
            object.data["spec"]["size"] == 7
        })
        .await?;
        wait_until(&theirs, "kept", "at the provider", |object| {
            object.data["spec"]["size"] == 3
        })
        .await?;
        wait_gone(&mine, "during").await?;
        wait_gone(&theirs, "during").await?;
        wait_until(&bindings, TEMPLATE, "ready again", |binding| {
            condition(binding, "Ready").is_some_and(|(status, ..)| status == "True")
        })
        .await?;
        ensure!(bound.consumer.konnector()?.pid() == konnector);
        bound.consumer.konnector()?.check_running()
    })
}

#[test]
fn a_kubeconfig_with_an_exec_plugin_or_a_file_path_is_refused() -> Result<()> {
    run(async {
        let bound = bound().await?;
        let good = provider_credential(&bound.consumer.plane).await?;
        let text = good
            .data
            .unwrap_or_default()
            .remove(names::KUBECONFIG_KEY)
            .context("no kubeconfig")?
            .0;
        let original: Value =
            serde_saphyr::from_slice(&text).context("the kubeconfig is not YAML")?;
        let witness = bound.consumer.plane.dir().join("executed");
        let mut exec = original.clone();
        exec["users"][0]["user"] = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [witness], "interactiveMode": "Never",
        }});
        let mut file = original.clone();
        file["users"][0]["user"] = json!({"tokenFile": "/etc/hostname"});
        let bindings = bindings(&bound.consumer.plane);
        for (name, kubeconfig, field) in [
            ("evil-exec", exec, "exec"),
            ("evil-file", file, "tokenFile"),
        ] {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": names::KONNECTOR_NAMESPACE},
                "stringData": {"kubeconfig": kubeconfig.to_string()},
            });
            let binding = json!({
                "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBinding", "metadata": {"name": name},
                "spec": {"kubeconfigSecretRef": {"name": name, "namespace": names::KONNECTOR_NAMESPACE, "key": "kubeconfig"}},
            });
            let list = json!({"apiVersion": "v1", "kind": "List", "items": [secret, binding]});
            bound
                .consumer
                .plane
                .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &list.to_string())
                .await?;
            let object = wait_until(&bindings, name, "refused", |binding| {
                condition(binding, "SecretValid").is_some_and(|(status, ..)| status == "False")
            })
            .await?;
            let (_, reason, message) = condition(&object, "SecretValid").unwrap_or_default();
            ensure!(reason == "KubeconfigSecretInvalid", "{reason}: {message}");
            ensure!(
                message.contains(field),
                "the message names the field: {message}"
            );
            let ready = condition(&object, "Ready").unwrap_or_default();
            ensure!(ready.0 == "False", "{ready:?}");
        }
        ensure!(!witness.exists(), "the plugin was executed");
        Ok(())
    })
}

#[test]
fn an_unknown_template_provisions_nothing() -> Result<()> {
    run(async {
        let bound = bound().await?;
        let _up = bound.provider_up.lock().await;
        let url = bound.provider.url();
        let args = [
            "bind",
            "apiservice",
            "--server",
            &url,
            "--template-name",
            "no-such",
            "--name",
            "x",
            "--cluster-identity",
            "nobody-yet",
            "--yes",
        ];
        let run = bound.consumer.run_plugin(&args).await?;
        ensure!(run.status.code() == Some(1), "{run:?}");
        ensure!(
            run.stderr.contains("no-such"),
            "the error names the template: {}",
            run.stderr
        );
        let namespaces: Api<Namespace> = Api::all(bound.provider.plane.client());
        let of_nobody = namespaces.list(&ListParams::default()).await?.items;
        let found = of_nobody.iter().find(|ns| {
            ns.annotations()
                .get(names::ANNOTATION_IDENTITY)
                .is_some_and(|identity| identity == "nobody-yet")
        });
        ensure!(found.is_none(), "{found:?}");
        Ok(())
    })
}

#[test]
fn an_offered_crd_without_a_served_version_fails_with_its_name() -> Result<()> {
    run(async {
        let bound = bound().await?;
        let _up = bound.provider_up.lock().await;
        let objects = [
            widgets::crd("relics", "Relic", false),
            widgets::template("relics", "relics"),
        ];
        bound.provider.apply(&objects).await?;
        let url = bound.provider.url();
        let args = [
            "bind",
            &url,
            "--template-name",
            "relics",
            "--name",
            "relics",
            "--yes",
            "--timeout",
            "60s",
        ];
        let run = bound.consumer.run_plugin(&args).await?;
        ensure!(run.status.code() == Some(1), "{run:?}");
        ensure!(
            run.stderr.contains("relics.example.org") && run.stderr.contains("served"),
            "{}",
            run.stderr
        );
        Ok(())
    })
}
