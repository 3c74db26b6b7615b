//! How many requests may be under way to one API server at a time. Adapts; does no IO itself.
//!
//! More concurrency is not more throughput: on two cores eight requests at a time do 360 objects a
//! second, and 32 do 241 at six times the latency (design section 8). The limiter grows while
//! answers come about as fast as on an idle server, and shrinks when they wait in a queue there,
//! or when the server says 429, fails or does not answer.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::cluster::Error;

/// Where a fresh limiter begins.
const START: usize = 4;
/// One person's change must always get through.
const MIN: usize = 1;
/// Nothing was ever gained above it.
const MAX: usize = 32;
/// Estimated requests waiting in the server: below the first grow, above the second shrink.
const QUEUE: (f64, f64) = (4.0, 7.0);
/// The idle latency is measured anew after this many answers, because servers change.
const FORGET_AFTER: u32 = 4_000;

/// The pure part: answers in, limit out.
#[derive(Debug)]
pub(super) struct Adaptation {
    limit: usize,
    fastest: Option<Duration>,
    smoothed: Option<f64>,
    answers: u32,
    window: usize,
    /// Most requests that were under way in this window: an unused limit says nothing.
    used: usize,
}

impl Adaptation {
    pub(super) fn new() -> Self {
        Self { limit: START, fastest: None, smoothed: None, answers: 0, window: 0, used: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// An answer within the server's means, and how many requests were under way.
    pub(super) fn answered(&mut self, latency: Duration, under_way: usize) {
        let latency = latency.max(Duration::from_micros(50));
        self.answers += 1;
        if self.answers >= FORGET_AFTER {
            self.answers = 0;
            self.fastest = None;
        }
        let fastest = self.fastest.map_or(latency, |fastest| fastest.min(latency));
        self.fastest = Some(fastest);
        let sample = latency.as_secs_f64();
        let smoothed = self.smoothed.map_or(sample, |old| old * 0.9 + sample * 0.1);
        self.smoothed = Some(smoothed);
        self.used = self.used.max(under_way);
        self.window += 1;
        if self.window < self.limit * 4 {
            return;
        }
        let limit = self.limit as f64;
        let waiting = limit * (1.0 - (fastest.as_secs_f64() / smoothed).min(1.0));
        if waiting > QUEUE.1 {
            self.limit = (self.limit - 1).max(MIN);
        } else if waiting < QUEUE.0 && self.used >= self.limit {
            self.limit = (self.limit + 1).min(MAX);
        }
        self.window = 0;
        self.used = 0;
    }

    /// 429, a failure of the server, or no answer.
    pub(super) fn overloaded(&mut self) {
        self.limit = (self.limit * 7 / 10).max(MIN);
        self.window = 0;
        self.used = 0;
    }
}

struct State {
    adaptation: Adaptation,
    under_way: usize,
    /// Permits that exist beyond the limit and are withdrawn when they come back.
    surplus: usize,
    /// One shrink per burst of failures: requests that were sent before it do not count again.
    shrunk_at: Option<Instant>,
    /// Nothing is sent before this, because the server asked for it.
    not_before: Option<Instant>,
}

struct Shared {
    state: Mutex<State>,
    permits: Arc<Semaphore>,
}

/// Shared by everything that talks to one API server.
#[derive(Clone)]
pub struct Limiter(Arc<Shared>);

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Limiter {
    /// A limiter that knows nothing about its server yet.
    pub fn new() -> Self {
        let adaptation = Adaptation::new();
        let permits = Arc::new(Semaphore::new(adaptation.limit()));
        let state =
            State { adaptation, under_way: 0, surplus: 0, shrunk_at: None, not_before: None };
        Self(Arc::new(Shared { state: Mutex::new(state), permits }))
    }

    /// Requests that may be under way at a time, now.
    pub fn limit(&self) -> usize {
        self.state().adaptation.limit()
    }

    /// Waits for a turn, first come, first served.
    pub async fn acquire(&self) -> Permit {
        let permit = Arc::clone(&self.0.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        loop {
            let not_before = self.state().not_before;
            match not_before {
                Some(at) if at > Instant::now() => tokio::time::sleep_until(at).await,
                _ => break,
            }
        }
        self.state().under_way += 1;
        Permit { limiter: self.clone(), permit: Some(permit), began: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no code panics while it holds the lock")
    }

    fn finish(&self, began: Instant, outcome: Outcome, permit: OwnedSemaphorePermit) {
        let mut state = self.state();
        let before = state.adaptation.limit();
        let under_way = state.under_way;
        match outcome {
            Outcome::Answered => state.adaptation.answered(began.elapsed(), under_way),
            Outcome::Overload(retry_after) => {
                if state.shrunk_at.is_none_or(|at| began > at) {
                    state.adaptation.overloaded();
                    state.shrunk_at = Some(Instant::now());
                }
                if let Some(wait) = retry_after {
                    let at = Instant::now() + wait.min(Duration::from_secs(60));
                    state.not_before = Some(state.not_before.map_or(at, |old| old.max(at)));
                }
            }
        }
        state.under_way -= 1;
        let after = state.adaptation.limit();
        if after > before {
            let wanted = after - before;
            let kept = wanted.min(state.surplus);
            state.surplus -= kept;
            self.0.permits.add_permits(wanted - kept);
        }
        state.surplus += before.saturating_sub(after);
        if state.surplus > 0 {
            state.surplus -= 1;
            permit.forget();
        }
    }
}

enum Outcome {
    Answered,
    Overload(Option<Duration>),
}

/// The right to have one request under way.
pub struct Permit {
    limiter: Limiter,
    permit: Option<OwnedSemaphorePermit>,
    began: Instant,
}

impl Permit {
    /// The request was answered, or failed like this.
    pub fn done(mut self, error: Option<&Error>) {
        let outcome = match error {
            Some(error) if error.is_overload() => Outcome::Overload(error.retry_after()),
            _ => Outcome::Answered,
        };
        if let Some(permit) = self.permit.take() {
            self.limiter.finish(self.began, outcome, permit);
        }
    }
}

impl Drop for Permit {
    /// Nobody waited for the answer any longer: a time-out.
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.limiter.finish(self.began, Outcome::Overload(None), permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with `cores` that takes `service` per request and queues the rest.
    fn settle(cores: f64, service: Duration) -> usize {
        let mut adaptation = Adaptation::new();
        adaptation.answered(service, 1);
        for _ in 0..3_000 {
            let under_way = adaptation.limit();
            let latency = service.mul_f64((under_way as f64 / cores).max(1.0));
            adaptation.answered(latency, under_way);
        }
        adaptation.limit()
    }

    #[test]
    fn settles_near_eight_on_two_cores() {
        let limit = settle(2.0, Duration::from_millis(2));
        assert!((5..=10).contains(&limit), "{limit}");
    }

    #[test]
    fn uses_a_larger_server() {
        assert!(settle(16.0, Duration::from_millis(2)) >= 16);
    }

    #[test]
    fn does_not_grow_while_it_is_not_used() {
        let mut adaptation = Adaptation::new();
        for _ in 0..1_000 {
            adaptation.answered(Duration::from_millis(2), 1);
        }
        assert_eq!(adaptation.limit(), START);
    }

    #[test]
    fn failures_shrink_it_but_never_to_nothing() {
        let mut adaptation = Adaptation::new();
        for _ in 0..20 {
            adaptation.overloaded();
        }
        assert_eq!(adaptation.limit(), MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_failures_shrinks_once_and_permits_follow() {
        let limiter = Limiter::new();
        let mut permits = Vec::new();
        for _ in 0..START {
            permits.push(limiter.acquire().await);
        }
        for permit in permits {
            permit.done(Some(&Error::Throttled { retry_after: None }));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let limit = limiter.limit();
        assert_eq!(limit, START * 7 / 10);
        assert_eq!(limiter.0.permits.available_permits(), limit);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_obeyed() {
        let limiter = Limiter::new();
        let wait = Duration::from_secs(3);
        limiter.acquire().await.done(Some(&Error::Throttled { retry_after: Some(wait) }));
        let asked = Instant::now();
        limiter.acquire().await.done(None);
        assert!(asked.elapsed() >= wait);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_request_counts_as_a_time_out() {
        let limiter = Limiter::new();
        drop(limiter.acquire().await);
        assert!(limiter.limit() < START);
    }
}
