//! What the konnector counts and measures; `docs/OPERATIONS.md` lists it. No IO; the listener reads
//! the registry.

mod expiry;
mod kinds;
mod watches;

use std::sync::Arc;

use kube::Client;
use kube_bind_crds::api::ClusterSecretKeyRef;
use kube_bind_runtime::kubeconfig::SafeKubeconfig;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use kinds::Kind;
use kinds::Kinds;

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Well.
    Success,
    /// Not well; it is tried again.
    Error,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Success => "success",
            Self::Error => "error",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBinding {
    binding: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSecret {
    secret: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSide {
    side: &'static str,
}

/// All metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    looks: Family<Labels, Counter>,
    leading: Gauge,
    ready: Family<OfBinding, Gauge>,
    expiry: Family<OfSecret, Gauge>,
    watches: Family<OfSide, Gauge>,
    kinds: Kinds,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            looks: Family::default(),
            leading: Gauge::default(),
            ready: Family::default(),
            expiry: Family::default(),
            watches: Family::default(),
            kinds: Kinds::default(),
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
        registry.register(
            "kube_bind_binding_ready",
            "1 while a binding is ready; only the leader says so",
            metrics.ready.clone(),
        );
        registry.register(
            "kube_bind_credential_expiry_timestamp_seconds",
            "When the credential of a provider ends, if it says so",
            metrics.expiry.clone(),
        );
        registry.register(
            "kube_bind_watches",
            "Open watches by side",
            metrics.watches.clone(),
        );
        registry.register_collector(Box::new(metrics.kinds.clone()));
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

    /// Begins or stops to lead. Who does not lead knows nothing of bindings and credentials.
    pub fn leads(&self, leads: bool) {
        self.leading.set(leads.into());
        if !leads {
            self.ready.clear();
            self.expiry.clear();
        }
    }

    /// How a binding is.
    pub fn binding_is(&self, binding: &str, ready: bool) {
        let binding = binding.to_owned();
        self.ready
            .get_or_create(&OfBinding { binding })
            .set(ready.into());
    }

    /// A binding is gone.
    pub fn forget_binding(&self, binding: &str) {
        let binding = binding.to_owned();
        self.ready.remove(&OfBinding { binding });
    }

    /// A kubeconfig is in use.
    pub fn uses(&self, secret: &ClusterSecretKeyRef, kubeconfig: &SafeKubeconfig) {
        let labels = of_secret(secret);
        match expiry::of(kubeconfig.credential()) {
            Some(ends) => {
                self.expiry.get_or_create(&labels).set(ends);
            }
            None => {
                self.expiry.remove(&labels);
            }
        }
    }

    /// A kubeconfig is not in use any more.
    pub fn forget_secret(&self, secret: &ClusterSecretKeyRef) {
        self.expiry.remove(&of_secret(secret));
    }

    /// Measurements of the engine of a kind.
    pub fn kind(&self, binding: &str, kind: &str) -> Arc<Kind> {
        self.kinds.start(binding, kind)
    }

    /// A client of the consumer whose watches are counted.
    pub fn on_consumer(&self, client: Client) -> Client {
        self.counted(client, "consumer")
    }

    /// A client of a provider whose watches are counted.
    pub fn on_provider(&self, client: Client) -> Client {
        self.counted(client, "provider")
    }

    fn counted(&self, client: Client, side: &'static str) -> Client {
        let gauge = self.watches.get_or_create(&OfSide { side }).clone();
        watches::counted(client, &gauge)
    }

    fn count(&self, controller: &'static str, result: Outcome) {
        self.looks
            .get_or_create(&Labels { controller, result })
            .inc();
    }
}

fn of_secret(secret: &ClusterSecretKeyRef) -> OfSecret {
    OfSecret {
        secret: format!("{}/{}", secret.namespace, secret.name),
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
            r#"kube_bind_reconciles_total{controller="binding",result="success"} 1"#,
            r#"kube_bind_reconciles_total{controller="heartbeat",result="error"} 1"#,
            "kube_bind_leading 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn nothing_stays_of_what_is_gone() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let secret = |name: &str| ClusterSecretKeyRef {
            name: name.into(),
            namespace: "kube-bind".into(),
            key: "kubeconfig".into(),
        };
        let token = "e30.eyJleHAiOjE3NjcyMjU2MDAsInN1YiI6IngifQ.c2ln";
        let document =
            kube_bind_runtime::kubeconfig::render("https://p.example", None, None, "t", token);
        let kubeconfig = SafeKubeconfig::parse(document.as_bytes(), Default::default()).unwrap();
        for name in ["a", "b"] {
            metrics.binding_is(name, true);
            metrics.uses(&secret(name), &kubeconfig);
        }
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let expiry =
            r#"kube_bind_credential_expiry_timestamp_seconds{secret="kube-bind/b"} 1767225600"#;
        assert!(
            text().contains(expiry) && text().contains(r#"kube_bind_binding_ready{binding="b"} 1"#)
        );
        metrics.forget_binding("a");
        metrics.forget_secret(&secret("a"));
        assert!(!text().contains(r#""a""#) && !text().contains("kube-bind/a"));
        metrics.leads(false);
        assert!(!text().contains(r#"binding="b""#) && !text().contains("kube-bind/b"));
    }
}
