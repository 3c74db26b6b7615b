//! A server for plain tests: what happens is told at once, and requests fail only when they are told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use kube_bind_crds::digest::Schema;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::super::cluster::{Cluster, Error, Key, Part, WatchEvent, WatchScope};
use super::super::concurrency::Limiter;
use super::legible;
use super::store::{Snapshot, Store};

struct Inner {
    store: Store,
    watches: Vec<(WatchScope, mpsc::UnboundedSender<WatchEvent>)>,
    /// Watches are told nothing.
    silent: bool,
    requests: Vec<String>,
    /// Answers to give instead of doing the next request of that name.
    failures: HashMap<&'static str, Vec<Error>>,
    /// Seed and probability of requests that fail, half of them after they took effect.
    chaos: Option<(SmallRng, f64)>,
    /// Requests that it can take at a time.
    parallelism: usize,
}

/// One resource of one server in memory. Clones are the same server.
#[derive(Clone)]
pub(in super::super) struct FakeCluster {
    inner: Arc<Mutex<Inner>>,
    renewals: Arc<watch::Sender<u64>>,
}

impl FakeCluster {
    pub(in super::super) fn new(open_api: &Value) -> Self {
        let inner = Inner {
            store: Store::new(Arc::new(Schema::new(open_api))),
            watches: Vec::new(),
            silent: false,
            requests: Vec::new(),
            failures: HashMap::new(),
            chaos: None,
            parallelism: 4,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            renewals: Arc::new(watch::Sender::new(0)),
        }
    }

    /// What somebody else does: a PUT of a whole object, or its creation.
    pub(in super::super) fn put(&self, object: Value) -> Value {
        self.act(|store| Value::clone(&store.put(object)))
    }

    pub(in super::super) fn change(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Value {
        self.act(|store| Value::clone(&store.change(key, change).expect("the object exists")))
    }

    /// What `kubectl delete` does.
    pub(in super::super) fn remove(&self, key: &Key) {
        let uid = self.object(key).expect("the object exists")["metadata"]["uid"].clone();
        self.act(|store| store.delete(key, uid.as_str().unwrap(), None))
            .unwrap();
    }

    /// What an administrator does with etcdctl: no finalizers asked.
    pub(in super::super) fn vanish(&self, key: &Key) {
        self.act(|store| store.vanish(key));
    }

    /// The same, and no event tells of it: a list will.
    pub(in super::super) fn lose(&self, key: &Key) {
        self.act(|store| store.lose(key));
    }

    pub(in super::super) fn object(&self, key: &Key) -> Option<Value> {
        self.act(|store| store.objects.get(key).map(|object| Value::clone(object)))
    }

    /// The requests since the last call, without lists and watches.
    pub(in super::super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().unwrap().requests)
    }

    pub(in super::super) fn fail_next(&self, request: &'static str, error: Error) {
        self.inner
            .lock()
            .unwrap()
            .failures
            .entry(request)
            .or_default()
            .push(error);
    }

    /// From now on requests fail with this probability; half of them take effect all the same.
    pub(in super::super) fn disturb(&self, seed: u64, probability: f64) {
        self.inner.lock().unwrap().chaos = Some((SmallRng::seed_from_u64(seed), probability));
    }

    /// What somebody does with a backup: objects and versions are as they were then, and everything
    /// that is connected has to connect anew.
    pub(in super::super) fn restore(&self, backup: Snapshot) {
        self.act(|store| store.restore(backup));
        self.relist();
    }

    pub(in super::super) fn backup(&self) -> Snapshot {
        self.act(|store| store.snapshot())
    }

    /// The keys of all objects.
    pub(in super::super) fn keys(&self) -> Vec<Key> {
        self.act(|store| store.objects.keys().cloned().collect())
    }

    /// From now on the kind has no status subresource.
    pub(in super::super) fn without_status_subresource(&self) {
        self.act(|store| store.plain_status = true);
    }

    /// The credential towards this server was renewed.
    pub(in super::super) fn renew(&self) {
        self.renewals.send_modify(|renewals| *renewals += 1);
    }

    /// The watches stay open and tell nothing any more.
    pub(in super::super) fn silence(&self) {
        self.inner.lock().unwrap().silent = true;
    }

    /// From now on it can take so many requests at a time.
    pub(in super::super) fn widen(&self, parallelism: usize) {
        self.inner.lock().unwrap().parallelism = parallelism;
    }

    /// No more of the failures that were asked for.
    pub(in super::super) fn recover(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.failures.clear();
        inner.chaos = None;
    }

    /// Tells all watches everything again, as after an expired position.
    pub(in super::super) fn relist(&self) {
        let mut inner = self.inner.lock().unwrap();
        if inner.silent {
            return;
        }
        let watches = std::mem::take(&mut inner.watches);
        for (scope, sender) in watches {
            inner.open(scope, sender);
        }
    }

    fn act<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        self.inner.lock().unwrap().act(act)
    }

    fn request<T>(
        &self,
        name: &'static str,
        act: impl FnOnce(&mut Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut inner = self.inner.lock().unwrap();
        inner.requests.push(name.to_owned());
        if let Some(failures) = inner
            .failures
            .get_mut(name)
            .filter(|failures| !failures.is_empty())
        {
            return Err(failures.remove(0));
        }
        let (fails, effect) = match &mut inner.chaos {
            Some((random, probability)) => {
                (random.random_bool(*probability), random.random_bool(0.5))
            }
            None => (false, true),
        };
        let lost = Error::Unavailable {
            message: "lost".to_owned(),
            retry_after: None,
        };
        if fails && !effect {
            return Err(lost);
        }
        let answer = inner.act(act);
        if fails { Err(lost) } else { answer }
    }
}

impl Inner {
    /// Does something and tells the watches about it.
    fn act<T>(&mut self, act: impl FnOnce(&mut Store) -> T) -> T {
        let result = act(&mut self.store);
        let silent = self.silent;
        for change in self.store.log.drain(..).filter(|_| !silent) {
            let body = Value::clone(&change.object);
            let event = if change.gone {
                WatchEvent::Deleted(body)
            } else {
                WatchEvent::Applied(body)
            };
            let event = legible::event(event);
            self.watches.retain(|(scope, sender)| {
                !scope.covers(&change.key) || sender.send(event.clone()).is_ok()
            });
        }
        result
    }

    fn open(&mut self, scope: WatchScope, sender: mpsc::UnboundedSender<WatchEvent>) {
        let _ = sender.send(WatchEvent::ListBegin {
            known: self.store.told.to_string(),
        });
        for (key, object) in &self.store.objects {
            if scope.covers(key) {
                let listed = WatchEvent::Listed(Value::clone(object));
                let _ = sender.send(legible::event(listed));
            }
        }
        let _ = sender.send(WatchEvent::ListEnd {
            resource_version: self.store.version.to_string(),
        });
        let _ = sender.send(WatchEvent::Watching);
        self.watches.push((scope, sender));
    }
}

impl Cluster for FakeCluster {
    fn limiter(&self) -> Option<&Limiter> {
        None
    }

    fn parallelism(&self) -> usize {
        self.inner.lock().unwrap().parallelism
    }

    fn renewed(&self) -> Option<watch::Receiver<u64>> {
        Some(self.renewals.subscribe())
    }

    fn watch(&self, scope: WatchScope) -> BoxStream<'static, WatchEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.inner.lock().unwrap().open(scope, sender);
        futures::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|event| (event, receiver))
        })
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Value, Error>> {
        let read = |store: &mut Store| store.existing(key, None).map(|object| Value::clone(object));
        Box::pin(async move { self.request("get", read).and_then(legible::answer) })
    }

    fn apply<'a>(
        &'a self,
        key: &'a Key,
        manager: &'a str,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(async move {
            self.request("apply", |store| store.apply(key, manager, body))
                .and_then(legible::answer)
        })
    }

    fn json_patch<'a>(
        &'a self,
        key: &'a Key,
        part: Part,
        operations: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(async move {
            self.request("json_patch", |store| {
                store.json_patch(key, part, operations)
            })
            .and_then(legible::answer)
        })
    }

    fn merge_patch<'a>(
        &'a self,
        key: &'a Key,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(async move {
            self.request("merge_patch", |store| store.merge_patch(key, body))
                .and_then(legible::answer)
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        uid: &'a str,
        version: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, Error>> {
        Box::pin(async move {
            let left = self.request("delete", |store| store.delete(key, uid, Some(version)))?;
            left.map(legible::answer).transpose()
        })
    }
}
