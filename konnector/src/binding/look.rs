//! One look at one binding, as far as all its kinds and claims share it. IO: access reviews.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::ResourceExt;
use kube_bind_crds::api::APIServiceBinding;

use super::crds::Owner;
use super::facts::NamespaceFacts;
use super::subtree::Subtree;
use super::{grant, rights};
use crate::fault;
use crate::provider::Provider;
use crate::supervisor::Supervisor;

/// Rights cannot be watched: how often they are asked for at most.
pub(super) const RIGHTS: Duration = Duration::from_secs(2);

/// One look at one binding.
pub(super) struct Look<'a> {
    pub(super) supervisor: &'a Arc<Supervisor>,
    pub(super) binding: &'a APIServiceBinding,
    pub(super) owner: Owner,
    /// When to look again if nothing happens.
    pub(super) again: Duration,
    /// Something failed that did not keep the rest from being done: it is tried again with a growing pause.
    pub(super) failed: bool,
}

impl Look<'_> {
    pub(super) fn now(&self) -> Instant {
        self.supervisor.ctx.clock.monotonic()
    }

    /// Rights that are missing, in one namespace or in all. What was granted is not asked for again until
    /// something is denied.
    pub(super) async fn missing(
        &mut self,
        rules: &[PolicyRule],
        namespace: Option<&str>,
        subtree: &mut Subtree,
    ) -> Vec<String> {
        let changes = self.supervisor.rights_changes();
        if subtree.rights != changes {
            subtree.rights = changes;
            subtree.granted.clear();
        }
        let key = serde_json::to_string(&(rules, namespace)).expect("rules have only string keys");
        if subtree.granted.contains(&key) {
            return Vec::new();
        }
        let asked = rights::missing(&self.supervisor.ctx.client, rules, namespace).await;
        let missing = match asked {
            Ok(missing) => missing,
            // What was said last holds. Who was never told anything goes on: the API server refuses what
            // may not be done, and that is told.
            Err(error) => {
                tracing::warn!(
                    error = fault::describe(&error),
                    binding.name = %self.owner.name,
                    "failed to review the rights for APIServiceBinding {}",
                    self.owner.name
                );
                self.failed = true;
                return subtree.lacking.get(&key).cloned().unwrap_or_default();
            }
        };
        if missing.is_empty() {
            // Only then they are new. What was denied although nobody saw the right missing is noticed by the
            // one object that looks again soon.
            if subtree.lacking.remove(&key).is_some() {
                subtree.wake();
            }
            subtree.granted.insert(key);
        } else {
            subtree.lacking.insert(key, missing.clone());
            let pause = self.supervisor.rights.next(&self.binding.name_any());
            self.again = self.again.min(pause.max(RIGHTS));
        }
        missing
    }

    /// The namespaces that the provider brings along, and whether those that are missing can be made.
    pub(super) async fn namespaces(
        &mut self,
        provider: &Arc<Provider>,
        subtree: &mut Subtree,
    ) -> NamespaceFacts {
        let brought = provider.namespaces.brought();
        let to_make = brought.iter().filter(|(_, there)| *there == Some(false));
        let to_make: Vec<String> = to_make.map(|(name, _)| name.clone()).collect();
        let missing = match to_make.is_empty() || subtree.is_suspended() {
            true => Vec::new(),
            false => {
                let rules = grant::of_namespaces(&to_make);
                self.missing(&rules, None, subtree).await
            }
        };
        NamespaceFacts {
            names: brought.into_iter().map(|(name, _)| name).collect(),
            missing,
        }
    }
}
