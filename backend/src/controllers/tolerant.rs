//! Lists and watches that one object cannot spoil. Consumers write on the provider what decides about
//! other consumers too if it is read in one list, and an API server stores more than a type can hold:
//! a time of the year 9999 in `managedFields`, say. What does not decode is skipped, and named in the log.

use std::borrow::Cow;

use kube::Resource;
use kube::api::{Api, ListParams, ObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube_bind_runtime::apply::timed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object as it comes from the API server, without `managedFields`, which nobody here reads.
#[derive(Clone, Debug)]
pub enum Tolerant<K> {
    /// It decodes.
    Valid(K),
    /// It does not.
    Invalid {
        /// Name, namespace and version only.
        meta: Box<ObjectMeta>,
        /// What is wrong with it.
        why: String,
    },
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Tolerant<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Ok(match K::deserialize(&value) {
            Ok(object) => Self::Valid(object),
            Err(error) => {
                let text = |key: &str| value["metadata"][key].as_str().map(str::to_owned);
                let meta = ObjectMeta {
                    name: text("name"),
                    namespace: text("namespace"),
                    resource_version: text("resourceVersion"),
                    ..ObjectMeta::default()
                };
                Self::Invalid {
                    meta: Box::new(meta),
                    why: error.to_string(),
                }
            }
        })
    }
}

impl<K: Resource> Resource for Tolerant<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }
    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }
    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }
    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }
    fn metadata_api() -> bool {
        K::metadata_api()
    }
    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Valid(object) => object.meta(),
            Self::Invalid { meta, .. } => meta,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Valid(object) => object.meta_mut(),
            Self::Invalid { meta, .. } => meta,
        }
    }
}

impl<K: Resource<DynamicType = ()>> Tolerant<K> {
    /// The object, or a line in the log.
    pub fn valid(self) -> Option<K> {
        match self {
            Self::Valid(object) => Some(object),
            Self::Invalid { meta, why } => {
                let (namespace, name) = (
                    meta.namespace.unwrap_or_default(),
                    meta.name.unwrap_or_default(),
                );
                tracing::warn!(
                    object.namespace = namespace,
                    object.name = name,
                    error = why,
                    "failed to read {} {namespace}/{name}, going on without it",
                    K::kind(&())
                );
                None
            }
        }
    }
}

/// The event without what does not decode; an object that did and does no more counts as deleted.
pub fn event<K>(event: Event<Tolerant<K>>, store: Option<&Store<K>>) -> Option<Event<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let former = |object: &Tolerant<K>| {
        let meta = object.meta();
        let mut reference = ObjectRef::new(meta.name.as_deref().unwrap_or_default());
        reference.namespace.clone_from(&meta.namespace);
        store?.get(&reference).map(|known| K::clone(&known))
    };
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::InitApply(object) => object.valid().map(Event::InitApply),
        Event::Apply(object) => {
            let former = former(&object);
            match object.valid() {
                Some(object) => Some(Event::Apply(object)),
                None => former.map(Event::Delete),
            }
        }
        Event::Delete(object) => {
            let former = former(&object);
            object.valid().or(former).map(Event::Delete)
        }
    }
}

/// All objects of `api` that decode.
pub async fn list<K>(api: &Api<Tolerant<K>>) -> Result<Vec<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let all = timed(api.list(&ListParams::default())).await?;
    Ok(all.items.into_iter().filter_map(Tolerant::valid).collect())
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectList;
    use kube::runtime::reflector;
    use kube_bind_crds::api::APIServiceExport;
    use serde_json::json;

    use super::*;
    use crate::provision::test_support::export;

    type Read = Tolerant<APIServiceExport>;

    fn poisoned() -> Value {
        let mut object = serde_json::to_value(export("one", &["a.example.org"], &[])).unwrap();
        object["metadata"]["resourceVersion"] = json!("7");
        object["status"] = json!({ "conditions": "not a list" });
        object
    }

    #[test]
    fn a_time_that_no_type_holds_is_not_even_looked_at() {
        let mut object = serde_json::to_value(export("one", &["a.example.org"], &[])).unwrap();
        object["metadata"]["managedFields"] = json!([{ "time": "9999-12-31T23:59:59Z" }]);
        assert!(
            serde_json::from_value::<APIServiceExport>(object.clone()).is_err(),
            "without tolerance this fails the list of all consumers"
        );
        assert!(matches!(
            serde_json::from_value::<Read>(object).unwrap(),
            Tolerant::Valid(_)
        ));
    }

    #[test]
    fn what_does_not_decode_is_skipped_and_the_rest_of_the_list_is_read() {
        let list = json!({
            "metadata": {},
            "items": [poisoned(), export("two", &["b.example.org"], &[])],
        });
        let list: ObjectList<Read> = serde_json::from_value(list).unwrap();
        assert_eq!(
            list.items[0].meta().resource_version.as_deref(),
            Some("7"),
            "a watch goes on from there"
        );
        let names: Vec<_> = list
            .items
            .into_iter()
            .filter_map(Tolerant::valid)
            .map(|object| object.metadata.name.unwrap())
            .collect();
        assert_eq!(names, ["two"]);
    }

    #[test]
    fn an_object_that_decodes_no_more_leaves_the_store() {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Apply(export("one", &["a.example.org"], &[])));
        let spoiled = || serde_json::from_value::<Read>(poisoned()).unwrap();
        for found in [Event::Apply(spoiled()), Event::Delete(spoiled())] {
            let found = event(found, Some(&store));
            assert!(
                matches!(found, Some(Event::Delete(known)) if known.metadata.name.as_deref() == Some("one"))
            );
        }
        assert!(event(Event::InitApply(spoiled()), Some(&store)).is_none());
    }
}
