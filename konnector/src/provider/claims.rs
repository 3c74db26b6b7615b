//! The engines of the kinds that are claimed at one provider. Starts them; no IO of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use kube_bind_crds::api::{GroupResource, PermissionClaim};

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

    /// A binding has said all that it claims. What is `pending` cannot be set up for now: it is claimed, but
    /// no engine knows it.
    pub async fn tell_claims(&self, binding: &str, pending: Vec<PermissionClaim>) {
        let news = {
            let mut told = self.claims_told();
            let before = told.insert(binding.to_owned(), pending);
            before.as_ref() != told.get(binding)
        };
        if news {
            for engine in self.running_claims().await {
                engine.reconsider();
            }
        }
    }

    /// What a binding claims that cannot be set up for now; `None` while it has not said what it claims since
    /// this connection began.
    pub fn pending_claims(&self, binding: &str) -> Option<Vec<PermissionClaim>> {
        self.claims_told().get(binding).cloned()
    }

    fn claims_told(&self) -> MutexGuard<'_, BTreeMap<String, Vec<PermissionClaim>>> {
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
