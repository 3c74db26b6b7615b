//! What the konnector counts. No IO; the listener reads the registry.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// Well.
    Success,
    /// Not well; it is tried again.
    Error,
}

impl<T, E> From<&Result<T, E>> for Outcome {
    fn from(result: &Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Success,
            Err(_) => Self::Error,
        }
    }
}

/// Labels of everything that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    controller: &'static str,
    result: Outcome,
}

/// All metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    looks: Family<Labels, Counter>,
    leading: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            looks: Family::default(),
            leading: Gauge::default(),
        };
        registry.register(
            "kube_bind_reconciles",
            "Looks at an object, by controller and result",
            metrics.looks.clone(),
        );
        registry.register(
            "kube_bind_leading",
            "1 while this replica leads",
            metrics.leading.clone(),
        );
        metrics
    }

    /// A look at a binding ended.
    pub fn looked_at_binding(&self, result: Outcome) {
        self.count("binding", result);
    }

    /// A look at a bundle ended.
    pub fn looked_at_bundle(&self, well: bool) {
        let result = if well {
            Outcome::Success
        } else {
            Outcome::Error
        };
        self.count("bundle", result);
    }

    /// A heartbeat ended.
    pub fn beat(&self, result: Outcome) {
        self.count("heartbeat", result);
    }

    /// Begins or stops to lead.
    pub fn leads(&self, leads: bool) {
        self.leading.set(leads.into());
    }

    fn count(&self, controller: &'static str, result: Outcome) {
        self.looks
            .get_or_create(&Labels { controller, result })
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_apart() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.looked_at_binding(Outcome::Success);
        metrics.beat(Outcome::from(&Err::<(), _>("x")));
        metrics.leads(true);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"kube_bind_reconciles_total{controller="binding",result="Success"} 1"#,
            r#"kube_bind_reconciles_total{controller="heartbeat",result="Error"} 1"#,
            "kube_bind_leading 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
