//! What lists and watches are read as. No IO.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One page of a list.
#[derive(Deserialize)]
#[serde(bound = "K: DeserializeOwned")]
pub(super) struct Page<K> {
    pub(super) metadata: ListMeta,
    #[serde(default)]
    pub(super) items: Vec<Plain<K>>,
}

/// Versions, whatever else there is.
#[derive(Deserialize)]
pub(super) struct Glance {
    pub(super) metadata: Position,
    #[serde(default)]
    pub(super) items: Vec<GlancedAt>,
}

#[derive(Deserialize)]
pub(super) struct GlancedAt {
    pub(super) metadata: Position,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Position {
    resource_version: Option<String>,
}

impl Position {
    pub(super) fn number(&self) -> Option<u64> {
        self.resource_version.as_deref()?.parse().ok()
    }
}

/// An object without its editing history. Nobody here needs that, and who can write an object can write
/// times into it that no type holds: one such object would keep all others from being known.
#[derive(Clone, Debug)]
pub(super) struct Plain<K>(pub(super) K);

impl<'de, K: DeserializeOwned> Deserialize<'de> for Plain<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        serde_json::from_value(object)
            .map(Plain)
            .map_err(serde::de::Error::custom)
    }
}
