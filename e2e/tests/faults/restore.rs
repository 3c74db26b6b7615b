//! Backups that are older than what the other side knows, under a konnector that runs on.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::ListParams;
use kube_bind_crds::switches;
use kube_bind_e2e::bindings::{bindings, merge, switch};
use kube_bind_e2e::objects::{api, wait_until};
use kube_bind_e2e::widgets::TEMPLATE;
use kube_bind_e2e::{ControlPlane, run, wait_for};
use serde_json::json;

use crate::bed::{Burst, bed, change_all, make_all, remove_all};

/// Objects that are in the backup.
const KEPT: usize = 40;

/// What happened between the backup and the accident: `new` objects more, five fewer, five changed.
async fn go_on(burst: &Burst<'_>, new: usize) -> Result<()> {
    make_all(burst, "new", 0..new).await?;
    remove_all(burst, "old", 0..5).await?;
    change_all(burst, "old", 5..10).await?;
    burst.sides.wait_equal().await?;
    Ok(())
}

#[test]
fn a_provider_restored_from_an_older_backup_gets_everything_again() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("provider-restored").await?;
        make_all(&burst, "old", 0..KEPT).await?;
        burst.sides.wait_equal().await?;
        bed.provider.plane.back_up("before").await?;
        go_on(&burst, 10).await?;
        bed.provider.plane.restore("before").await?;
        let count = burst.sides.wait_equal().await?;
        ensure!(count == 1 + KEPT - 5 + 10, "{count} objects");
        burst.end().await
    })
}

/// The server's next version in its history.
async fn turn(plane: &ControlPlane, round: usize) -> Result<u64> {
    let namespaces = api(plane.client(), ("", "v1", "Namespace"), "");
    let round = json!({"metadata": {"annotations": {"round": round.to_string()}}});
    let written = merge(&namespaces, "default", round).await?;
    let version = written.resource_version().context("no version")?;
    Ok(version.parse()?)
}

#[test]
fn a_restored_provider_that_has_passed_our_position_before_we_are_back_is_listed_again()
-> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("provider-overtakes").await?;
        make_all(&burst, "old", 0..KEPT).await?;
        burst.sides.wait_equal().await?;
        let plane = &bed.provider.plane;
        plane.back_up("overtaken").await?;
        // Many, so that the server that starts again is behind for a while.
        go_on(&burst, 60).await?;
        bed.wait_binding("True").await?;
        let known = turn(plane, 0).await?;
        bed.to_provider.refuse();
        plane.restore("overtaken").await?;
        let mut rounds = 1;
        while turn(plane, rounds).await? <= known {
            rounds += 1;
        }
        ensure!(rounds > 1, "it was never behind");
        bed.to_provider.heal();
        let count = burst.sides.wait_equal().await?;
        ensure!(count == 1 + KEPT - 5 + 60, "{count} objects");
        burst.end().await
    })
}

#[test]
fn a_consumer_restored_from_an_older_backup_loses_no_copy_without_a_person() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("consumer-restored").await?;
        make_all(&burst, "old", 0..KEPT).await?;
        burst.sides.wait_equal().await?;
        bed.consumer.plane.back_up("before").await?;
        let new = 60;
        go_on(&burst, new).await?;
        bed.consumer.plane.restore("before").await?;

        // What the backup has is as it was, on both sides; what it has not is held.
        let held = wait_for(
            "old objects to be equal and new copies to be held",
            || async {
                let (count, differences) = burst.sides.differences().await?;
                let (orphans, others): (Vec<_>, Vec<_>) = differences
                    .into_iter()
                    .partition(|what| what.ends_with("is an orphan"));
                if count == 1 + KEPT && others.is_empty() {
                    Ok(orphans.len())
                } else {
                    Err(anyhow::anyhow!("{count} objects, {others:?}"))
                }
            },
        )
        .await?;
        ensure!(held == new, "{held} of {new} copies are left");

        // The one documented action lets them go.
        let plane = &bed.consumer.plane;
        switch(plane, TEMPLATE, (switches::RELEASE_DELETES, Some("true"))).await?;
        ensure!(burst.sides.wait_equal().await? == 1 + KEPT);
        switch(plane, TEMPLATE, (switches::RELEASE_DELETES, None)).await?;
        wait_until(&bindings(plane), TEMPLATE, "still there", |_| true).await?;
        let left = burst.theirs.list(&ListParams::default()).await?;
        ensure!(left.items.len() == 1 + KEPT + 2, "{}", left.items.len());
        burst.end().await
    })
}

#[test]
fn copies_of_a_few_objects_that_a_backup_has_not_go() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("few-vanish").await?;
        make_all(&burst, "old", 0..KEPT).await?;
        burst.sides.wait_equal().await?;
        bed.consumer.plane.back_up("few").await?;
        go_on(&burst, 5).await?;
        bed.consumer.plane.restore("few").await?;
        let count = burst.sides.wait_equal().await?;
        ensure!(count == 1 + KEPT, "{count} objects");
        burst.end().await
    })
}
