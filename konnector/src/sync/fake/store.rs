//! What the server keeps of one resource, and what each request makes of it. No delays, no failures
//! and no watches: a log tells what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube_bind_crds::digest::Schema;
use serde_json::{Value, json};

use super::super::cluster::{Error, Key, Part};
use super::apply;

/// One change of one object.
#[derive(Clone)]
pub(in super::super) struct Change {
    pub(in super::super) key: Key,
    /// The object after the change, or its last state.
    pub(in super::super) object: Arc<Value>,
    pub(in super::super) gone: bool,
}

/// The objects and the version of a server at one moment, to go back to.
pub(in super::super) type Snapshot = (BTreeMap<Key, Arc<Value>>, u64);

/// One resource of one server.
pub(in super::super) struct Store {
    pub(in super::super) objects: BTreeMap<Key, Arc<Value>>,
    pub(in super::super) version: u64,
    /// The highest version that there ever was; it does not go back with the server.
    pub(in super::super) told: u64,
    /// All changes, for watches.
    pub(in super::super) log: Vec<Change>,
    /// The kind has no status subresource: its status is written like everything else.
    pub(in super::super) plain_status: bool,
    /// Nothing can be created in these namespaces.
    pub(in super::super) closed_namespaces: BTreeSet<String>,
    /// The schema has a default, which nobody owns.
    pub(in super::super) defaults: bool,
    schema: Arc<Schema>,
    /// Objects that were ever created; uids come from it.
    born: u64,
}

impl Store {
    pub(in super::super) fn new(schema: Arc<Schema>) -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 0,
            told: 0,
            log: Vec::new(),
            plain_status: false,
            closed_namespaces: BTreeSet::new(),
            defaults: false,
            schema,
            born: 0,
        }
    }

    pub(in super::super) fn existing(
        &self,
        key: &Key,
        uid: Option<&str>,
    ) -> Result<&Arc<Value>, Error> {
        let object = self.objects.get(key).ok_or(Error::NotFound)?;
        match uid {
            Some(uid) if object["metadata"]["uid"] != uid => Err(Error::Changed),
            _ => Ok(object),
        }
    }

    /// A PUT of a whole object by somebody, or its creation.
    pub(in super::super) fn put(&mut self, mut object: Value) -> Arc<Value> {
        let key = key_of(&object);
        match self.objects.get(&key) {
            Some(old) => {
                object["metadata"]["uid"] = old["metadata"]["uid"].clone();
                disown_all(&mut object, old);
            }
            None => {
                let mut content = object.clone();
                let metadata = content["metadata"].as_object_mut();
                if let Some(metadata) = metadata {
                    metadata.retain(|name, _| matches!(name.as_str(), "labels" | "annotations"));
                }
                let fields = self.schema.recorded(&content);
                object["metadata"]["managedFields"] =
                    json!([{"manager": "somebody", "operation": "Update", "fieldsV1": fields}]);
            }
        }
        self.keep(key, object)
    }

    /// A read, a change and a PUT by somebody, if the object is there.
    pub(in super::super) fn change(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut Value),
    ) -> Option<Arc<Value>> {
        let mut object = Value::clone(self.objects.get(key)?);
        change(&mut object);
        Some(self.put(object))
    }

    /// The object is gone, whatever finalizers it has.
    pub(in super::super) fn vanish(&mut self, key: &Key) {
        if let Some(object) = self.objects.remove(key) {
            self.version += 1;
            let mut object = Arc::unwrap_or_clone(object);
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.tell(key, Arc::new(object), true);
        }
    }

    /// The object is gone, and nobody is told.
    pub(in super::super) fn lose(&mut self, key: &Key) {
        if self.objects.remove(key).is_some() {
            self.version += 1;
        }
    }

    pub(in super::super) fn snapshot(&self) -> Snapshot {
        (self.objects.clone(), self.version)
    }

    /// Goes back to what was once; nobody is told.
    pub(in super::super) fn restore(&mut self, snapshot: Snapshot) {
        (self.objects, self.version) = snapshot;
        self.log.clear();
    }

    pub(in super::super) fn apply(
        &mut self,
        key: &Key,
        manager: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        let metadata = &body["metadata"];
        let (uid, version) = (
            metadata["uid"].as_str(),
            metadata["resourceVersion"].as_str(),
        );
        let fresh;
        let base = match self.objects.get(key) {
            Some(object)
                if version.is_some_and(|it| object["metadata"]["resourceVersion"] != it) =>
            {
                return Err(Error::Changed);
            }
            Some(object) if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) => {
                return Err(Error::Changed);
            }
            Some(object) => object,
            None if uid.is_some() => return Err(Error::Changed),
            None if self.closed_namespaces.contains(&key.namespace) => {
                let message = "it is being terminated".to_owned();
                return Err(Error::NamespaceGone { message });
            }
            None => {
                fresh = Arc::new(json!({"metadata": {}}));
                &fresh
            }
        };
        let object = apply::apply(&self.schema, base, manager, body)?;
        let finalizers = |object: &Value| object["metadata"]["finalizers"].as_array().map(Vec::len);
        if is_terminating(base) && finalizers(&object) > finalizers(base) {
            return Err(invalid(
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted",
            ));
        }
        Ok(Value::clone(&self.keep(key.clone(), object)))
    }

    pub(in super::super) fn json_patch(
        &mut self,
        key: &Key,
        part: Part,
        operations: &Value,
    ) -> Result<Value, Error> {
        let old = Arc::clone(self.existing(key, None)?);
        let mut object = Value::clone(&old);
        let status = object.get("status").cloned();
        if part == Part::Status && self.plain_status {
            return Err(Error::NotFound);
        }
        for operation in operations.as_array().expect("a patch is a list") {
            let path = operation["path"].as_str().expect("a path is a text");
            let (parent, name) = path.rsplit_once('/').expect("a path has a slash");
            let target = object.pointer_mut(parent).and_then(Value::as_object_mut);
            let target = target.ok_or(Error::Changed)?;
            let name = name.replace("~1", "/").replace("~0", "~");
            match operation["op"].as_str() {
                Some("test") if target.get(&name) != operation.get("value") => {
                    return Err(Error::Changed);
                }
                Some("test") => {}
                Some("remove") => {
                    target.remove(&name).ok_or(Error::Changed)?;
                }
                _ => {
                    target.insert(name, operation["value"].clone());
                }
            }
        }
        if part == Part::Main && !self.plain_status {
            let fields = object.as_object_mut().ok_or(Error::Changed)?;
            fields.remove("status");
            fields.extend(status.map(|status| ("status".to_owned(), status)));
        }
        if object["metadata"]["managedFields"] == old["metadata"]["managedFields"] {
            disown_all(&mut object, &old);
        }
        Ok(Value::clone(&self.keep(key.clone(), object)))
    }

    /// JSON merge patch (RFC 7396).
    pub(in super::super) fn merge_patch(
        &mut self,
        key: &Key,
        body: &Value,
    ) -> Result<Value, Error> {
        let metadata = &body["metadata"];
        let mut object = Value::clone(self.existing(key, metadata["uid"].as_str())?);
        let version = &metadata["resourceVersion"];
        if version.is_string() && object["metadata"]["resourceVersion"] != *version {
            return Err(Error::Changed);
        }
        merge(&mut object, body);
        Ok(Value::clone(&self.keep(key.clone(), object)))
    }

    pub(in super::super) fn delete(
        &mut self,
        key: &Key,
        uid: &str,
        version: Option<&str>,
    ) -> Result<Option<Value>, Error> {
        let object = self.existing(key, Some(uid))?;
        if version.is_some_and(|version| object["metadata"]["resourceVersion"] != version) {
            return Err(Error::Changed);
        }
        if !is_terminating(object) {
            let mut object = Value::clone(object);
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            self.keep(key.clone(), object);
        }
        Ok(self.objects.get(key).map(|object| Value::clone(object)))
    }

    fn keep(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        if self.defaults && object["spec"].is_object() && object["spec"]["default"].is_null() {
            object["spec"]["default"] = "by the provider".into();
        }
        if let Some(old) = self.objects.get(&key) {
            object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            // What changes nothing leaves no trace.
            if object == **old {
                return Arc::clone(old);
            }
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            self.born += 1;
            let uid = format!("00000000-0000-4000-8000-{:012x}", 0xabc_000 + self.born);
            object["metadata"]["uid"] = uid.into();
        }
        let finalizers = object["metadata"]["finalizers"].as_array();
        let gone = is_terminating(&object) && finalizers.is_none_or(Vec::is_empty);
        let object = Arc::new(object);
        if gone {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key.clone(), Arc::clone(&object));
        }
        self.tell(&key, Arc::clone(&object), gone);
        object
    }

    fn tell(&mut self, key: &Key, object: Arc<Value>, gone: bool) {
        self.told = self.told.max(self.version);
        self.log.push(Change {
            key: key.clone(),
            object,
            gone,
        });
    }
}

pub(in super::super) fn is_terminating(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

pub(super) fn key_of(object: &Value) -> Key {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    Key::new(text("namespace"), text("name"))
}

pub(super) fn invalid(message: &str) -> Error {
    Error::Rejected {
        code: 422,
        message: message.to_owned(),
    }
}

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

/// Whoever writes a value owns it: it leaves the sets of all others.
fn disown_all(object: &mut Value, old: &Value) {
    let entries = object["metadata"]["managedFields"].as_array_mut();
    let mut entries: Vec<Value> = entries.map(std::mem::take).unwrap_or_default();
    for entry in &mut entries {
        disown(&mut entry["fieldsV1"], object, old);
    }
    object["metadata"]["managedFields"] = entries.into();
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
        inner.as_object().is_some_and(|inner| !inner.is_empty())
    });
}
