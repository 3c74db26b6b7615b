//! Service namespaces: which provider namespace a consumer namespace is mapped to (contract
//! sections 5.7 and 5.8). One watch per provider for all its engines and claims. IO on both sides.
//!
//! The mapping is learned only from `APIServiceNamespace.status`, which the provider writes once the
//! namespace is usable. An `APIServiceNamespace` has no owner: all exports of a provider share it,
//! so that the end of one must not take away the data of the others.

mod copies;
mod lifecycle;
mod mapping;
mod work;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use kube::api::PostParams;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::{APIServiceNamespace, APIServiceNamespaceSpec};
use kube_bind_crds::names::ANNOTATION_NAMESPACE_PROBLEM;
use kube_bind_runtime::apply;
use tokio::sync::watch;

use crate::consumer::ConsumerNamespaces;
use crate::context::Context;
use crate::fault;
use crate::names::MANAGER_NAMESPACES;
use crate::provider::Provider;
use crate::sync;
use crate::wait_queue::WaitQueue;
use crate::watch::{Listed, Signal, at_most, reflect};
use lifecycle::Checked;
use mapping::Mapping;
use work::Job;

/// Most characters of what a provider says about a namespace.
const LONGEST_PROBLEM: usize = 300;
/// What is watched, in words.
const WATCHED: &str = "service namespaces";
/// More mappings are not read from a provider.
const MOST: usize = 20_000;
/// Longest name of a namespace.
const LONGEST_NAME: usize = 63;

/// The service namespaces of one provider.
pub struct ServiceNamespaces {
    api: Api<APIServiceNamespace>,
    store: Store<APIServiceNamespace>,
    consumer: ConsumerNamespaces,
    mapping: RwLock<Mapping>,
    generation: watch::Sender<u64>,
    listed: Listed,
    /// Consumer namespaces whose mapping is being asked for.
    requested: Mutex<HashSet<String>>,
    /// Mappings without a consumer namespace that are left as they are for now.
    waiting: Mutex<HashSet<String>>,
    jobs: WaitQueue<Job>,
}

impl ServiceNamespaces {
    /// None yet; [`start`] has the mappings watched.
    pub fn new(
        client: &Client,
        cluster_namespace: &str,
        consumer: ConsumerNamespaces,
    ) -> (Arc<Self>, Writer<APIServiceNamespace>) {
        let (store, writer) = kube::runtime::reflector::store();
        let this = Arc::new(Self {
            api: Api::namespaced(client.clone(), cluster_namespace),
            store,
            consumer,
            mapping: RwLock::default(),
            generation: watch::Sender::new(0),
            listed: Listed::new(),
            requested: Mutex::default(),
            waiting: Mutex::default(),
            jobs: WaitQueue::default(),
        });
        (this, writer)
    }

    /// Namespaces that the provider brings along, sorted, and whether the consumer has them; `None` while
    /// that is not known.
    pub fn brought(&self) -> Vec<(String, Option<bool>)> {
        let all = self.store.state();
        let mut brought: Vec<_> = all
            .iter()
            .filter(|object| lifecycle::is_brought(object))
            .filter(|object| object.metadata.deletion_timestamp.is_none())
            .map(|object| object.name_any())
            .filter(|name| !lifecycle::is_reserved(name))
            .map(|name| (name.clone(), self.consumer.known(&name)))
            .collect();
        brought.sort();
        brought
    }

    /// Copies may have gone that mappings without a consumer namespace wait for.
    pub fn copies_changed(&self) {
        for name in self.waiting().iter() {
            self.post(Job::Check(name.clone()));
        }
    }

    /// Whether the mappings are known; before, that there is none means nothing.
    pub fn is_listed(&self) -> bool {
        self.listed.is_set()
    }

    /// A Namespace of the consumer vanished; an empty name means any may have.
    pub fn consumer_namespace_gone(&self, name: &str) {
        self.post(if name.is_empty() {
            Job::CheckAll
        } else {
            Job::Check(name.to_owned())
        });
    }

    fn told(&self, signal: &Signal<'_, APIServiceNamespace>) {
        match signal {
            // The first list is told as a whole: mappings one by one would have engines turn for each.
            Signal::Changed(_) if !self.listed.is_set() => {}
            Signal::Changed(object) => {
                self.remap(|mapping| {
                    let name = object.name_any();
                    mapping.explain(&name, problem(object)) | mapping.set(&name, target(object))
                });
                self.requested().remove(&object.name_any());
                self.post(Job::Check(object.name_any()));
            }
            Signal::Removed(object) => {
                self.requested().remove(&object.name_any());
                self.remap(|mapping| {
                    mapping.set(&object.name_any(), None);
                    mapping.explain(&object.name_any(), None);
                    // Whoever waits for it has to ask again, also if it never came to a mapping.
                    true
                });
            }
            Signal::Listed => {
                let all = self.store.state();
                self.listed.set();
                self.requested().clear();
                self.remap(|mapping| {
                    mapping.explain_all(all.iter().map(|o| (o.name_any(), problem(o))));
                    mapping.replace(all.iter().map(|o| (o.name_any(), target(o))));
                    // That there is none is news too, and what was asked for may have gone while nobody
                    // looked: whoever waits has to ask again.
                    true
                });
                self.post(Job::CheckAll);
            }
            Signal::Running | Signal::Failed(_) => {}
        }
    }

    fn remap(&self, change: impl FnOnce(&mut Mapping) -> bool) {
        let changed = change(&mut self.mapping.write().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.generation.send_modify(|generation| *generation += 1);
        }
    }

    fn requested(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, job: Job) {
        self.jobs.push(job);
    }

    /// Asks for a mapping, for `time` at most.
    async fn create(&self, name: &str, time: Duration) -> Result<Checked, kube::Error> {
        if self.store.get(&self.object(name)).is_some() {
            return Ok(Checked::Settled);
        }
        let object = APIServiceNamespace::new(name, APIServiceNamespaceSpec {});
        let params = PostParams {
            field_manager: Some(MANAGER_NAMESPACES.to_owned()),
            ..PostParams::default()
        };
        let limit = time.min(apply::TIMEOUT);
        match apply::timed_for(limit, self.api.create(&params, &object)).await {
            Ok(_) => Ok(Checked::Settled),
            Err(error) if matches!(&error, kube::Error::Api(s) if s.is_already_exists()) => {
                Ok(Checked::Settled)
            }
            // Some admission may take it one day; the engine reports the object as waiting.
            Err(error) if fault::is_refused(&error) => {
                Ok(Checked::Refused(fault::describe(&error)))
            }
            Err(error) => Err(error),
        }
    }

    fn object(&self, name: &str) -> ObjectRef<APIServiceNamespace> {
        let namespace = self.api.namespace().unwrap_or_default();
        ObjectRef::new(name).within(namespace)
    }
}

/// Watches the mappings and works on them, until the provider stops.
pub fn start(ctx: &Arc<Context>, provider: &Arc<Provider>, writer: Writer<APIServiceNamespace>) {
    let (told_ctx, told) = (ctx.clone(), provider.clone());
    let tell = move |signal: Signal<'_, APIServiceNamespace>| {
        told.namespaces.told(&signal);
        told.watched(&told_ctx, WATCHED, &signal);
    };
    let shutdown = &provider.shutdown;
    shutdown.spawn(
        format!("watch of {WATCHED}"),
        reflect(
            provider.namespaces.api.clone(),
            at_most(MOST, watcher::Config::default()),
            writer,
            shutdown.token.clone(),
            tell,
        ),
    );
    let (ctx, worker) = (ctx.clone(), provider.clone());
    shutdown.keep(WATCHED, move || {
        let (ctx, provider) = (ctx.clone(), worker.clone());
        async move { provider.namespaces.work(&ctx, &provider).await }
    });
}

/// Why there is no service namespace, in words of the provider.
fn problem(object: &APIServiceNamespace) -> Option<String> {
    let text = object.annotations().get(ANNOTATION_NAMESPACE_PROBLEM)?;
    let text: String = text.chars().take(LONGEST_PROBLEM).collect();
    Some(format!(
        "the provider has no place for namespace {}: {text}",
        object.name_any()
    ))
}

/// The published service namespace. What no API server accepts as a name is not one: it would be
/// part of paths.
fn target(object: &APIServiceNamespace) -> Option<String> {
    let name = object.status.as_ref()?.namespace.clone()?;
    let valid = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    valid.then_some(name)
}

impl sync::Namespaces for ServiceNamespaces {
    fn is_listed(&self) -> bool {
        self.listed.is_set()
    }

    fn problem(&self, consumer_namespace: &str) -> Option<String> {
        let mapping = self.mapping.read().unwrap_or_else(PoisonError::into_inner);
        mapping.problem(consumer_namespace)
    }

    fn to_provider(&self, consumer_namespace: &str) -> Option<String> {
        let mapping = self.mapping.read().unwrap_or_else(PoisonError::into_inner);
        mapping.to_provider(consumer_namespace)
    }

    fn to_consumer(&self, provider_namespace: &str) -> Option<String> {
        let mapping = self.mapping.read().unwrap_or_else(PoisonError::into_inner);
        mapping.to_consumer(provider_namespace)
    }

    fn request(&self, consumer_namespace: &str) {
        if self.requested().insert(consumer_namespace.to_owned()) {
            self.post(Job::Request(consumer_namespace.to_owned()));
        }
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn provider_namespaces(&self) -> Vec<String> {
        let mapping = self.mapping.read().unwrap_or_else(PoisonError::into_inner);
        mapping.provider_namespaces()
    }
}

#[cfg(test)]
mod tests;
