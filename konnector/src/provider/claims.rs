//! The engines of the kinds that are claimed at one provider. Starts them; no IO of its own.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use kube_bind_crds::api::GroupResource;

use super::Provider;
use crate::claims::ClaimsEngine;
use crate::context::Context;

impl Provider {
    /// The engine of one claimed kind; the first claim starts it.
    pub async fn claims(
        self: &Arc<Self>,
        ctx: &Arc<Context>,
        resource: &GroupResource,
    ) -> Option<Arc<ClaimsEngine>> {
        let mut all = self.claims.lock().await;
        if let Some(engine) = all.get(resource) {
            return Some(engine.clone());
        }
        let engine = ClaimsEngine::start(ctx, self, resource)?;
        all.insert(resource.clone(), engine.clone());
        Some(engine)
    }

    /// The engines of claimed kinds that run.
    pub async fn running_claims(&self) -> Vec<Arc<ClaimsEngine>> {
        self.claims.lock().await.values().cloned().collect()
    }

    /// A binding has said all that it claims.
    pub async fn tell_claims(&self, binding: &str) {
        let news = self.claims_told().insert(binding.to_owned());
        if news {
            for engine in self.running_claims().await {
                engine.reconsider();
            }
        }
    }

    /// Whether a binding has said all that it claims since this connection began.
    pub fn has_told_claims(&self, binding: &str) -> bool {
        self.claims_told().contains(binding)
    }

    fn claims_told(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.claims_told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A binding is gone.
    pub(super) async fn forget(&self, binding: &str) {
        self.claims_told().remove(binding);
        for engine in self.running_claims().await {
            engine.forget(binding);
        }
    }
}
