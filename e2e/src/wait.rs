//! Waiting for conditions. Tests never sleep for a fixed time: they name what must become true.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Long enough for a machine that is busy with other tests; reached only when something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_millis(50);

/// Polls until `probe` gives a value. `Err` means "not yet, because": the last one is shown when
/// patience ends.
pub async fn wait_for<T, F, Fut, E>(what: &str, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Display,
{
    wait_for_up_to(PATIENCE, what, &mut probe).await
}

/// [`wait_for`] with its own patience.
pub async fn wait_for_up_to<T, F, Fut, E>(patience: Duration, what: &str, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Display,
{
    let start = Instant::now();
    let mut last = "no attempt ended".to_owned();
    while start.elapsed() < patience {
        let left = patience.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => break,
        }
        tokio::time::sleep(INTERVAL).await;
    }
    crate::rundir::keep_all();
    Err(anyhow!(
        "waited {} s for {what}; at last: {last}",
        patience.as_secs()
    ))
}

/// Polls until `probe` says yes.
pub async fn eventually<F, Fut>(what: &str, mut probe: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    wait_for(what, || {
        let answer = probe();
        async move { if answer.await { Ok(()) } else { Err("not yet") } }
    })
    .await
}
