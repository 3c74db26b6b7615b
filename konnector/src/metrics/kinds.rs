//! What the engine of one bound kind measures: latencies, writes, the queue, objects by state. A kind
//! is shown as long as its engine runs, so that nothing is left of a binding that is gone. No IO.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::sync::{Counts, EngineMetrics, Side, Verb, WriteResult};

/// From the fastest that a request can be to what a person notices.
const SECONDS: [f64; 14] = [
    0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
];
const SIDES: [(Side, &str); 2] = [(Side::Consumer, "consumer"), (Side::Provider, "provider")];
const VERBS: [(Verb, &str); 3] = [
    (Verb::Apply, "apply"),
    (Verb::Patch, "patch"),
    (Verb::Delete, "delete"),
];
const RESULTS: [(WriteResult, &str); 4] = [
    (WriteResult::Success, "success"),
    (WriteResult::Conflict, "conflict"),
    (WriteResult::Refused, "refused"),
    (WriteResult::Failed, "failed"),
];

/// Labels of exemplars, of which there are none.
type NoExemplar = Vec<(&'static str, &'static str)>;
/// Binding and kind, the only labels that grow with what is bound.
type Key = (String, String);

/// All kinds with an engine.
#[derive(Clone, Debug, Default)]
pub struct Kinds(Arc<Mutex<BTreeMap<Key, Weak<Kind>>>>);

/// Measurements of one kind of one binding.
#[derive(Debug)]
pub struct Kind {
    created: Histogram,
    changed: Histogram,
    status_back: Histogram,
    writes: [[[AtomicU64; 4]; 3]; 2],
    queues: Mutex<HashMap<u64, (usize, Option<Instant>)>>,
    counts: OnceLock<watch::Receiver<Counts>>,
}

impl Kinds {
    /// Measurements of an engine that starts; they end when it drops them.
    pub fn start(&self, binding: &str, kind: &str) -> Arc<Kind> {
        let histogram = || Histogram::new(SECONDS);
        let measured = Arc::new(Kind {
            created: histogram(),
            changed: histogram(),
            status_back: histogram(),
            writes: Default::default(),
            queues: Mutex::default(),
            counts: OnceLock::new(),
        });
        let mut all = self.lock();
        all.retain(|_, kind| kind.strong_count() > 0);
        let key = (binding.to_owned(), kind.to_owned());
        all.insert(key, Arc::downgrade(&measured));
        measured
    }

    fn all(&self) -> Vec<(Key, Arc<Kind>)> {
        let all = self.lock();
        all.iter()
            .filter_map(|(key, kind)| Some((key.clone(), kind.upgrade()?)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Weak<Kind>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    /// Where the engine says how its objects are doing.
    pub fn follow(&self, counts: watch::Receiver<Counts>) {
        // An engine is followed once, when it starts.
        let _ = self.counts.set(counts);
    }

    fn states(&self) -> [(&'static str, usize); 7] {
        let counts = match self.counts.get() {
            Some(counts) => counts.borrow().clone(),
            None => Counts::default(),
        };
        [
            ("synced", counts.synced),
            ("pending", counts.pending),
            ("rejected", counts.rejected),
            ("conflict", counts.conflict),
            ("waiting_namespace", counts.waiting_namespace),
            ("orphan", counts.orphans),
            ("held", counts.held),
        ]
    }

    fn queued(&self) -> (u64, f64) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let depth: usize = queues.values().map(|(depth, _)| depth).sum();
        let oldest = queues.values().filter_map(|(_, oldest)| *oldest).min();
        let age = oldest.map_or(Duration::ZERO, |oldest| oldest.elapsed());
        (u64::try_from(depth).unwrap_or(u64::MAX), age.as_secs_f64())
    }
}

impl EngineMetrics for Kind {
    fn visible(&self, created: bool, after: Duration) {
        let histogram = if created {
            &self.created
        } else {
            &self.changed
        };
        histogram.observe(after.as_secs_f64());
    }

    fn status_back(&self, after: Duration) {
        self.status_back.observe(after.as_secs_f64());
    }

    fn wrote(&self, side: Side, verb: Verb, result: WriteResult) {
        let side = SIDES.iter().position(|(s, _)| *s == side);
        let verb = VERBS.iter().position(|(v, _)| *v == verb);
        let result = RESULTS.iter().position(|(r, _)| *r == result);
        if let (Some(side), Some(verb), Some(result)) = (side, verb, result) {
            self.writes[side][verb][result].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn queue(&self, engine: u64, depth: usize, oldest: Option<Instant>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if depth == 0 && oldest.is_none() {
            queues.remove(&engine);
        } else {
            queues.insert(engine, (depth, oldest));
        }
    }
}

impl Collector for Kinds {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let all = self.all();
        let labels = |key: &Key, more: &[(&'static str, &'static str)]| {
            let mut labels = vec![("binding", key.0.clone()), ("kind", key.1.clone())];
            labels.extend(
                more.iter()
                    .map(|(name, value)| (*name, (*value).to_owned())),
            );
            labels
        };

        let mut gauge = encoder.encode_descriptor(
            "kube_bind_objects",
            "Objects by state; held and orphan are copies on the provider without an object",
            None,
            MetricType::Gauge,
        )?;
        for (key, kind) in &all {
            for (state, number) in kind.states() {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                gauge
                    .encode_family(&labels(key, &[("state", state)]))?
                    .encode_gauge(&number)?;
            }
        }
        let mut gauge = encoder.encode_descriptor(
            "kube_bind_queue_depth",
            "Objects that wait for their turn",
            None,
            MetricType::Gauge,
        )?;
        for (key, kind) in &all {
            let depth = i64::try_from(kind.queued().0).unwrap_or(i64::MAX);
            gauge
                .encode_family(&labels(key, &[]))?
                .encode_gauge(&depth)?;
        }
        let mut gauge = encoder.encode_descriptor(
            "kube_bind_queue_oldest_seconds",
            "How long the oldest of them has waited",
            None,
            MetricType::Gauge,
        )?;
        for (key, kind) in &all {
            let age = kind.queued().1;
            gauge.encode_family(&labels(key, &[]))?.encode_gauge(&age)?;
        }
        let mut histogram = encoder.encode_descriptor(
            "kube_bind_visible_seconds",
            "From the event of a consumer's change until the provider has it",
            None,
            MetricType::Histogram,
        )?;
        for (key, kind) in &all {
            for (operation, seen) in [("create", &kind.created), ("change", &kind.changed)] {
                let labels = labels(key, &[("operation", operation)]);
                seen.encode(histogram.encode_family(&labels)?)?;
            }
        }
        let mut histogram = encoder.encode_descriptor(
            "kube_bind_status_back_seconds",
            "From the event of a provider's status until the consumer has it",
            None,
            MetricType::Histogram,
        )?;
        for (key, kind) in &all {
            let labels = labels(key, &[]);
            kind.status_back.encode(histogram.encode_family(&labels)?)?;
        }
        let mut counter = encoder.encode_descriptor(
            "kube_bind_writes",
            "Writes of objects by side, verb and result",
            None,
            MetricType::Counter,
        )?;
        for (key, kind) in &all {
            for (s, (_, side)) in SIDES.iter().enumerate() {
                for (v, (_, verb)) in VERBS.iter().enumerate() {
                    for (r, (_, result)) in RESULTS.iter().enumerate() {
                        let number = kind.writes[s][v][r].load(Ordering::Relaxed);
                        if number > 0 {
                            let labels =
                                labels(key, &[("side", side), ("verb", verb), ("result", result)]);
                            counter
                                .encode_family(&labels)?
                                .encode_counter::<NoExemplar, _, f64>(&number, None)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    fn text(kinds: &Kinds) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(kinds.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn everything_that_an_engine_measures_is_shown_and_goes_with_it() {
        let kinds = Kinds::default();
        let kind = kinds.start("b", "widgets.example.org");
        kind.visible(true, Duration::from_millis(7));
        kind.visible(false, Duration::from_secs(100));
        kind.status_back(Duration::from_millis(30));
        kind.wrote(Side::Provider, Verb::Apply, WriteResult::Success);
        kind.wrote(Side::Provider, Verb::Apply, WriteResult::Success);
        kind.wrote(Side::Consumer, Verb::Patch, WriteResult::Conflict);
        kind.queue(1, 3, Some(Instant::now()));
        kind.queue(2, 2, None);
        let counts = Counts {
            synced: 9,
            held: 4,
            ..Counts::default()
        };
        let (_sender, receiver) = watch::channel(counts);
        kind.follow(receiver);
        tokio::time::advance(Duration::from_secs(5)).await;
        let shown = text(&kinds);
        let labels = r#"binding="b",kind="widgets.example.org""#;
        for line in [
            format!(r#"kube_bind_objects{{{labels},state="synced"}} 9"#),
            format!(r#"kube_bind_objects{{{labels},state="held"}} 4"#),
            format!("kube_bind_queue_depth{{{labels}}} 5"),
            format!("kube_bind_queue_oldest_seconds{{{labels}}} 5.0"),
            format!(r#"kube_bind_visible_seconds_count{{{labels},operation="create"}} 1"#),
            format!(
                r#"kube_bind_visible_seconds_bucket{{le="0.01",{labels},operation="create"}} 1"#
            ),
            format!(
                r#"kube_bind_visible_seconds_bucket{{le="60.0",{labels},operation="change"}} 0"#
            ),
            format!("kube_bind_status_back_seconds_count{{{labels}}} 1"),
            format!(
                r#"kube_bind_writes_total{{{labels},side="provider",verb="apply",result="success"}} 2"#
            ),
            format!(
                r#"kube_bind_writes_total{{{labels},side="consumer",verb="patch",result="conflict"}} 1"#
            ),
        ] {
            assert!(shown.contains(&line), "{line} is not in\n{shown}");
        }
        kind.queue(1, 0, None);
        kind.queue(2, 0, None);
        assert!(text(&kinds).contains(&format!("kube_bind_queue_depth{{{labels}}} 0")));

        // The engine is exchanged: its kind is shown once, and no more when it ends.
        let next = kinds.start("b", "widgets.example.org");
        let shown = text(&kinds);
        assert_eq!(shown.matches("kube_bind_queue_depth{").count(), 1);
        drop((kind, next));
        assert!(!text(&kinds).contains("example.org"));
    }
}
