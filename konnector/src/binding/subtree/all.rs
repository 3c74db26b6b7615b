//! The subtrees of all bindings. Ends what runs for bindings that are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Subtree;
use crate::sync::BreakerConfig;

/// The subtrees of all bindings.
#[derive(Default)]
pub struct Subtrees {
    by_binding: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Subtree>>>>,
    breaker: BreakerConfig,
}

impl Subtrees {
    /// None yet; each will have a breaker of its own with these limits.
    pub fn new(breaker: BreakerConfig) -> Self {
        Self {
            breaker,
            ..Self::default()
        }
    }

    /// The subtree of a binding, empty at first.
    pub fn get(&self, binding: &str) -> Arc<tokio::sync::Mutex<Subtree>> {
        let mut all = self
            .by_binding
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.entry(binding.to_owned())
            .or_insert_with(|| Arc::new(tokio::sync::Mutex::new(Subtree::new(self.breaker))))
            .clone()
    }

    /// Bindings that have one.
    pub fn names(&self) -> Vec<String> {
        let all = self
            .by_binding
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.keys().cloned().collect()
    }

    /// Stops what runs for a binding that is gone.
    pub async fn remove(&self, binding: &str) {
        let removed = self
            .by_binding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(binding);
        if let Some(subtree) = removed {
            let mut subtree = subtree.lock().await;
            subtree.stop_all().await;
            if let Some(provider) = subtree.provider.take() {
                // Its export has no user any more, and says so with the next heartbeat.
                provider.beat.notify_one();
            }
        }
    }

    /// Stops everything.
    pub async fn stop_all(&self) {
        let all: Vec<_> = {
            let mut all = self
                .by_binding
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            all.drain().map(|(_, subtree)| subtree).collect()
        };
        futures::future::join_all(all.iter().map(async |subtree| {
            subtree.lock().await.stop_all().await;
        }))
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ending_one_binding_leaves_those_whose_names_begin_like_it() {
        let subtrees = Subtrees::default();
        let (ending, [longer, dotted]) = (
            subtrees.get("widgets"),
            ["widgets2", "widgets.example"].map(|name| subtrees.get(name)),
        );
        subtrees.remove("widgets").await;
        assert!(Arc::ptr_eq(&longer, &subtrees.get("widgets2")));
        assert!(Arc::ptr_eq(&dotted, &subtrees.get("widgets.example")));
        let anew = subtrees.get("widgets");
        assert!(
            !Arc::ptr_eq(&ending, &anew),
            "a binding made anew starts empty"
        );
    }
}
