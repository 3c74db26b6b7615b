//! The kinds of these tests: one for each way in which a provider can offer one. No IO but the offer.

use anyhow::Result;
use kube::api::{Api, DynamicObject};
use kube_bind_e2e::ControlPlane;
use kube_bind_e2e::objects::api;
use kube_bind_e2e::provider::Provider;
use kube_bind_e2e::widgets;
use serde_json::{Value, json};

/// How a provider keeps its consumers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    None,
    Prefixed,
    Namespaced,
}

/// A row of the table of modes.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Kind; its plural, its offering and its binding are named after it.
    pub kind: &'static str,
    /// `--isolation` of the backend.
    pub isolation: Isolation,
    /// `--consumer-scope` of the backend.
    pub informers: &'static str,
    /// Whether the provider's kind is cluster-scoped.
    pub cluster: bool,
}

const fn row(
    kind: &'static str,
    isolation: Isolation,
    informers: &'static str,
    cluster: bool,
) -> Row {
    Row {
        kind,
        isolation,
        informers,
        cluster,
    }
}

/// All rows in which a kind can be had, those of one backend side by side.
pub const ROWS: [Row; 10] = [
    row("Alpha", Isolation::Prefixed, "namespaced", false),
    row("Beta", Isolation::Prefixed, "namespaced", true),
    row("Gamma", Isolation::Prefixed, "cluster", false),
    row("Delta", Isolation::Prefixed, "cluster", true),
    row("Epsilon", Isolation::None, "namespaced", false),
    row("Zeta", Isolation::None, "namespaced", true),
    row("Eta", Isolation::None, "cluster", false),
    row("Theta", Isolation::None, "cluster", true),
    row("Iota", Isolation::Namespaced, "namespaced", false),
    row("Kappa", Isolation::Namespaced, "cluster", false),
];

impl Row {
    pub fn plural(&self) -> String {
        format!("{}s", self.kind.to_lowercase())
    }

    /// Flags of the backend.
    pub fn flags(&self) -> [&'static str; 4] {
        let isolation = match self.isolation {
            Isolation::None => "none",
            Isolation::Prefixed => "prefixed",
            Isolation::Namespaced => "namespaced",
        };
        ["--isolation", isolation, "--consumer-scope", self.informers]
    }

    /// Whether consumers see namespaces.
    pub fn is_namespaced(&self) -> bool {
        !self.cluster && self.isolation != Isolation::Namespaced
    }

    /// Namespace on the consumer of this row's objects, empty for cluster-scoped ones.
    pub fn consumer_namespace(&self) -> String {
        if self.is_namespaced() {
            format!("team-{}", self.kind.to_lowercase())
        } else {
            String::new()
        }
    }

    /// Namespace and name of the copy.
    pub fn copy_of(&self, cluster_namespace: &str, name: &str) -> (String, String) {
        let namespace = self.consumer_namespace();
        match (self.is_namespaced(), self.isolation) {
            (true, Isolation::None) => (namespace, name.to_owned()),
            (true, _) => (format!("{cluster_namespace}-{namespace}"), name.to_owned()),
            (false, Isolation::None) => (String::new(), name.to_owned()),
            (false, Isolation::Prefixed) => (String::new(), format!("{cluster_namespace}-{name}")),
            (false, Isolation::Namespaced) => (cluster_namespace.to_owned(), name.to_owned()),
        }
    }

    pub fn api(&self, plane: &ControlPlane, namespace: &str) -> Api<DynamicObject> {
        api(plane.client(), ("example.org", "v1", self.kind), namespace)
    }

    /// An object as a user would write it, with content outside of its spec too.
    pub fn object(&self, name: &str) -> Value {
        json!({
            "apiVersion": "example.org/v1", "kind": self.kind,
            "metadata": {
                "name": name,
                "labels": {"team": "shop", "tier": "gold"},
                "annotations": {"example.org/note": "first", "example.org/kept": "yes"},
            },
            "spec": {"size": 1, "colours": ["red"]},
            "data": {"motto": "eins"},
        })
    }
}

/// The kind as the provider has it.
pub fn crd(plural: &str, kind: &str, scope: &str) -> Value {
    let mut crd = widgets::crd(plural, kind, true);
    crd["spec"]["scope"] = scope.into();
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["data"] =
        json!({"type": "object", "additionalProperties": {"type": "string"}});
    schema["properties"]["spec"]["properties"]["free"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    crd
}

/// Puts all kinds and their offerings in place.
pub async fn offer(provider: &Provider) -> Result<()> {
    let mut objects = Vec::new();
    for row in &ROWS {
        let scope = if row.cluster { "Cluster" } else { "Namespaced" };
        objects.push(crd(&row.plural(), row.kind, scope));
        objects.push(widgets::template(&row.plural(), &row.plural()));
    }
    provider.apply(&objects).await?;
    let args = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "--all",
    ];
    provider.plane.kubectl(&args).await?;
    Ok(())
}
