//! What both sides have of a claimed kind, as their watches tell it: one watch on the consumer,
//! limited to copies by their label, and one per service namespace on the provider. IO: reads.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::ClaimsEngine;
use super::copy::Copy;
use super::state::Side;
use crate::fault;
use crate::sync::{Key, Namespaces};

/// Bodies pass through memory while a list is read; Secrets can be 1 MiB each.
const PAGE: u32 = 50;

impl ClaimsEngine {
    /// One watch per service namespace, as they come and go.
    pub(super) async fn watch_service_namespaces(self: Arc<Self>, stop: CancellationToken) {
        let mut changed = self.provider.namespaces.subscribe();
        let mut watched: BTreeMap<String, CancellationToken> = BTreeMap::new();
        loop {
            changed.mark_unchanged();
            let wanted: BTreeSet<String> = self
                .provider
                .namespaces
                .provider_namespaces()
                .into_iter()
                .collect();
            watched.retain(|namespace, token| {
                let keep = wanted.contains(namespace);
                if !keep {
                    token.cancel();
                    let mut state = self.state();
                    state.provider_listed.remove(namespace);
                    state
                        .provider
                        .retain_listed(Some(namespace), &HashSet::new());
                }
                keep
            });
            for namespace in wanted {
                if watched.contains_key(&namespace) {
                    continue;
                }
                let token = stop.child_token();
                let (this, name, task) = (self.clone(), namespace.clone(), token.clone());
                let plural = self.kind.plural;
                self.provider.shutdown.spawn(
                    format!("watch of claimed {plural} in {namespace}"),
                    async move {
                        let client = this.provider.client.clone();
                        let api = Api::namespaced_with(client, &name, &this.api_resource());
                        let config = watcher::Config::default();
                        this.watch(Side::Provider, Some(name), api, config, task)
                            .await;
                    },
                );
                watched.insert(namespace, token);
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) async fn watch(
        &self,
        side: Side,
        namespace: Option<String>,
        api: Api<DynamicObject>,
        config: watcher::Config,
        stop: CancellationToken,
    ) {
        let stream = watcher(api, config.page_size(PAGE)).default_backoff();
        let mut stream = pin!(stream.take_until(stop.cancelled_owned()));
        let mut listed = HashSet::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(self.file(side, &object));
                }
                Ok(watcher::Event::InitDone) => {
                    self.list_complete(side, namespace.as_deref(), &listed);
                    listed = HashSet::new();
                }
                Ok(watcher::Event::Apply(object)) => {
                    self.file(side, &object);
                }
                Ok(watcher::Event::Delete(object)) => self.unfile(side, &object),
                Err(error) => {
                    tracing::warn!(
                        error = fault::describe_watch(&error),
                        "failed to watch claimed {} on the {side:?} side",
                        self.kind.plural
                    );
                    if side == Side::Provider {
                        self.provider.link.check();
                    }
                }
            }
        }
    }

    fn file(&self, side: Side, object: &DynamicObject) -> Key {
        let key = key_of(object);
        let mut state = self.state();
        match side {
            Side::Consumer => state.consumer.file(&key, Copy::of(object)),
            Side::Provider => state.provider.file(&key, Copy::of(object)),
        }
        drop(state);
        self.push(side, &key);
        key
    }

    fn unfile(&self, side: Side, object: &DynamicObject) {
        let key = key_of(object);
        let uid = object.uid().unwrap_or_default();
        match side {
            Side::Consumer => {
                self.state().consumer.remove(&key, &uid);
                self.tell_waiting();
            }
            Side::Provider => {
                self.state().provider.remove(&key, &uid);
            }
        }
        self.push(side, &key);
    }

    fn list_complete(&self, side: Side, namespace: Option<&str>, listed: &HashSet<Key>) {
        let mut state = self.state();
        match (side, namespace) {
            (Side::Consumer, _) => {
                state.consumer.retain_listed(None, listed);
                state.consumer_listed = true;
            }
            (Side::Provider, namespace) => {
                state.provider.retain_listed(namespace, listed);
                state.provider_listed.extend(namespace.map(str::to_owned));
            }
        }
        drop(state);
        self.touch_all();
        self.tell_waiting();
        self.ctx.wake_users(&self.provider.secrets());
    }
}

fn key_of(object: &DynamicObject) -> Key {
    Key::new(object.namespace().unwrap_or_default(), object.name_any())
}
