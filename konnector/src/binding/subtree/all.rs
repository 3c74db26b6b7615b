//! The subtrees of all bindings. Ends what runs for bindings that are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Subtree;
use crate::sync::BreakerConfig;

/// The subtrees of all bindings.
#[derive(Default)]
pub struct Subtrees {
    by_binding: Mutex<HashMap<String, Owned>>,
    breaker: BreakerConfig,
}

/// What runs for one binding, and not for another one of that name.
struct Owned {
    uid: String,
    subtree: Arc<tokio::sync::Mutex<Subtree>>,
}

impl Subtrees {
    /// None yet; each will have a breaker of its own with these limits.
    pub fn new(breaker: BreakerConfig) -> Self {
        Self {
            breaker,
            ..Self::default()
        }
    }

    /// The subtree of a binding, empty at first. What ran for an earlier binding of that name is stopped: who
    /// lists bindings anew is told of no end, and what was meant for the one is not for the other.
    pub async fn get(&self, binding: &str, uid: &str) -> Arc<tokio::sync::Mutex<Subtree>> {
        if self.is_anothers(binding, uid) {
            self.remove(binding).await;
        }
        let mut all = self.lock();
        let owned = all.entry(binding.to_owned()).or_insert_with(|| Owned {
            uid: uid.to_owned(),
            subtree: Arc::new(tokio::sync::Mutex::new(Subtree::new(self.breaker))),
        });
        owned.subtree.clone()
    }

    /// Whether the subtree of that name is that of an earlier binding.
    pub fn is_anothers(&self, binding: &str, uid: &str) -> bool {
        let all = self.lock();
        all.get(binding).is_some_and(|known| known.uid != uid)
    }

    /// Bindings that have one.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Stops what runs for a binding that is gone.
    pub async fn remove(&self, binding: &str) {
        let removed = self.lock().remove(binding);
        if let Some(Owned { subtree, .. }) = removed {
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
        let all: Vec<_> = self
            .lock()
            .drain()
            .map(|(_, owned)| owned.subtree)
            .collect();
        futures::future::join_all(all.iter().map(async |subtree| {
            subtree.lock().await.stop_all().await;
        }))
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Owned>> {
        self.by_binding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ending_one_binding_leaves_those_whose_names_begin_like_it() {
        let subtrees = Subtrees::default();
        let get = |name| subtrees.get(name, "uid");
        let (ending, longer, dotted) = (
            get("widgets").await,
            get("widgets2").await,
            get("widgets.example").await,
        );
        subtrees.remove("widgets").await;
        assert!(Arc::ptr_eq(&longer, &get("widgets2").await));
        assert!(Arc::ptr_eq(&dotted, &get("widgets.example").await));
        let anew = get("widgets").await;
        assert!(
            !Arc::ptr_eq(&ending, &anew),
            "a binding made anew starts empty"
        );
    }

    #[tokio::test]
    async fn the_end_of_a_binding_is_not_that_of_a_later_one_of_its_name() {
        let subtrees = Subtrees::default();
        let first = subtrees.get("widgets", "first").await;
        first.lock().await.unbind();
        // Its end and the new one were in one list.
        let second = subtrees.get("widgets", "second").await;
        assert!(!second.lock().await.unbinding, "its deletions are held");
        let again = subtrees.get("widgets", "second").await;
        assert!(Arc::ptr_eq(&second, &again));
    }
}
