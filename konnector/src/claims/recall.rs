//! What a claim made before it was what it is now. Where neither a watch on the consumer sees it nor an
//! object of the provider leads to it, it is found by its marks. IO: a list of metadata for each part, once.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use kube_bind_crds::names::{ANNOTATION_BINDING, ANNOTATION_PROVIDER_CLUSTER, LABEL_OWNER};
use kube_bind_runtime::apply;

use super::ClaimsEngine;
use super::rules::{Rule, Scope};
use crate::fault;
use crate::sync::Key;

/// Objects per page.
const PAGE: u32 = 500;

impl ClaimsEngine {
    /// Looks for what an earlier claim of a binding made where no claim of now sees anything, and has it
    /// judged by those of now. Says whether nothing is left of it; until then it has to stay on record. While
    /// nothing is written for the binding, nothing of it goes.
    pub async fn recall(&self, binding: &str, former: &Rule) -> Result<bool, kube::Error> {
        if self.rules().is_suspended(binding) {
            return Ok(false);
        }
        for scope in self.unrecalled(binding, former) {
            let keys = match self.marked_in(&scope, binding).await {
                Ok(keys) => keys,
                Err(error) if fault::code(&error) == Some(403) => {
                    self.tell_unread(binding, &error).await;
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            let mut state = self.state();
            state.recalled.insert((binding.to_owned(), scope));
            for key in keys {
                state.suspects.insert(key.clone(), binding.to_owned());
                self.queue(&key).push(key);
            }
        }
        Ok(self.suspected_of(binding).is_empty())
    }

    /// Keys of which the consumer has something for a binding that no watch sees, and that is to go. What was
    /// looked at, and stays once all have been heard, is not waited for.
    pub(super) fn suspected_of(&self, binding: &str) -> BTreeSet<Key> {
        let (rules, index) = (self.rules(), self.index());
        let all_heard = index.complete() && !self.is_hearing();
        let state = self.state();
        let suspects = state.suspects.iter();
        let counted = suspects.filter(|(key, of)| {
            let is_unseen = !state.knows(key) && !rules.cover(key);
            let is_to_go = !rules.leaves_alone(binding, &key.namespace);
            let stays = all_heard && state.cleared.contains(*key);
            *of == binding && is_unseen && is_to_go && !stays && !state.hidden.contains(*key)
        });
        counted.map(|(key, _)| key.clone()).collect()
    }

    fn unrecalled(&self, binding: &str, former: &Rule) -> Vec<Scope> {
        let (rules, state) = (self.rules(), self.state());
        let scopes = former.scopes().into_iter();
        let is_new = |scope: &Scope| {
            !state
                .recalled
                .contains(&(binding.to_owned(), scope.clone()))
        };
        scopes
            .filter(|scope| !rules.include(scope) && is_new(scope))
            .collect()
    }

    /// Keys in a scope whose objects carry the marks of a binding.
    async fn marked_in(&self, scope: &Scope, binding: &str) -> Result<Vec<Key>, kube::Error> {
        let (client, resource) = (self.ctx.client.clone(), self.api_resource());
        let api: Api<DynamicObject> = match &scope.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let mut params = ListParams::default().labels(LABEL_OWNER).limit(PAGE);
        if let Some(name) = &scope.name {
            params = params.fields(&format!("metadata.name={name}"));
        }
        let mut keys = Vec::new();
        loop {
            let page = apply::timed(api.list_metadata(&params)).await?;
            for object in &page.items {
                let mark = |key: &str| object.annotations().get(key).map(String::as_str);
                if mark(ANNOTATION_BINDING) == Some(binding)
                    && mark(ANNOTATION_PROVIDER_CLUSTER) == Some(&*self.provider.uid)
                {
                    let namespace = object.namespace().unwrap_or_default();
                    keys.push(Key::new(namespace, object.name_any()));
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(keys),
            }
        }
    }
}
