//! How many requests may be under way to one API server at a time. Adapts; does no IO itself.
//!
//! More concurrency is not more throughput: a bare client made 360 objects a second with eight requests
//! at a time, and 241 with 32 at six times the latency, on two cores that it shared with both API
//! servers. The limiter grows while answers come about as fast as on an idle server, and shrinks when
//! they wait in a queue there, or when the server says 429, fails or does not answer.

mod adaptation;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::cluster::Error;
use adaptation::Adaptation;

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
    lists: Semaphore,
}

/// Pages of lists that are read at a time. After a start there may be as many lists as namespaces,
/// each with a connection and a page in memory.
const LISTS: usize = 4;

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
        let state = State {
            adaptation,
            under_way: 0,
            surplus: 0,
            shrunk_at: None,
            not_before: None,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            permits,
            lists: Semaphore::new(LISTS),
        }))
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
        Permit {
            limiter: self.clone(),
            permit: Some(permit),
            began: Instant::now(),
        }
    }

    /// Waits for a turn to read a page of a list.
    pub(super) async fn acquire_list(&self) -> SemaphorePermit<'_> {
        let turn = self.0.lists.acquire().await;
        turn.expect("the semaphore is never closed")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .state
            .lock()
            .expect("no code panics while it holds the lock")
    }

    fn finish(&self, began: Instant, outcome: Outcome, permit: OwnedSemaphorePermit) {
        let mut state = self.state();
        let before = state.adaptation.limit();
        let under_way = state.under_way;
        match outcome {
            Outcome::Unused => {}
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
    Unused,
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
    /// The request is sent now: what was done before says nothing about how long the server takes.
    pub fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// The request was answered, or failed like this.
    pub fn done(mut self, error: Option<&Error>) {
        self.end(match error {
            Some(error) if error.is_overload() => Outcome::Overload(error.retry_after()),
            _ => Outcome::Answered,
        });
    }

    /// Nothing was sent, which says nothing about the server.
    pub fn unused(mut self) {
        self.end(Outcome::Unused);
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            self.limiter.finish(self.began, outcome, permit);
        }
    }
}

impl Drop for Permit {
    /// Nobody waited for the answer any longer: a time-out.
    fn drop(&mut self) {
        self.end(Outcome::Overload(None));
    }
}

#[cfg(test)]
mod tests {
    use super::adaptation::START;
    use super::*;

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
        limiter.acquire().await.done(Some(&Error::Throttled {
            retry_after: Some(wait),
        }));
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

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_nobody_used_says_nothing() {
        let limiter = Limiter::new();
        for _ in 0..100 {
            limiter.acquire().await.unused();
        }
        assert_eq!(limiter.0.permits.available_permits(), START);
        assert_eq!(limiter.limit(), START);
    }
}
