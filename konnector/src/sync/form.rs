//! How an object of one side looks on the other: which parts cross, which marks it gets, and what
//! the engine remembers of it. Pure.

use kube_bind_crds::api::{Isolation, ResourceScope};
use kube_bind_crds::digest::{self, Digest, FieldSet, Schema};
use kube_bind_crds::names;
use serde_json::{Map, Value, json};

use super::adopt::{self, managed};
use super::cluster::Key;
use super::config::EngineConfig;
use super::entry::{Consumer, Owner, Provider, Uid, Version};
use super::skip_keys::SkipKeys;

/// Manager of our marks on consumer objects.
pub(super) const MARK_MANAGER: &str = "kube-bind-konnector/sync";

/// Translates the objects of one engine.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) schema: Schema,
    cluster_namespace: String,
    owner_reference: Option<Value>,
    skip_keys: SkipKeys,
    api_version: String,
    kind: String,
}

impl Form {
    pub(super) fn new(config: &EngineConfig) -> Self {
        // Copies outside of any namespace of ours are tied to it, so that they go with it.
        let loose =
            config.scope == ResourceScope::Cluster && config.isolation != Isolation::Namespaced;
        let owner_reference = loose.then(|| {
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "name": config.cluster_namespace,
                "uid": config.cluster_namespace_uid,
            })
        });
        Self {
            schema: Schema::new(&config.schema),
            cluster_namespace: config.cluster_namespace.clone(),
            owner_reference,
            skip_keys: config.skip_keys.clone(),
            api_version: config.resource.api_version(),
            kind: config.resource.kind.clone(),
        }
    }

    /// The apply configuration of the provider copy, without preconditions.
    pub(super) fn configuration(&self, consumer: &Value, provider: &Key) -> Value {
        let from = &consumer["metadata"];
        let mut annotations = self.crossing(&from["annotations"]);
        let text = |value: &Value| Value::from(value.as_str().unwrap_or_default());
        annotations.insert(
            names::ANNOTATION_CLUSTER_NAMESPACE.into(),
            self.cluster_namespace.as_str().into(),
        );
        annotations.insert(
            names::ANNOTATION_CONSUMER_NAMESPACE.into(),
            text(&from["namespace"]),
        );
        annotations.insert(names::ANNOTATION_CONSUMER_UID.into(), text(&from["uid"]));
        let mut metadata = self.identity(provider);
        metadata.insert("annotations".into(), annotations.into());
        let labels = self.crossing(&from["labels"]);
        if !labels.is_empty() {
            metadata.insert("labels".into(), labels.into());
        }
        if let Some(reference) = &self.owner_reference {
            metadata.insert("ownerReferences".into(), json!([reference]));
        }
        let mut body = Map::new();
        for (name, value) in content(consumer) {
            body.insert(name.clone(), value.clone());
        }
        let mut body = Value::Object(body);
        self.schema.prune(&mut body);
        body["apiVersion"] = self.api_version.as_str().into();
        body["kind"] = self.kind.as_str().into();
        body["metadata"] = metadata.into();
        body
    }

    /// The apply configuration of our marks on a consumer object. `link` is the copy it leads to.
    pub(super) fn marks(
        &self,
        consumer: &Key,
        uid: &Uid,
        finalizer: bool,
        link: Option<(&str, &Uid)>,
        problem: Option<&str>,
    ) -> Value {
        let mut metadata = self.identity(consumer);
        metadata.insert("uid".into(), uid.to_string().into());
        if finalizer {
            metadata.insert("finalizers".into(), json!([names::FINALIZER_SYNCER]));
        }
        let mut annotations = Map::new();
        if let Some((namespace, uid)) = link {
            annotations.insert(
                names::ANNOTATION_PROVIDER_NAMESPACE.into(),
                namespace.into(),
            );
            annotations.insert(
                names::ANNOTATION_PROVIDER_UID.into(),
                uid.to_string().into(),
            );
        }
        if let Some(problem) = problem {
            annotations.insert(names::ANNOTATION_SYNC_PROBLEM.into(), problem.into());
        }
        if !annotations.is_empty() {
            metadata.insert("annotations".into(), annotations.into());
        }
        json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata})
    }

    /// The labels or annotations that cross to the other side.
    fn crossing(&self, from: &Value) -> Map<String, Value> {
        let keys = self.keys(from);
        keys.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn keys<'a>(&'a self, from: &'a Value) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let keys = from.as_object().into_iter().flatten();
        keys.filter(|(key, _)| !self.skip_keys.skips(key))
    }

    fn identity(&self, key: &Key) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("name".into(), key.name.as_str().into());
        if !key.namespace.is_empty() {
            metadata.insert("namespace".into(), key.namespace.as_str().into());
        }
        metadata
    }

    /// What is remembered of a consumer object.
    pub(super) fn consumer(&self, body: &Value) -> Consumer {
        // The place of the copy is not part of the digest.
        let configuration = self.configuration(body, &Key::default());
        self.consumer_with(body, self.schema.applied(&configuration))
    }

    /// The same of one that was like this `before`, whose digest is known: answers to our own writes
    /// have nothing new but our marks.
    pub(super) fn consumer_after(&self, before: (&Value, Digest), body: &Value) -> Consumer {
        if self.crosses_alike(before.0, body) {
            self.consumer_with(body, before.1)
        } else {
            self.consumer(body)
        }
    }

    /// Whether both have the same configuration, but for what it says of their names.
    fn crosses_alike(&self, one: &Value, other: &Value) -> bool {
        let (from, to) = (&one["metadata"], &other["metadata"]);
        from["uid"] == to["uid"]
            && from["namespace"] == to["namespace"]
            && content(one).eq(content(other))
            && self.keys(&from["labels"]).eq(self.keys(&to["labels"]))
            && self
                .keys(&from["annotations"])
                .eq(self.keys(&to["annotations"]))
    }

    fn consumer_with(&self, body: &Value, configuration: Digest) -> Consumer {
        let metadata = &body["metadata"];
        let annotation = |key: &str| metadata["annotations"][key].as_str();
        let uid = annotation(names::ANNOTATION_PROVIDER_UID);
        let namespace = annotation(names::ANNOTATION_PROVIDER_NAMESPACE);
        Consumer {
            uid: uid_of(body),
            version: version_of(body),
            configuration,
            status: digest::whole(body.get("status")),
            terminating: is_terminating(body),
            finalizer: finalizers(body).any(|finalizer| finalizer == names::FINALIZER_SYNCER),
            other_finalizers: finalizers(body)
                .filter(|finalizer| *finalizer != names::FINALIZER_SYNCER)
                .map(Into::into)
                .collect(),
            link: uid
                .zip(namespace)
                .map(|(uid, namespace)| link(namespace, uid))
                .unwrap_or_default(),
            problem: problem(annotation(names::ANNOTATION_SYNC_PROBLEM)),
            unreadable: false,
        }
    }

    /// What is remembered of a consumer object that cannot be read, and was like this `before`.
    pub(super) fn known_consumer(&self, metadata: &Value, before: Option<&Consumer>) -> Consumer {
        let same = before.filter(|before| before.uid == uid_of(metadata));
        let content = same.map(|before| (before.configuration, before.status));
        let (configuration, status) = content.unwrap_or_default();
        Consumer {
            status,
            unreadable: true,
            ..self.consumer_with(metadata, configuration)
        }
    }

    /// What is remembered of a provider object.
    pub(super) fn provider(&self, body: &Value) -> Provider {
        let annotations = &body["metadata"]["annotations"];
        let ours = annotations[names::ANNOTATION_CLUSTER_NAMESPACE] == *self.cluster_namespace;
        let owner = match annotations[names::ANNOTATION_CONSUMER_UID].as_str() {
            Some(uid) if ours => Owner::Ours(Uid::parse(uid)),
            _ => Owner::Foreign,
        };
        let adopt = ours && adopt::is_needed(body);
        let mut owned = FieldSet::applied_by(body, names::FIELD_MANAGER_SYNC);
        if adopt {
            for fields in managed(body).filter_map(adopt::created) {
                owned.merge(FieldSet::parse(&fields));
            }
        }
        Provider {
            uid: uid_of(body),
            version: version_of(body),
            owned: self.schema.owned(body, &owned),
            status: digest::whole(body.get("status")),
            terminating: is_terminating(body),
            owner,
            adopt,
            unreadable: false,
        }
    }

    /// What is remembered of a provider object that cannot be read, and was like this `before`.
    pub(super) fn known_provider(&self, metadata: &Value, before: Option<&Provider>) -> Provider {
        let same = before.filter(|before| before.uid == uid_of(metadata));
        let content = same.map(|before| (before.owned, before.status, before.adopt));
        let (owned, status, adopt) = content.unwrap_or_default();
        Provider {
            owned,
            status,
            adopt,
            unreadable: true,
            ..self.provider(metadata)
        }
    }
}

/// What crosses as it is, but for what the schema does not know.
fn content(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
}

/// Digest of the annotations that lead to a copy.
pub(super) fn link(namespace: &str, uid: &str) -> Digest {
    digest::text(&[namespace, uid])
}

/// Digest of a problem's annotation.
pub(super) fn problem(text: Option<&str>) -> Digest {
    text.map(|text| digest::text(&[text])).unwrap_or_default()
}

/// The object's finalizers.
fn finalizers(body: &Value) -> impl Iterator<Item = &str> {
    let finalizers = body["metadata"]["finalizers"].as_array();
    finalizers.into_iter().flatten().filter_map(Value::as_str)
}

/// The object's key.
pub(super) fn key_of(body: &Value) -> Key {
    let metadata = &body["metadata"];
    Key::new(
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default(),
    )
}

/// The object's version.
pub(super) fn version_of(body: &Value) -> Version {
    Version::parse(
        body["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default(),
    )
}

/// Whether the object is being deleted.
pub(super) fn is_terminating(body: &Value) -> bool {
    body["metadata"].get("deletionTimestamp").is_some()
}

/// The object's uid.
pub(super) fn uid_of(body: &Value) -> Uid {
    Uid::parse(body["metadata"]["uid"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests;
