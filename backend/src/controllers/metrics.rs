//! What the controllers count. No IO.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Labels of a reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Labels {
    /// Name of the controller.
    pub controller: &'static str,
    /// `done`, `waiting` or `failed`.
    pub result: &'static str,
}

/// Label of a duration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ControllerLabel {
    /// Name of the controller.
    pub controller: &'static str,
}

/// Metrics of all controllers.
#[derive(Clone)]
pub struct Metrics {
    /// Reconciles by result.
    pub reconciles: Family<Labels, Counter>,
    /// How long they took.
    pub duration: Family<ControllerLabel, Histogram>,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.005, 2.0, 12))
            }),
        };
        registry.register(
            "kube_bind_backend_reconciles",
            "Reconciles by controller and result",
            metrics.reconciles.clone(),
        );
        registry.register(
            "kube_bind_backend_reconcile_duration_seconds",
            "Duration of reconciles",
            metrics.duration.clone(),
        );
        metrics
    }
}
