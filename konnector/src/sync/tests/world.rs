//! Two servers, a namespace mapping, an engine between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use kube_bind_crds::api::{InformerScope, Isolation, ResourceScope};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::fake::FakeCluster;
use super::super::*;

pub(super) const CLUSTER_NAMESPACE: &str = "kube-bind-abc";

#[derive(Default)]
pub(super) struct Told {
    pub(super) raised: Vec<String>,
    pub(super) solved: usize,
    /// Names of the objects that may refer to others, as a claim would know them.
    pub(super) referrers: BTreeSet<String>,
}

impl ProblemSink for Mutex<Told> {
    fn raised(&self, _object: &ObjectRef, problem: &Problem) {
        self.lock()
            .unwrap()
            .raised
            .push(format!("{}: {}", problem.kind.reason(), problem.message));
    }

    fn solved(&self, _object: &ObjectRef) {
        self.lock().unwrap().solved += 1;
    }
}

impl ReferrerSink for Mutex<Told> {
    fn observe(&self, consumer: &Key, body: Option<&Value>) {
        let referrers = &mut self.lock().unwrap().referrers;
        match body {
            Some(_) => referrers.insert(consumer.name.clone()),
            None => referrers.remove(&consumer.name),
        };
    }

    fn listed(&self) {}
}

pub(super) struct FakeNamespaces {
    mapped: Mutex<BTreeMap<String, String>>,
    pub(super) requested: Mutex<Vec<String>>,
    /// Not even the first list of mappings has come.
    unlisted: AtomicBool,
    generation: watch::Sender<u64>,
}

impl FakeNamespaces {
    pub(super) fn map(&self, consumer: &str) {
        let provider = format!("{CLUSTER_NAMESPACE}-{consumer}");
        self.mapped
            .lock()
            .unwrap()
            .insert(consumer.to_owned(), provider);
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// No mapping is known, nor whether there are any; gives them, for [`Self::list`].
    pub(super) fn unlist(&self) -> BTreeMap<String, String> {
        self.unlisted.store(true, Ordering::Relaxed);
        std::mem::take(&mut self.mapped.lock().unwrap())
    }

    /// The first list.
    pub(super) fn list(&self, mapped: BTreeMap<String, String>) {
        *self.mapped.lock().unwrap() = mapped;
        self.unlisted.store(false, Ordering::Relaxed);
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Nothing is known any more of what was asked for.
    pub(super) fn forget_requests(&self) {
        self.requested.lock().unwrap().clear();
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// The mapping is withdrawn, and nobody has noticed yet.
    pub(super) fn unmap_quietly(&self, consumer: &str) {
        self.mapped.lock().unwrap().remove(consumer);
    }
}

impl Namespaces for FakeNamespaces {
    fn is_listed(&self) -> bool {
        !self.unlisted.load(Ordering::Relaxed)
    }

    fn to_provider(&self, consumer_namespace: &str) -> Option<String> {
        self.mapped.lock().unwrap().get(consumer_namespace).cloned()
    }

    fn to_consumer(&self, provider_namespace: &str) -> Option<String> {
        let mapped = self.mapped.lock().unwrap();
        mapped
            .iter()
            .find(|(_, provider)| *provider == provider_namespace)
            .map(|(consumer, _)| consumer.clone())
    }

    fn request(&self, consumer_namespace: &str) {
        let mut requested = self.requested.lock().unwrap();
        if !requested.iter().any(|name| name == consumer_namespace) {
            requested.push(consumer_namespace.to_owned());
        }
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn provider_namespaces(&self) -> Vec<String> {
        self.mapped.lock().unwrap().values().cloned().collect()
    }
}

/// A CRD, which is being deleted or not.
#[derive(Clone, Default)]
pub(super) struct FakeDefinition {
    pub(super) terminating: Arc<AtomicBool>,
    /// A watch has told so.
    pub(super) seen: Arc<AtomicBool>,
    /// How often it was read.
    pub(super) asked: Arc<AtomicUsize>,
}

impl Definition for FakeDefinition {
    fn is_terminating(&self) -> BoxFuture<'_, Result<bool, cluster::Error>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(self.terminating.load(Ordering::Relaxed)) })
    }

    fn was_seen_terminating(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }
}

pub(super) struct World {
    pub(super) consumer: FakeCluster,
    pub(super) provider: FakeCluster,
    pub(super) namespaces: Arc<FakeNamespaces>,
    pub(super) told: Arc<Mutex<Told>>,
    /// The kind's CRD on the consumer is being deleted.
    pub(super) definition: FakeDefinition,
    engine: Option<EngineHandle>,
    rival: Option<EngineHandle>,
}

pub(super) fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer"}, "color": {"type": "string"},
            "options": {"type": "object", "additionalProperties": {"type": "string"}}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "data": {"type": "object", "additionalProperties": {"type": "string"}},
    }})
}

pub(super) fn consumer_key(name: &str) -> Key {
    Key::new("team", name)
}

pub(super) fn provider_key(name: &str) -> Key {
    Key::new(format!("{CLUSTER_NAMESPACE}-team"), name)
}

pub(super) fn widget(name: &str) -> Value {
    json!({
        "apiVersion": "example.io/v1", "kind": "Widget",
        "metadata": {"name": name, "namespace": "team", "labels": {"tier": "gold"}},
        "spec": {"size": 3},
    })
}

impl World {
    /// Both servers and a mapped namespace `team`; no engine yet.
    pub(super) fn new() -> Self {
        let namespaces = Arc::new(FakeNamespaces {
            mapped: Mutex::default(),
            requested: Mutex::default(),
            unlisted: AtomicBool::new(false),
            generation: watch::Sender::new(0),
        });
        namespaces.map("team");
        Self {
            consumer: FakeCluster::new(&schema()),
            provider: FakeCluster::new(&schema()),
            namespaces,
            told: Arc::default(),
            definition: FakeDefinition::default(),
            engine: None,
            rival: None,
        }
    }

    pub(super) async fn started() -> Self {
        let mut world = Self::new();
        world.start();
        world.rest().await;
        world
    }

    pub(super) fn start(&mut self) {
        self.engine = Some(self.engine());
    }

    /// A second engine on the same objects, as when two konnectors believe to lead.
    pub(super) fn start_rival(&mut self) {
        self.rival = Some(self.engine());
    }

    pub(super) async fn stop_rival(&mut self) {
        if let Some(rival) = self.rival.take() {
            rival.stop().await;
        }
    }

    fn engine(&self) -> EngineHandle {
        let (config, ports) = self.parts();
        start(config, ports, &CancellationToken::new())
    }

    /// What an engine of this world is made of.
    pub(super) fn parts(&self) -> (EngineConfig, Ports) {
        let config = EngineConfig {
            binding: "widgets".into(),
            cluster_namespace: CLUSTER_NAMESPACE.into(),
            cluster_namespace_uid: "u".into(),
            resource: Resource {
                group: "example.io".into(),
                version: "v1".into(),
                plural: "widgets".into(),
                kind: "Widget".into(),
            },
            scope: ResourceScope::Namespaced,
            informer_scope: InformerScope::Namespaced,
            isolation: Isolation::Prefixed,
            schema: Arc::new(schema()),
            has_status_subresource: true,
            skip_keys: SkipKeys::default(),
            seed: 7,
        };
        let ports = Ports {
            consumer: Arc::new(self.consumer.clone()),
            provider: Arc::new(self.provider.clone()),
            namespaces: Arc::clone(&self.namespaces) as Arc<dyn Namespaces>,
            problems: Arc::clone(&self.told) as Arc<dyn ProblemSink>,
            referrers: Some(Arc::clone(&self.told) as Arc<dyn ReferrerSink>),
            fence: Arc::new(|| Duration::MAX),
            breaker: Breaker::default(),
            definition: Arc::new(self.definition.clone()),
            metrics: Arc::new(NoMetrics),
        };
        (config, ports)
    }

    pub(super) async fn stop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop().await;
        }
    }

    pub(super) async fn restart(&mut self) {
        self.stop().await;
        // Whoever follows references starts a new run with each engine.
        self.told.lock().unwrap().referrers.clear();
        self.start();
        self.rest().await;
    }

    pub(super) fn release_deletes(&self) {
        let engine = self.engine.as_ref().expect("the engine runs");
        engine.release_deletes(true);
    }

    pub(super) fn engine_handle(&self) -> &EngineHandle {
        self.engine.as_ref().expect("the engine runs")
    }

    pub(super) fn counts(&self) -> Counts {
        self.engine.as_ref().expect("the engine runs").counts()
    }

    /// Until nothing is left to do now. The clock is paused: it only moves when all tasks wait.
    pub(super) async fn rest(&self) {
        self.wait(Duration::from_millis(50)).await;
    }

    pub(super) async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Requests on consumer and provider since the last call.
    pub(super) fn requests(&self) -> (Vec<String>, Vec<String>) {
        (self.consumer.requests(), self.provider.requests())
    }

    /// A synced object, with the requests that it took already counted.
    pub(super) async fn synced(name: &str) -> Self {
        let world = Self::started().await;
        world.consumer.put(widget(name));
        world.rest().await;
        assert_eq!(world.counts().synced, 1);
        world.requests();
        world
    }

    /// A synced object `a`, and so many copies (`w0`, `w1`, ...) that are held, because the consumer was
    /// restored to when there was only `a`.
    pub(super) async fn with_held(count: usize) -> Self {
        let world = Self::synced("a").await;
        let backup = world.consumer.backup();
        for n in 0..count {
            world.consumer.put(widget(&format!("w{n}")));
        }
        world.rest().await;
        world.consumer.restore(backup);
        world.wait(Duration::from_secs(5)).await;
        assert_eq!(world.counts().held, count);
        world
    }

    pub(super) fn copy(&self, name: &str) -> Value {
        self.provider
            .object(&provider_key(name))
            .expect("the copy exists")
    }

    pub(super) fn original(&self, name: &str) -> Value {
        self.consumer
            .object(&consumer_key(name))
            .expect("the object exists")
    }
}
