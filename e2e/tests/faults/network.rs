//! Networks that fail, and servers that are slow, busy or broken.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube_bind_e2e::bindings::merge;
use kube_bind_e2e::objects::wait_until;
use kube_bind_e2e::proxy::{Answer, Faults};
use kube_bind_e2e::run;
use serde_json::json;

use crate::bed::{bed, during, swing};

#[test]
fn a_partition_between_the_clusters_ends_without_a_restart() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("partition").await?;
        let konnector = bed.consumer.konnector()?.pid();
        let trouble = async {
            swing(&burst, 50).await?;
            bed.to_provider.refuse();
            bed.wait_binding("False").await?;
            bed.to_provider.heal();
            swing(&burst, 150).await?;
            // Now without a word to anybody.
            bed.to_provider.silence();
            bed.wait_binding("False").await?;
            bed.to_provider.heal();
            Ok(())
        };
        during(burst.make(), trouble).await?;
        burst.settle().await?;
        ensure!(bed.consumer.konnector()?.pid() == konnector);
        bed.consumer.konnector()?.check_running()
    })
}

#[test]
fn slow_busy_and_flapping_servers_only_cost_time() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("flapping").await?;
        let answer = |every, status, retry_after| Answer {
            every,
            status,
            retry_after,
        };
        // A sixth of all requests, in primes, so that the faults meet in every combination.
        let faults = Faults {
            latency: Duration::from_millis(3),
            answer: vec![
                answer(23, 429, Some(1)),
                answer(29, 503, None),
                answer(31, 500, None),
            ],
            reset_every: Some(41),
            cut_every: Some(37),
        };
        let before = (bed.to_provider.requests(), bed.to_consumer.requests());
        let trouble = async {
            swing(&burst, 20).await?;
            bed.to_provider.disturb(faults.clone());
            swing(&burst, 100).await?;
            bed.to_consumer.disturb(faults.clone());
            Ok(())
        };
        during(burst.make(), trouble).await?;
        // Both still flap while the sides become equal.
        burst.sides.wait_equal().await?;
        let asked = (
            bed.to_provider.requests() - before.0,
            bed.to_consumer.requests() - before.1,
        );
        ensure!(asked.0 > 200 && asked.1 > 200, "{asked:?} requests");
        burst.settle().await
    })
}

#[test]
fn watches_that_fall_silent_are_opened_again() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("half-closed").await?;
        bed.to_provider.deafen_watches();
        bed.to_consumer.deafen_watches();
        burst.make().await?;
        burst.settle().await?;
        // Single changes in both directions, after the last of them.
        let after = bed.burst("heard-again").await?;
        let change = json!({"spec": {"size": 5}});
        merge(&after.mine, "first", change).await?;
        let back = wait_until(&after.mine, "first", "status of the change", |object| {
            object.data["status"]["phase"] == "size 5"
        })
        .await?;
        ensure!(back.name_any() == "first");
        Ok(())
    })
}
