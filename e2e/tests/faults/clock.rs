//! Clocks that jump, of our processes only. Their monotonic clock goes on, as it does when an
//! administrator or a time server sets a machine's clock.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube_bind_crds::names;
use kube_bind_e2e::{run, wait_for};

use crate::bed::{Bed, bed, during, swing};

#[test]
fn clocks_that_jump_do_no_harm() -> Result<()> {
    run(async {
        let bed = &*bed().await?;
        let library = library()?;
        let file = bed.consumer.plane.dir().join("clock");
        set(&file, "+0")?;
        let env = [
            ("LD_PRELOAD", text(&library)?),
            ("FAKETIME_TIMESTAMP_FILE", text(&file)?),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        bed.provider.set_env(&env);
        bed.consumer.stop_konnector().await?;
        let mut launch = bed.consumer.launch_konnector()?;
        for (key, value) in env {
            launch = launch.env(key, value);
        }
        let konnector = bed.consumer.keep_konnector(launch)?;
        bed.provider.kill_backend()?;
        bed.provider.start_backend().await?;
        let burst = bed.burst("clocks").await?;
        let start = renewed(bed).await?;
        let trouble = async {
            // Ahead by more than a lease and a heartbeat, back before the start, and to and fro.
            for (copies, hours) in [(20, 6), (80, -6), (140, 26), (200, 0)] {
                swing(&burst, copies).await?;
                set(&file, &format!("{hours:+}h"))?;
                wait_for("the konnector's clock to jump", || async {
                    let ahead = renewed(bed).await? - start;
                    ensure!((ahead as f64 / 3600.0).round() as i64 == hours, "{ahead} s");
                    anyhow::Ok(())
                })
                .await?;
            }
            Ok(())
        };
        during(burst.make(), trouble).await?;
        burst.settle().await?;
        konnector.check_running()?;
        bed.provider.backend()?.check_running()?;

        bed.provider.set_env(&[]);
        bed.consumer.stop_konnector().await?;
        bed.consumer.start_konnector()?;
        bed.provider.kill_backend()?;
        bed.provider.start_backend().await?;
        bed.wait_binding("True").await
    })
}

/// When the konnector renewed its lease last, by its own clock, in seconds.
async fn renewed(bed: &Bed) -> Result<i64> {
    let namespace = names::KONNECTOR_NAMESPACE;
    let leases: Api<Lease> = Api::namespaced(bed.consumer.plane.client(), namespace);
    let lease = leases.get(names::KONNECTOR_LEASE).await?;
    let renewed = lease.spec.and_then(|spec| spec.renew_time);
    Ok(renewed.context("nobody leads")?.0.as_second())
}

fn set(file: &Path, offset: &str) -> Result<()> {
    // At once, or a process could read half of it.
    let new = file.with_extension("new");
    std::fs::write(&new, offset).context("failed to write the clock")?;
    std::fs::rename(&new, file).context("failed to set the clock")
}

fn library() -> Result<PathBuf> {
    let found = std::fs::read_dir("/usr/lib")?
        .filter_map(Result::ok)
        .map(|dir| dir.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.is_file());
    found.context("libfaketime is not installed: e2e/tools/prerequisites does it")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path is not text")
}
