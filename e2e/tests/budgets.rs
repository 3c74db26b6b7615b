//! What one object costs in requests, from the API servers' own audit logs: at most 3 to create, 1 for a
//! change of the spec, 1 for a change of the status, 2 to delete, 0 after a restart with nothing changed.
//! Reads and writes by the konnector on both sides count; watches, lease and heartbeat do not. Nothing
//! that happens to an object makes it list anything.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::DeleteParams;
use kube_bind_e2e::bindings::{merge, merge_status};
use kube_bind_e2e::cluster::{AuditedRequest, Mark, count_by_kind};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    as_consumer, create, create_namespace, service_namespace, wait_gone, wait_until,
};
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::widgets::{self, widget, widgets};
use kube_bind_e2e::{eventually, run};
use serde_json::json;

/// The konnector's requests about widgets on both sides, since the marks.
fn spent(
    provider: &Provider,
    consumer: &Consumer,
    since: (Mark, Mark),
) -> Result<Vec<AuditedRequest>> {
    let mut all = provider.plane.audit().since(since.0)?;
    all.extend(consumer.plane.audit().since(since.1)?);
    all.retain(|request| {
        request.user_agent.contains("konnector")
            && request.resource == "widgets"
            && !matches!(request.verb.as_str(), "list" | "watch")
    });
    Ok(all)
}

/// The konnector's lists of whatever kind on both sides, since the marks.
fn lists(provider: &Provider, consumer: &Consumer, since: (Mark, Mark)) -> Result<Vec<String>> {
    let mut all = provider.plane.audit().since(since.0)?;
    all.extend(consumer.plane.audit().since(since.1)?);
    all.retain(|request| request.user_agent.contains("konnector") && request.verb == "list");
    Ok(all.into_iter().map(|request| request.uri).collect())
}

fn marks(provider: &Provider, consumer: &Consumer) -> Result<(Mark, Mark)> {
    Ok((
        provider.plane.audit().mark()?,
        consumer.plane.audit().mark()?,
    ))
}

#[test]
fn an_object_costs_three_one_one_two_and_a_restart_nothing() -> Result<()> {
    run(async {
        let (provider, consumer) = widgets::bound().await?;
        create_namespace(&consumer.plane, "shop").await?;
        let mine = widgets(&consumer.plane, "shop");
        // The first object makes the mapping of its namespace, which is not what we count.
        create(&mine, &widget("first", 1)).await?;
        let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
        let service = service_namespace(&provider.plane, &cluster_namespace, "shop").await?;
        let copies = widgets(&provider.plane, &service);
        let arrived = |name: &'static str| {
            let (mine, copies) = (mine.clone(), copies.clone());
            async move {
                let copy = wait_until(&copies, name, "at the provider", |_| true).await?;
                wait_until(&mine, name, "annotated", |object| {
                    object.annotations().get("kube-bind.io/provider-uid") == copy.uid().as_ref()
                })
                .await
            }
        };
        arrived("first").await?;

        let since = marks(&provider, &consumer)?;
        create(&mine, &widget("counted", 1)).await?;
        arrived("counted").await?;
        settle(&provider, &consumer, since, "creation", 3).await?;

        let since = marks(&provider, &consumer)?;
        let change = json!({"spec": {"size": 2, "colours": ["red", "blue"]}});
        merge(&mine, "counted", change).await?;
        wait_until(&copies, "counted", "the new size", |copy| {
            copy.data["spec"]["size"] == 2
        })
        .await?;
        settle(&provider, &consumer, since, "spec change", 1).await?;

        let since = marks(&provider, &consumer)?;
        let status = json!({"status": {"phase": "Built"}});
        merge_status(&copies, "counted", status).await?;
        wait_until(&mine, "counted", "the status", |object| {
            object.data["status"]["phase"] == "Built"
        })
        .await?;
        settle(&provider, &consumer, since, "status change", 1).await?;

        // A clean stop, then a start with nothing changed.
        let before = (
            mine.get("counted").await?.resource_version(),
            copies.get("counted").await?.resource_version(),
        );
        consumer.stop_konnector().await?;
        let since = marks(&provider, &consumer)?;
        consumer.start_konnector()?;
        consumer.wait_konnector_ready().await?;
        // Proof that it works again, by an object whose own requests are taken out of the count.
        create(&mine, &widget("after", 1)).await?;
        arrived("after").await?;
        let mut requests = spent(&provider, &consumer, since)?;
        requests.retain(|request| request.name != "after");
        ensure!(
            requests.is_empty(),
            "a restart with nothing changed cost {:#?}",
            count_by_kind(&requests)
        );
        let after = (
            mine.get("counted").await?.resource_version(),
            copies.get("counted").await?.resource_version(),
        );
        ensure!(before == after, "a restart changes no resourceVersion");

        let since = marks(&provider, &consumer)?;
        mine.delete("counted", &DeleteParams::default()).await?;
        wait_gone(&mine, "counted").await?;
        wait_gone(&copies, "counted").await?;
        settle(&provider, &consumer, since, "deletion", 2).await
    })
}

/// The budget holds now and after the next thing that the konnector does, which shows that nothing
/// more was on its way: a probe object goes all the way through behind what is counted.
#[expect(clippy::print_stderr, reason = "the numbers are read by people")]
async fn settle(
    provider: &Provider,
    consumer: &Consumer,
    since: (Mark, Mark),
    what: &str,
    budget: usize,
) -> Result<()> {
    let probe = format!("probe-{}", what.replace(' ', "-"));
    let mine = widgets(&consumer.plane, "shop");
    create(&mine, &widget(&probe, 1)).await?;
    wait_until(&mine, &probe, "annotated", |object| {
        object
            .annotations()
            .contains_key("kube-bind.io/provider-uid")
    })
    .await?;
    mine.delete(&probe, &DeleteParams::default()).await?;
    wait_gone(&mine, &probe).await?;
    // The audit log is written as requests end, a little after their answers.
    eventually("the audit log of the probe", || async {
        spent(provider, consumer, since).is_ok_and(|all| {
            all.iter()
                .any(|request| request.name == probe && request.verb == "delete")
        })
    })
    .await
    .context(probe.clone())?;
    let mut requests = spent(provider, consumer, since)?;
    requests.retain(|request| request.name == "counted");
    let lists = lists(provider, consumer, since)?;
    ensure!(lists.is_empty(), "{what}: lists {lists:#?}");
    let lines: Vec<String> = requests
        .iter()
        .map(|request| format!("{} {} {}", request.kind(), request.code, request.uri))
        .collect();
    ensure!(
        requests.len() <= budget,
        "{what}: {} requests, at most {budget} allowed: {lines:#?}",
        requests.len()
    );
    ensure!(
        !requests.is_empty(),
        "{what}: the audit log names no request at all"
    );
    eprintln!("{what}: {} of at most {budget} requests", requests.len());
    Ok(())
}
