//! Clocks that jump, of our processes only. Their monotonic clock goes on, as it does when an
//! administrator or a time server sets a machine's clock.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kube_bind_e2e::run;

use crate::bed::{bed, during, swing};

#[test]
fn clocks_that_jump_do_no_harm() -> Result<()> {
    run(async {
        let bed = bed().await?;
        let library = library()?;
        let file = bed.consumer.plane.dir().join("clock");
        set(&file, "+0")?;
        let env = [
            ("LD_PRELOAD", text(&library)?),
            ("FAKETIME_TIMESTAMP_FILE", text(&file)?),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        bed.consumer.set_env(&env);
        bed.provider.set_env(&env);
        bed.consumer.stop_konnector().await?;
        let konnector = bed.consumer.start_konnector()?;
        bed.provider.kill_backend()?;
        bed.provider.start_backend().await?;
        let burst = bed.burst("clocks").await?;
        let trouble = async {
            // Ahead by more than a lease and a heartbeat, back before the start, and to and fro.
            for (copies, offset) in [(20, "+6h"), (80, "-6h"), (140, "+26h"), (200, "+0")] {
                swing(&burst, copies).await?;
                set(&file, offset)?;
            }
            Ok(())
        };
        during(burst.make(), trouble).await?;
        burst.settle().await?;
        let hours: Vec<String> = hours(&konnector.log());
        ensure!(
            hours.len() > 3,
            "the konnector's log knows only the hours {hours:?}: its clock did not jump"
        );
        konnector.check_running()?;
        bed.provider.backend()?.check_running()?;

        bed.consumer.set_env(&[]);
        bed.provider.set_env(&[]);
        bed.consumer.stop_konnector().await?;
        bed.consumer.start_konnector()?;
        bed.provider.kill_backend()?;
        bed.provider.start_backend().await?;
        bed.wait_binding("True").await
    })
}

/// The different hours in which a process wrote to its log.
fn hours(log: &str) -> Vec<String> {
    let mut hours: Vec<String> = log
        .lines()
        .filter_map(|line| {
            let at = line
                .find("20")
                .and_then(|start| line.get(start..start + 13))?;
            (at.as_bytes()[10] == b'T').then(|| at.to_owned())
        })
        .collect();
    hours.sort();
    hours.dedup();
    hours
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
