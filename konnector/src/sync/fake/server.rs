//! The server: objects, versions, watches, and the requests of [`Cluster`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use kube_bind_crds::digest::Schema;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::super::cluster::{Cluster, Error, Key, Part, WatchEvent, WatchScope};
use super::apply;

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, Value>,
    version: u64,
    /// The highest version that anybody was told; it does not go back with the server.
    told: u64,
    watches: Vec<(WatchScope, mpsc::UnboundedSender<WatchEvent>)>,
    requests: Vec<String>,
    /// Answers to give instead of doing the next request of that name.
    failures: HashMap<&'static str, Vec<Error>>,
    /// Seed and probability of requests that fail, half of them after they took effect.
    chaos: Option<(SmallRng, f64)>,
    /// The kind has no status subresource: its status is written like everything else.
    plain_status: bool,
}

/// The objects and the version of a server.
pub(in super::super) type Backup = (BTreeMap<Key, Value>, u64);

/// One resource of one server in memory. Clones are the same server.
#[derive(Clone)]
pub(in super::super) struct FakeCluster {
    inner: Arc<Mutex<Inner>>,
    renewals: Arc<watch::Sender<u64>>,
    schema: Arc<Schema>,
}

impl FakeCluster {
    pub(in super::super) fn new(open_api: &Value) -> Self {
        Self {
            inner: Arc::default(),
            renewals: Arc::new(watch::Sender::new(0)),
            schema: Arc::new(Schema::new(open_api)),
        }
    }

    /// What somebody else does: a PUT of a whole object, or its creation.
    pub(in super::super) fn put(&self, mut object: Value) -> Value {
        let mut inner = self.inner.lock().unwrap();
        let key = key_of(&object);
        let old = inner.objects.get(&key).cloned();
        let fields = |object: &Value| {
            let mut content = object.clone();
            content["metadata"] = json!({"labels": object["metadata"]["labels"], "annotations": object["metadata"]["annotations"]});
            content["metadata"]
                .as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
            content
        };
        match &old {
            Some(old) => {
                object["metadata"]["uid"] = old["metadata"]["uid"].clone();
                let mut entries = object["metadata"]["managedFields"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                // Whoever writes a value owns it: it leaves the sets of all others.
                for entry in &mut entries {
                    let mut left = entry["fieldsV1"].clone();
                    disown(&mut left, &object, old);
                    entry["fieldsV1"] = left;
                }
                object["metadata"]["managedFields"] = entries.into();
            }
            None => {
                let fields = self.schema.recorded(&fields(&object));
                object["metadata"]["managedFields"] =
                    json!([{"manager": "somebody", "operation": "Update", "fieldsV1": fields}]);
            }
        }
        inner.store(key, object)
    }

    pub(in super::super) fn change(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Value {
        let mut object = self.object(key).expect("the object exists");
        change(&mut object);
        self.put(object)
    }

    /// What `kubectl delete` does.
    pub(in super::super) fn remove(&self, key: &Key) {
        let uid = self.object(key).expect("the object exists")["metadata"]["uid"].clone();
        self.inner
            .lock()
            .unwrap()
            .delete(key, uid.as_str().unwrap())
            .unwrap();
    }

    /// What an administrator does with etcdctl: no finalizers asked.
    pub(in super::super) fn vanish(&self, key: &Key) {
        self.inner.lock().unwrap().drop_object(key);
    }

    pub(in super::super) fn object(&self, key: &Key) -> Option<Value> {
        self.inner.lock().unwrap().objects.get(key).cloned()
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
    pub(in super::super) fn restore(&self, backup: Backup) {
        let mut inner = self.inner.lock().unwrap();
        (inner.objects, inner.version) = backup;
        drop(inner);
        self.relist();
    }

    pub(in super::super) fn backup(&self) -> Backup {
        let inner = self.inner.lock().unwrap();
        (inner.objects.clone(), inner.version)
    }

    /// The keys of all objects.
    pub(in super::super) fn keys(&self) -> Vec<Key> {
        self.inner.lock().unwrap().objects.keys().cloned().collect()
    }

    /// From now on the kind has no status subresource.
    pub(in super::super) fn without_status_subresource(&self) {
        self.inner.lock().unwrap().plain_status = true;
    }

    /// The credential towards this server was renewed.
    pub(in super::super) fn renew(&self) {
        self.renewals.send_modify(|renewals| *renewals += 1);
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
        let watches = std::mem::take(&mut inner.watches);
        for (scope, sender) in watches {
            inner.open(scope, sender);
        }
    }

    fn request<T>(
        &self,
        name: &'static str,
        act: impl FnOnce(&mut Inner, &Schema) -> Result<T, Error>,
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
        let answer = act(&mut inner, &self.schema);
        if fails { Err(lost) } else { answer }
    }
}

impl Inner {
    fn store(&mut self, key: Key, mut object: Value) -> Value {
        self.version += 1;
        self.told = self.told.max(self.version);
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] =
                format!("00000000-0000-4000-8000-{:012x}", 0xabc_000 + self.version).into();
        }
        let terminating = object["metadata"].get("deletionTimestamp").is_some();
        let held = object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        if terminating && !held {
            self.objects.remove(&key);
            self.tell(&key, WatchEvent::Deleted(object.clone()));
        } else {
            self.objects.insert(key.clone(), object.clone());
            self.tell(&key, WatchEvent::Applied(object.clone()));
        }
        object
    }

    fn delete(&mut self, key: &Key, uid: &str) -> Result<Option<Value>, Error> {
        let mut object = self.existing(key, Some(uid))?;
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        self.store(key.clone(), object.clone());
        Ok(self.objects.get(key).cloned())
    }

    fn drop_object(&mut self, key: &Key) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            self.told = self.told.max(self.version);
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.tell(key, WatchEvent::Deleted(object));
        }
    }

    fn existing(&self, key: &Key, uid: Option<&str>) -> Result<Value, Error> {
        let object = self.objects.get(key).cloned().ok_or(Error::NotFound)?;
        match uid {
            Some(uid) if object["metadata"]["uid"] != uid => Err(Error::Changed),
            _ => Ok(object),
        }
    }

    fn tell(&mut self, key: &Key, event: WatchEvent) {
        self.watches
            .retain(|(scope, sender)| !scope.covers(key) || sender.send(event.clone()).is_ok());
    }

    fn open(&mut self, scope: WatchScope, sender: mpsc::UnboundedSender<WatchEvent>) {
        let _ = sender.send(WatchEvent::ListBegin {
            known: self.told.to_string(),
        });
        for object in self
            .objects
            .iter()
            .filter(|(key, _)| scope.covers(key))
            .map(|(_, object)| object)
        {
            let _ = sender.send(WatchEvent::Listed(object.clone()));
        }
        let _ = sender.send(WatchEvent::ListEnd {
            resource_version: self.version.to_string(),
        });
        let _ = sender.send(WatchEvent::Watching);
        self.watches.push((scope, sender));
    }
}

fn key_of(object: &Value) -> Key {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    Key::new(text("namespace"), text("name"))
}

/// JSON merge patch (RFC 7396).
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            into.as_object_mut().map(|map| map.remove(name));
        } else {
            merge(&mut into[name], value);
        }
    }
}

/// Removes the fields whose values differ between the two objects.
fn disown(fields: &mut Value, new: &Value, old: &Value) {
    let Some(map) = fields.as_object_mut() else {
        return;
    };
    map.retain(|element, inner| {
        let Some(name) = element.strip_prefix("f:") else {
            return true;
        };
        if inner.as_object().is_some_and(serde_json::Map::is_empty) {
            return new[name] == old[name];
        }
        disown(inner, &new[name], &old[name]);
        true
    });
}

impl Cluster for FakeCluster {
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
        Box::pin(async move { self.request("get", |inner, _| inner.existing(key, None)) })
    }

    fn apply<'a>(
        &'a self,
        key: &'a Key,
        manager: &'a str,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(async move {
            self.request("apply", |inner, schema| {
                let (uid, version) = (
                    body["metadata"]["uid"].as_str(),
                    body["metadata"]["resourceVersion"].as_str(),
                );
                let existing = inner.objects.get(key).cloned();
                let base = match existing {
                    Some(_) if version == Some("0") => return Err(Error::Changed),
                    Some(object) if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) => {
                        return Err(Error::Changed);
                    }
                    Some(object) => object,
                    None if uid.is_some() => return Err(Error::Changed),
                    None => json!({"metadata": {}}),
                };
                let object = apply::apply(schema, &base, manager, body);
                if object == base {
                    return Ok(base);
                }
                Ok(inner.store(key.clone(), object))
            })
        })
    }

    fn json_patch<'a>(
        &'a self,
        key: &'a Key,
        part: Part,
        operations: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(async move {
            self.request("json_patch", |inner, _| {
                let mut object = inner.existing(key, None)?;
                let status = object.get("status").cloned();
                if part == Part::Status && inner.plain_status {
                    return Err(Error::NotFound);
                }
                for operation in operations.as_array().expect("a patch is a list") {
                    let path = operation["path"].as_str().unwrap();
                    let (parent, name) = path.rsplit_once('/').unwrap();
                    let target = object.pointer_mut(parent).ok_or(Error::Changed)?;
                    match operation["op"].as_str() {
                        Some("test") if target[name] != operation["value"] => {
                            return Err(Error::Changed);
                        }
                        Some("test") => {}
                        Some("remove") => {
                            target
                                .as_object_mut()
                                .and_then(|map| map.remove(name))
                                .ok_or(Error::Changed)?;
                        }
                        _ => target[name] = operation["value"].clone(),
                    }
                }
                if part == Part::Main && !inner.plain_status {
                    let fields = object.as_object_mut().ok_or(Error::Changed)?;
                    fields.remove("status");
                    fields.extend(status.map(|status| ("status".to_owned(), status)));
                }
                Ok(inner.store(key.clone(), object))
            })
        })
    }

    fn merge_patch<'a>(
        &'a self,
        key: &'a Key,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(async move {
            self.request("merge_patch", |inner, _| {
                let mut object = inner.existing(key, body["metadata"]["uid"].as_str())?;
                let version = &body["metadata"]["resourceVersion"];
                if version.is_string() && object["metadata"]["resourceVersion"] != *version {
                    return Err(Error::Changed);
                }
                merge(&mut object, body);
                Ok(inner.store(key.clone(), object))
            })
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        uid: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, Error>> {
        Box::pin(async move { self.request("delete", |inner, _| inner.delete(key, uid)) })
    }
}
