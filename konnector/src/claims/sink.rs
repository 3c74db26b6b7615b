//! Takes the references out of every object of a bound kind that passes through its sync engine.
//! No IO.

use std::sync::Arc;

use kube_bind_crds::api::{Isolation, SelectorReference};
use kube_bind_crds::claims::Referrer;
use serde_json::Value;

use super::ClaimsEngine;
use super::index::Origin;
use crate::sync::{Key, ObjectRef, ReferrerSink, Resource};

/// One claim and where it finds its references.
pub struct Target {
    /// The engine of the claimed kind.
    pub engine: Arc<ClaimsEngine>,
    /// Paths into the bound kind.
    pub references: Vec<SelectorReference>,
    /// Number of this run, from [`ClaimsEngine::expect`].
    pub run: u64,
}

/// The sink of one bound kind, for all claims that refer to it.
pub struct ClaimSink {
    origin: Origin,
    kind: Resource,
    isolation: Isolation,
    targets: Vec<Target>,
}

impl ClaimSink {
    /// Feeds these claims.
    pub fn new(origin: Origin, kind: Resource, isolation: Isolation, targets: Vec<Target>) -> Self {
        Self {
            origin,
            kind,
            isolation,
            targets,
        }
    }
}

impl ReferrerSink for ClaimSink {
    fn observe(&self, consumer: &Key, body: Option<&Value>) {
        let Some(body) = body else {
            for target in &self.targets {
                target.engine.refers_no_more(&self.origin, consumer);
            }
            return;
        };
        let referrer = Referrer::new(body);
        let object = ObjectRef {
            api_version: self.kind.api_version(),
            kind: self.kind.kind.clone(),
            key: consumer.clone(),
            uid: body["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        for target in &self.targets {
            let references = target.references.iter();
            let found = references.flat_map(|r| referrer.referenced(r, self.isolation));
            target
                .engine
                .refers(&self.origin, object.clone(), found.collect(), target.run);
        }
    }

    fn listed(&self) {
        for target in &self.targets {
            target.engine.heard(&self.origin, target.run);
        }
    }
}
