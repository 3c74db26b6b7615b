//! Claims with fewer rights: by name, and in some namespaces only.

use anyhow::{Context, Result, ensure};
use kube_bind_e2e::bindings::{bindings, ours};
use kube_bind_e2e::claims::{
    claim, crd, ensure_absent, labelled, object, objects, template, wait_copy,
};
use kube_bind_e2e::objects::{
    as_consumer, create, create_namespace, service_namespace, wait_until,
};
use kube_bind_e2e::widgets::{TEMPLATE, bind, started_with};
use kube_bind_e2e::{run, wait_for};
use serde_json::{Value, json};

use crate::OWNER;

#[test]
fn claims_by_name_read_only_these_and_no_claim_lets_the_konnector_change_content() -> Result<()> {
    run(async {
        let mut named = claim("secrets", "widgets");
        for part in ["labelSelector", "references"] {
            named["selector"]
                .as_object_mut()
                .context("no selector")?
                .remove(part);
        }
        let (provider, consumer) = started_with(&[
            crd("widgets", "Widget"),
            template(TEMPLATE, "widgets", &[named]),
        ])
        .await?;
        bind(&provider, &consumer, TEMPLATE, &[]).await?;
        create_namespace(&consumer.plane, "shop").await?;
        let mine = objects(&consumer.plane, "Secret", "shop");
        create(&mine, &object("Secret", "plain", "mine")).await?;
        create(&mine, &object("Secret", "named-own", "mine")).await?;
        let (_, home) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &home, "shop").await?;
        let theirs = objects(&provider.plane, "Secret", &service);
        wait_copy(&theirs, "named-own", "mine", "consumer").await?;
        create(&theirs, &object("Secret", "named-lent", "theirs")).await?;
        wait_copy(&mine, "named-lent", "theirs", "provider").await?;
        let as_konnector = async |args: &[&str], input: &str| {
            let who = "--as=system:serviceaccount:kube-bind:konnector";
            let args = [args, &[who, "--namespace", "shop"]].concat();
            consumer.plane.kubectl_with_input(&args, input).await
        };
        for (what, allowed) in [
            ("secrets/named-own", true),
            ("secrets/plain", false),
            ("secrets", false),
        ] {
            let answer = as_konnector(&["auth", "can-i", "list", what], "").await;
            let yes = answer.is_ok_and(|answer| answer.contains("yes"));
            ensure!(yes == allowed, "list {what}: {yes}");
        }
        // RBAC lets it patch this one; the policy lets it set its marks and nothing else.
        for (change, allowed) in [
            (json!({"data": {"content": "AAAA"}}), false),
            (json!({"metadata": {"labels": {OWNER: "provider"}}}), false),
            (json!({"metadata": {"labels": {"else": "x"}}}), false),
            (
                json!({"metadata": {"finalizers": ["example.org/x"]}}),
                false,
            ),
            (
                json!({"metadata": {"annotations": {"kube-bind.io/binding": TEMPLATE}}}),
                true,
            ),
        ] {
            let patch = [
                "patch",
                "secret",
                "named-own",
                "--type=merge",
                "-p",
                &change.to_string(),
            ];
            let answer = as_konnector(&patch, "").await;
            ensure!(answer.is_ok() == allowed, "{change}: {answer:?}");
        }
        let mut token = object("Secret", "minted", "x");
        token["metadata"]["labels"] = json!({OWNER: "provider"});
        token["metadata"]["annotations"]["kubernetes.io/service-account.name"] = "default".into();
        let mut unmarked = token.clone();
        unmarked["metadata"]["labels"] = json!({});
        token["type"] = "kubernetes.io/service-account-token".into();
        for refused in [token, unmarked] {
            let answer = as_konnector(&["create", "-f", "-"], &refused.to_string()).await;
            ensure!(answer.is_err(), "created {refused}");
        }
        Ok(())
    })
}

#[test]
fn claims_limited_to_namespaces_need_rights_only_there() -> Result<()> {
    run(async {
        let (provider, consumer) = started_with(&[
            crd("widgets", "Widget"),
            template(TEMPLATE, "widgets", &[claim("secrets", "widgets")]),
        ])
        .await?;
        for namespace in ["shop", "team", "other"] {
            create_namespace(&consumer.plane, namespace).await?;
        }
        let here = ["--claim-namespaces", "shop,team"];
        bind(&provider, &consumer, TEMPLATE, &here).await?;
        let secret = |name| labelled(object("Secret", name, name));
        for namespace in ["other", "shop", "team"] {
            let mine = objects(&consumer.plane, "Secret", namespace);
            create(&mine, &secret("tls")).await?;
        }
        let (_, home) = as_consumer(&consumer.plane).await?;
        for namespace in ["shop", "team"] {
            let service = service_namespace(&provider.plane, &home, namespace).await?;
            let theirs = objects(&provider.plane, "Secret", &service);
            wait_copy(&theirs, "tls", "tls", "consumer").await?;
            create(&theirs, &secret("lent")).await?;
            let mine = objects(&consumer.plane, "Secret", namespace);
            wait_copy(&mine, "lent", "lent", "provider").await?;
        }
        let mappings = ours(&provider.plane, "APIServiceNamespace", &home);
        ensure_absent(&mappings, "other").await?;
        let may = async |namespace: &[&str]| {
            let konnector = "--as=system:serviceaccount:kube-bind:konnector";
            let question = ["auth", "can-i", "list", "secrets", konnector];
            let answer = consumer
                .plane
                .kubectl(&[&question, namespace].concat())
                .await;
            answer.is_ok_and(|answer| answer.contains("yes"))
        };
        ensure!(may(&["--namespace", "shop"]).await);
        ensure!(!may(&["--all-namespaces"]).await, "it may read all Secrets");
        ensure!(!may(&["--namespace", "other"]).await);

        // A right that goes is missed and named; when it is back the sync goes on by itself.
        let role = [
            "delete",
            "rolebinding",
            "kube-bind-konnector-widgets",
            "-n",
            "shop",
        ];
        let saved = consumer
            .plane
            .kubectl(&["get", "rolebinding", role[2], "-n", "shop", "-o", "json"])
            .await?;
        consumer.plane.kubectl(&role).await?;
        let bindings = bindings(&consumer.plane);
        wait_until(&bindings, TEMPLATE, "missing a right", |binding| {
            let told = binding.data["status"]["conditions"].to_string();
            told.contains("MissingPermissions") && told.contains("in namespace shop")
        })
        .await?;
        let mut saved: Value = serde_json::from_str(&saved)?;
        saved["metadata"] = json!({"name": role[2], "namespace": "shop"});
        let apply = ["apply", "-f", "-"];
        consumer
            .plane
            .kubectl_with_input(&apply, &saved.to_string())
            .await?;
        create(
            &objects(&consumer.plane, "Secret", "shop"),
            &secret("later"),
        )
        .await?;
        let service = service_namespace(&provider.plane, &home, "shop").await?;
        let theirs = objects(&provider.plane, "Secret", &service);
        wait_copy(&theirs, "later", "later", "consumer").await?;
        wait_for("the binding to be ready", || async {
            let binding = bindings.get(TEMPLATE).await?;
            ensure!(kube_bind_e2e::provider::is_ready(&binding.data));
            anyhow::Ok(())
        })
        .await
    })
}
