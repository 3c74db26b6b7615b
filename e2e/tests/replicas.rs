//! Two backends of one provider: either takes requests, one of them leads, and the other takes over
//! when the leader is killed.

use anyhow::{Result, anyhow, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    as_consumer, create, create_namespace, service_namespace, wait_until,
};
use kube_bind_e2e::ports::Port;
use kube_bind_e2e::process::Process;
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::widgets::{self, TEMPLATE, widget, widgets};
use kube_bind_e2e::{run, wait_for};

const LEADS: &str = "leading by lease";

/// A second backend of the same provider, on other ports.
async fn second(provider: &Provider, api: &Port, ops: &Port) -> Result<Process> {
    let logs = provider.logs().join("second");
    std::fs::create_dir_all(&logs)?;
    let process = provider
        .launch_backend()?
        .replace("--listen-address", &api.address())
        .replace("--ops-address", &ops.address())
        .start(&logs)?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let ready = format!("http://{}/readyz", ops.address());
    process.wait_ready(&http, &ready).await?;
    Ok(process)
}

async fn holder(provider: &Provider) -> Result<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(provider.plane.client(), "kube-bind");
    let lease = leases.get("kube-bind-backend").await?;
    Ok(lease.spec.and_then(|spec| spec.holder_identity))
}

/// An object in a new namespace needs a controller for its service namespace.
async fn is_served(provider: &Provider, consumer: &Consumer, namespace: &str) -> Result<()> {
    create_namespace(&consumer.plane, namespace).await?;
    create(&widgets(&consumer.plane, namespace), &widget("one", 1)).await?;
    let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
    let service = service_namespace(&provider.plane, &cluster_namespace, namespace).await?;
    let copies = widgets(&provider.plane, &service);
    wait_until(&copies, "one", "at the provider", |_| true).await?;
    Ok(())
}

#[test]
fn either_of_two_backends_takes_binds_and_one_leads_until_it_is_killed() -> Result<()> {
    run(async {
        let options = ProviderOptions {
            without_operator: true,
            ..ProviderOptions::default()
        };
        let (provider, consumer) =
            tokio::try_join!(Provider::start(options), Consumer::start("consumer"))?;
        widgets::offer(&provider).await?;
        let (api, ops) = (Port::claim()?, Port::claim()?);
        let second = second(&provider, &api, &ops).await?;
        let leader = holder(&provider).await?;

        // The second is asked, the login is the first's, and the first's lease stays.
        let url = format!("http://{}", api.address());
        let args = ["--template-name", TEMPLATE];
        consumer
            .bind_reporting(&url, &provider.alice, &args, |_| {})
            .await?
            .success()?;
        is_served(&provider, &consumer, "before").await?;
        ensure!(second.log().contains("/api/bind"), "{}", second.log());
        ensure!(provider.backend()?.log().contains(LEADS));
        ensure!(!second.log().contains(LEADS), "{}", second.log());
        ensure!(leader.is_some() && holder(&provider).await? == leader);

        provider.kill_backend()?;
        wait_for("the second to lead", || async {
            let now = holder(&provider).await?;
            if now.is_some() && now != leader && second.log().contains(LEADS) {
                Ok(())
            } else {
                Err(anyhow!("{now:?}"))
            }
        })
        .await?;
        is_served(&provider, &consumer, "after").await?;
        second.check_running()
    })
}
