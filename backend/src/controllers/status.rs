//! Writes of status (IO), only on change and only over what was read. Conditions are one list for the
//! API server and have several writers, so a write without that precondition would undo theirs.

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use kube_bind_runtime::apply::timed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Patches `status` of `object` if `wanted` differs from `current`. Says whether it did. A conflict
/// means that the object has to be looked at again.
pub async fn report<K>(
    api: &Api<K>,
    object: &K,
    current: &impl Serialize,
    wanted: &impl Serialize,
    manager: &str,
) -> Result<bool, kube::Error>
where
    K: Resource + DeserializeOwned + Clone + std::fmt::Debug,
{
    let Some(changes) = difference(current, wanted).map_err(kube::Error::SerdeError)? else {
        return Ok(false);
    };
    let patch = json!({
        "metadata": { "uid": object.uid(), "resourceVersion": object.resource_version() },
        "status": changes,
    });
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    timed(api.patch_status(&object.name_any(), &params, &Patch::Merge(patch))).await?;
    Ok(true)
}

/// The merge patch between two statuses, one level deep: changed fields whole, removed ones null.
fn difference(
    current: &impl Serialize,
    wanted: &impl Serialize,
) -> Result<Option<Value>, serde_json::Error> {
    let (current, wanted) = (
        serde_json::to_value(current)?,
        serde_json::to_value(wanted)?,
    );
    let empty = serde_json::Map::new();
    let (current, wanted) = (
        current.as_object().unwrap_or(&empty),
        wanted.as_object().unwrap_or(&empty),
    );
    let mut changes = serde_json::Map::new();
    for (key, value) in wanted {
        if current.get(key) != Some(value) {
            changes.insert(key.clone(), value.clone());
        }
    }
    for key in current.keys().filter(|key| !wanted.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    Ok((!changes.is_empty()).then_some(Value::Object(changes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_in_the_patch() {
        let current = json!({ "phase": "Pending", "kept": [1], "gone": "x" });
        let wanted = json!({ "phase": "Failed", "kept": [1], "new": [{ "type": "Ready" }] });
        assert_eq!(
            difference(&current, &wanted).unwrap(),
            Some(json!({ "phase": "Failed", "gone": null, "new": [{ "type": "Ready" }] }))
        );
        assert_eq!(difference(&current, &current).unwrap(), None);
    }
}
