//! Two replicas, and the leader dies without a word: how long until the other one leads, and until it
//! syncs.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube_bind_e2e::objects::create;
use kube_bind_e2e::objects::service_namespace;
use kube_bind_e2e::ports::Port;
use kube_bind_e2e::process::Process;
use kube_bind_e2e::wait_for;
use kube_bind_e2e::widgets::{widget, widgets};

use crate::bed::{Bed, LATENCY};
use crate::report::{Report, below};

const STANDBY: &str = "konnector-1";

pub async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let plane = &bed.consumer.plane;
    let health = Port::claim()?;
    let launch = bed.consumer.launch_konnector()?;
    let launch = launch
        .replace("--server-address", &health.address())
        .env("POD_NAME", STANDBY);
    let standby: Arc<Process> = Arc::new(launch.start(plane.dir())?);
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/readyz", health.address());
    standby.wait_ready(&http, &url).await?;

    bed.consumer.kill_konnector()?;
    let died = Instant::now();
    let leases: Api<Lease> = Api::namespaced(plane.client(), "kube-bind");
    wait_for("the other replica to lead", || async {
        let lease = leases.get("kube-bind").await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        anyhow::ensure!(holder.as_deref() == Some(STANDBY), "{holder:?} leads");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    report.judged(
        "fail-over, the other one leads",
        below(5.0),
        died.elapsed().as_secs_f64(),
        "s",
    );
    let mine = widgets(plane, LATENCY);
    create(&mine, &widget("after-fail-over", 1)).await?;
    let service = service_namespace(&bed.provider.plane, &bed.cluster_namespace, LATENCY).await?;
    let copies = widgets(&bed.provider.plane, &service);
    wait_for("the first object after the fail-over", || {
        copies.get("after-fail-over")
    })
    .await?;
    report.row(
        "fail-over, the other one syncs",
        died.elapsed().as_secs_f64(),
        "s",
    );
    mine.delete("after-fail-over", &Default::default())
        .await
        .context("failed to delete")?;
    kube_bind_e2e::objects::wait_gone(&mine, "after-fail-over").await?;
    standby.terminate()?;
    standby.wait_exit().await?;
    bed.consumer.start_konnector()?;
    bed.consumer.wait_konnector_ready().await
}
