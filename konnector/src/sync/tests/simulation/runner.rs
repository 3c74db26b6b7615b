//! Plays many seeds on all cores, and tells how to repeat the one that failed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Instant;

use super::run::{Outcome, play};

/// Number of seeds, and the first one.
const NUMBER: &str = "SIM_SEEDS";
const FIRST: &str = "SIM_FROM";
/// How many may fail before the run ends.
const FAILURES: &str = "SIM_FAILURES";
/// Longest part of a trace that is shown.
const LINES: usize = 1_000;

#[derive(Default)]
struct Progress {
    next: AtomicU64,
    played: AtomicU64,
    requests: AtomicU64,
    stop: AtomicBool,
    /// The seeds that failed, and what they broke.
    failed: Mutex<BTreeMap<u64, String>>,
}

/// Plays the seeds that the environment asks for, or so many; panics with the first that fails.
pub(super) fn run(seeds: u64) {
    let setting = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    let count: u64 = setting(NUMBER).unwrap_or(seeds);
    let first: u64 = setting(FIRST).unwrap_or_default();
    let most: u64 = setting(FAILURES).unwrap_or(1);
    remember_panics();
    let progress = Arc::new(Progress::default());
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| work(&progress, first, count, most as usize));
        }
    });
    let played = progress.played.load(Ordering::Relaxed);
    let requests = progress.requests.load(Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let failed = progress
        .failed
        .lock()
        .map(|mut failed| std::mem::take(&mut *failed));
    let failed = failed.expect("no thread panics while it holds the lock");
    if let Some((seed, violation)) = failed.first_key_value() {
        let others: Vec<String> = failed
            .iter()
            .skip(1)
            .map(|(seed, why)| format!("seed {seed} too: {why}"))
            .collect();
        panic!(
            "{}\n{}",
            report(*seed, violation, played),
            others.join("\n")
        );
    }
    println!(
        "{played} schedules with {requests} requests in {seconds:.1} s, {:.0} a second",
        played as f64 / seconds
    );
}

fn work(progress: &Progress, first: u64, count: u64, most: usize) {
    while !progress.stop.load(Ordering::Relaxed) {
        let number = progress.next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return;
        }
        let seed = first + number;
        let outcome = attempt(seed, false);
        progress.played.fetch_add(1, Ordering::Relaxed);
        let violation = match outcome {
            Ok(outcome) => {
                progress
                    .requests
                    .fetch_add(u64::from(outcome.requests), Ordering::Relaxed);
                outcome.violation
            }
            Err(panic) => Some(panic),
        };
        if let Some(violation) = violation {
            let failed = progress.failed.lock();
            let mut failed = failed.expect("no thread panics while it holds the lock");
            failed.insert(seed, violation);
            progress
                .stop
                .fetch_or(failed.len() >= most, Ordering::Relaxed);
        }
    }
}

thread_local! {
    /// A panic of this thread: tasks keep theirs to themselves.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on threads remember how they panicked.
fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANIC.with_borrow_mut(|kept| *kept = Some(panic.to_string()));
            usual(panic);
        }));
    });
}

fn attempt(seed: u64, traced: bool) -> Result<Outcome, String> {
    let outcome = std::panic::catch_unwind(|| play(seed, traced));
    match (PANIC.take(), outcome) {
        (None, Ok(outcome)) => Ok(outcome),
        (panic, _) => Err(panic.unwrap_or_default()),
    }
}

fn report(seed: u64, violation: &str, played: u64) -> String {
    let lines = attempt(seed, true)
        .map(|outcome| outcome.lines)
        .unwrap_or_default();
    let shown = lines[lines.len().saturating_sub(LINES)..].join("\n");
    format!(
        "{shown}\n\nseed {seed} fails (schedule {played} of this run): {violation}\nagain: make sim SEEDS=1 FROM={seed}"
    )
}
