//! What both sides have of a claimed kind, as their watches tell it: on the consumer one for each scope
//! of the claims, on the provider one for each service namespace. IO: reads.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use kube::api::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::ClaimsEngine;
use super::copy::Copy;
use super::rules::Scope;
use super::state::{Side, State};
use crate::fault;
use crate::sync::{Key, Namespaces};
use crate::watch::{Told, follow};

/// Bodies pass through memory while a list is read; Secrets can be 1 MiB each.
const PAGE: u32 = 32;

/// What one watch sees, and with which label selectors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// On the provider the scope is a service namespace.
    scope: Scope,
    /// Another set of selectors means another list, because labels are not kept.
    selectors: String,
}

impl ClaimsEngine {
    /// The watches on the consumer, as claims come and go.
    pub(super) async fn watch_consumer(self: Arc<Self>, stop: CancellationToken) {
        // What was begun ends with us.
        let _end = stop.clone().drop_guard();
        let mut changed = self.rules_changed.subscribe();
        let mut running = BTreeMap::new();
        loop {
            changed.mark_unchanged();
            let (scopes, selectors) = (self.scopes(), self.selectors(&self.rules()));
            self.follow(Side::Consumer, &mut running, scopes, &selectors, &stop);
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// The watches on the provider, as claims and service namespaces come and go.
    pub(super) async fn watch_provider(self: Arc<Self>, stop: CancellationToken) {
        // What was begun ends with us.
        let _end = stop.clone().drop_guard();
        let mut mapped = self.provider.namespaces.subscribe();
        let mut listed = false;
        let mut changed = self.rules_changed.subscribe();
        let mut running = BTreeMap::new();
        loop {
            changed.mark_unchanged();
            mapped.mark_unchanged();
            let selectors = self.selectors(&self.rules());
            let namespaces = self.provider.namespaces.provider_namespaces();
            let scope = |namespace| Scope {
                namespace: Some(namespace),
                name: None,
            };
            let scopes = namespaces.into_iter().map(scope).collect();
            self.follow(Side::Provider, &mut running, scopes, &selectors, &stop);
            // Whoever waits for a namespace may have it now, or have to ask again.
            self.touch_all();
            let now = self.provider.namespaces.is_listed();
            if std::mem::replace(&mut listed, now) != now {
                self.wake_bindings();
            }
            let ended = tokio::select! {
                ended = mapped.changed() => ended,
                ended = changed.changed() => ended,
            };
            if ended.is_err() {
                return;
            }
        }
    }

    /// Ends the watches that are not wanted any more, and begins those that are missing.
    fn follow(
        self: &Arc<Self>,
        side: Side,
        running: &mut BTreeMap<Part, CancellationToken>,
        scopes: BTreeSet<Scope>,
        selectors: &str,
        stop: &CancellationToken,
    ) {
        running.retain(|part, token| {
            let keep = scopes.contains(&part.scope) && part.selectors == selectors;
            if !keep {
                token.cancel();
                self.unlist(side, &part.scope);
            }
            keep
        });
        let nothing = HashSet::new();
        let unseen = |key: &Key| !scopes.iter().any(|scope| scope.covers(key));
        self.state().retain_listed(side, unseen, &nothing);
        for scope in &scopes {
            let part = Part {
                scope: scope.clone(),
                selectors: selectors.to_owned(),
            };
            if running.contains_key(&part) {
                continue;
            }
            let token = stop.child_token();
            let (this, watched, task) = (self.clone(), part.clone(), token.clone());
            let name = format!("watch of claimed {} on the {side:?}", self.kind.plural);
            self.provider.shutdown.spawn(name, async move {
                this.watch(side, watched, task).await;
            });
            running.insert(part, token);
        }
    }

    async fn watch(&self, side: Side, part: Part, stop: CancellationToken) {
        let client = match side {
            Side::Consumer => self.ctx.client.clone(),
            Side::Provider => self.provider.client.clone(),
        };
        let api: Api<DynamicObject> = match &part.scope.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.api_resource()),
            None => Api::all_with(client, &self.api_resource()),
        };
        let mut config = watcher::Config::default().page_size(PAGE);
        if let Some(name) = &part.scope.name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        let (mut listed, mut asked) = (HashSet::new(), None);
        let tell = |told: Told<DynamicObject>| {
            let event = match told {
                Told::Event(event) => event,
                Told::Running => return self.runs(side, &part.scope),
                Told::Failed(error) => return self.failed(side, &part.scope, &error),
            };
            match event {
                watcher::Event::Init => {
                    listed.clear();
                    let is_part = |key: &Key| part.scope.covers(key);
                    asked = Some(self.state().side(side).newest(is_part));
                }
                watcher::Event::InitApply(object) => {
                    listed.insert(self.file(side, &object, asked));
                }
                watcher::Event::InitDone => {
                    self.list_complete(side, &part, &std::mem::take(&mut listed));
                }
                watcher::Event::Apply(object) => {
                    self.file(side, &object, None);
                }
                watcher::Event::Delete(object) => self.unfile(side, &object),
            }
        };
        stop.run_until_cancelled(follow(api, config, tell)).await;
    }

    /// A watch that is back brings no list: it is told only that it runs.
    fn runs(&self, side: Side, scope: &Scope) {
        let (works, allowed) = {
            let mut state = self.state();
            let works = state.failing.watch_ended(side, scope);
            (works, side == Side::Consumer && state.is_allowed(scope))
        };
        if allowed {
            self.scopes_changed();
        }
        if works || allowed {
            self.wake_bindings();
        }
    }

    fn failed(&self, side: Side, scope: &Scope, error: &watcher::Error) {
        let words = fault::describe_watch(error);
        tracing::warn!(
            error = words,
            "failed to watch claimed {} on the {side:?} side",
            self.kind.plural
        );
        match side {
            Side::Provider => self.provider.link.check(),
            Side::Consumer if is_denied(error) => {
                let known = self.state().denied.insert(scope.clone(), words.clone());
                if known.is_none() {
                    self.scopes_changed();
                    self.wake_bindings();
                }
            }
            Side::Consumer => {}
        }
        self.watch_fails(side, scope, words);
    }

    /// What a watch that is denied would see has to be watched in parts, and not once it is allowed.
    fn scopes_changed(&self) {
        self.rules_changed.send_modify(|changes| *changes += 1);
    }

    fn file(&self, side: Side, object: &DynamicObject, list: Option<u64>) -> Key {
        let key = key_of(object);
        let mut copy = Copy::of(self.kind.plural, object);
        copy.labelled = self.labelled(object.labels());
        self.state().file(side, &key, copy, list);
        self.push(side, &key);
        key
    }

    fn unfile(&self, side: Side, object: &DynamicObject) {
        let key = key_of(object);
        let uid = object.uid().unwrap_or_default();
        let on_consumer = self.consumer_key(side, &key);
        let mut state = self.state();
        let gone = state.remove(side, &key, &uid, on_consumer.as_ref());
        if let (Some(_), Some(on_consumer)) = (gone, on_consumer)
            && self.has_copy(&mut state, side.other(), &on_consumer)
        {
            state.deleted.insert(on_consumer);
        }
        drop(state);
        self.tell_waiting();
        self.push(side, &key);
    }

    fn has_copy(&self, state: &mut State, side: Side, on_consumer: &Key) -> bool {
        let there = match side {
            Side::Consumer => Some(on_consumer.clone()),
            Side::Provider => {
                let namespaces = &self.provider.namespaces;
                let namespace = namespaces.to_provider(&on_consumer.namespace);
                namespace.map(|namespace| Key::new(namespace, &on_consumer.name))
            }
        };
        there.is_some_and(|key| state.side(side).get(&key).is_some())
    }

    fn unlist(&self, side: Side, scope: &Scope) {
        let mut state = self.state();
        state.failing.watch_ended(side, scope);
        match (side, &scope.namespace) {
            (Side::Consumer, _) => {
                state.consumer_listed.remove(scope);
                state.denied.remove(scope);
            }
            (Side::Provider, Some(namespace)) => {
                state.provider_listed.remove(namespace);
            }
            (Side::Provider, None) => {}
        }
    }

    fn list_complete(&self, side: Side, part: &Part, listed: &HashSet<Key>) {
        let mut allowed = false;
        {
            let rules = self.rules();
            let mut state = self.state();
            state.retain_listed(side, |key| part.scope.covers(key), listed);
            // A list that was matched with older selectors does not count; a new one is under way.
            if self.selectors(&rules) == part.selectors {
                match (side, &part.scope.namespace) {
                    (Side::Consumer, _) => {
                        allowed = state.is_allowed(&part.scope);
                        state.consumer_listed.insert(part.scope.clone());
                    }
                    (Side::Provider, namespace) => {
                        state.provider_listed.extend(namespace.clone());
                    }
                }
            }
        }
        if allowed {
            self.scopes_changed();
        }
        self.touch_all();
        self.tell_waiting();
        self.wake_bindings();
    }
}

fn is_denied(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => fault::code(source) == Some(403),
        watcher::Error::WatchError(status) => status.code == 403,
        watcher::Error::NoResourceVersion => false,
    }
}

fn key_of(object: &DynamicObject) -> Key {
    Key::new(object.namespace().unwrap_or_default(), object.name_any())
}
