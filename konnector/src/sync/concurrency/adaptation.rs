//! The pure part of the limiter: answers in, limit out.

use std::time::Duration;

/// Where a fresh limiter begins.
pub(super) const START: usize = 4;
/// One person's change must always get through.
const MIN: usize = 1;
/// Nothing was ever gained above it.
const MAX: usize = 32;
/// Estimated requests waiting in the server: below the first grow, above the second shrink.
const QUEUE: (f64, f64) = (4.0, 7.0);
/// The idle latency is measured anew after this many answers, because servers change.
const FORGET_AFTER: u32 = 4_000;
/// The limit while it is measured. Under full load the latency of that load would be taken for that of
/// an idle server, and in a long burst the limit would grow each time.
const PROBE: usize = 2;
/// So many answers tell the idle latency.
const PROBES: usize = 8;

/// What the answers so far say about the right limit.
#[derive(Debug)]
pub(super) struct Adaptation {
    limit: usize,
    fastest: Option<Duration>,
    smoothed: Option<f64>,
    answers: u32,
    window: usize,
    /// Most requests that were under way in this window: an unused limit says nothing.
    used: usize,
    probe: Option<Probe>,
}

/// The idle latency is being measured.
#[derive(Debug)]
struct Probe {
    /// The limit before, and after.
    limit: usize,
    /// Answers until the end; the first of them are to requests from before.
    left: usize,
}

impl Adaptation {
    pub(super) fn new() -> Self {
        Self {
            limit: START,
            fastest: None,
            smoothed: None,
            answers: 0,
            window: 0,
            used: 0,
            probe: None,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// An answer within the server's means, and how many requests were under way.
    pub(super) fn answered(&mut self, latency: Duration, under_way: usize) {
        let latency = latency.max(Duration::from_micros(50));
        if self.probe.is_some() {
            self.probed(latency);
            return;
        }
        self.answers += 1;
        if self.answers >= FORGET_AFTER {
            self.answers = 0;
            self.fastest = None;
            self.probe = Some(Probe {
                limit: self.limit,
                left: under_way + PROBES,
            });
            self.limit = self.limit.min(PROBE);
            return;
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

    fn probed(&mut self, latency: Duration) {
        let Some(probe) = &mut self.probe else {
            return;
        };
        probe.left = probe.left.saturating_sub(1);
        if probe.left < PROBES {
            let fastest = self.fastest.map_or(latency, |fastest| fastest.min(latency));
            self.fastest = Some(fastest);
        }
        if probe.left == 0 {
            self.limit = probe.limit;
            self.probe = None;
            self.window = 0;
            self.used = 0;
        }
    }

    /// 429, a failure of the server, or no answer.
    pub(super) fn overloaded(&mut self) {
        if let Some(probe) = self.probe.take() {
            self.limit = probe.limit;
        }
        self.limit = (self.limit * 7 / 10).max(MIN);
        self.window = 0;
        self.used = 0;
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
    fn a_long_burst_does_not_raise_it_further_and_further() {
        let service = Duration::from_millis(2);
        let mut adaptation = Adaptation::new();
        for _ in 0..50 * FORGET_AFTER {
            let under_way = adaptation.limit();
            let latency = service.mul_f64((under_way as f64 / 2.0).max(1.0));
            adaptation.answered(latency, under_way);
            assert!(adaptation.limit() <= 10, "{}", adaptation.limit());
        }
        assert!(adaptation.limit() >= 5, "{}", adaptation.limit());
    }

    #[test]
    fn a_failure_ends_a_measurement_of_the_idle_latency() {
        let mut adaptation = Adaptation::new();
        for _ in 0..FORGET_AFTER {
            adaptation.answered(Duration::from_millis(2), START);
        }
        assert_eq!(adaptation.limit(), PROBE);
        adaptation.overloaded();
        assert!(adaptation.limit() > PROBE, "{}", adaptation.limit());
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
}
