//! Processes that end without a word.

use anyhow::Result;
use kube_bind_e2e::{ControlPlane, run};

use crate::bed::{bed, during, swing};

#[test]
fn a_konnector_killed_in_mid_burst_goes_on_where_it_was() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("konnector-killed").await?;
        let trouble = async {
            for copies in [20, 100, 200] {
                swing(&burst, copies).await?;
                bed.consumer.kill_konnector()?;
                bed.consumer.start_konnector()?;
            }
            Ok(())
        };
        during(burst.make(), trouble).await?;
        burst.settle().await
    })
}

#[test]
fn api_servers_killed_in_mid_burst_lose_nothing() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("servers-killed").await?;
        let konnector = bed.consumer.konnector()?.pid();
        let trouble = async {
            for (copies, plane) in [(30, &bed.provider.plane), (120, &bed.consumer.plane)] {
                swing(&burst, copies).await?;
                plane.kill_api_server()?;
                plane.start_api_server().await?;
            }
            Ok(())
        };
        during(burst.make(), trouble).await?;
        burst.settle().await?;
        anyhow::ensure!(bed.consumer.konnector()?.pid() == konnector);
        bed.consumer.konnector()?.check_running()
    })
}

#[test]
fn etcd_killed_in_mid_burst_loses_nothing() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let burst = bed.burst("etcd-killed").await?;
        let trouble = async {
            for (copies, plane) in [(30, &bed.provider.plane), (120, &bed.consumer.plane)] {
                swing(&burst, copies).await?;
                etcd_away(plane).await?;
            }
            Ok(())
        };
        during(burst.make(), trouble).await?;
        burst.settle().await
    })
}

/// Until the API server, which stays, has noticed.
async fn etcd_away(plane: &ControlPlane) -> Result<()> {
    plane.kill_etcd()?;
    kube_bind_e2e::eventually("the API server to miss its etcd", || async {
        plane.kubectl(&["get", "--raw", "/readyz"]).await.is_err()
    })
    .await?;
    plane.start_etcd()?;
    plane.wait_ready().await
}
