//! A `BoundSchema` as a CRD for the consumer. Pure.

use serde_json::{Map, Value, json};

use super::from_crd::ensure_one_storage_version;
use super::groups::needs_approval;
use super::{Error, crossing_versions, is_built_in_group, open_api, qualified, synced_version};
use crate::api::{BoundSchema, SchemaVersion};

/// An API server serves CRDs in `*.k8s.io` only with this annotation.
const APPROVAL: &str = "api-approved.kubernetes.io";

/// The complete CRD, ready to be applied, without owner references. What the provider sends is not
/// trusted: built-in groups are refused, and a conversion webhook never crosses (see
/// [`crossing_versions`]), since the consumer's API server would call an address of the provider's
/// choice. Everything else in it is validated by the consumer's API server.
pub fn crd_from_bound_schema(schema: &BoundSchema) -> Result<Value, Error> {
    let spec = &schema.spec;
    let resource = qualified(&spec.names.plural, &spec.group);
    if let Some(name) = &schema.metadata.name
        && *name != resource
    {
        return Err(Error::OtherResource {
            expected: name.clone(),
            found: resource,
        });
    }
    if is_built_in_group(&spec.group) {
        return Err(Error::BuiltIn { resource });
    }
    if synced_version(spec).is_none() {
        return Err(Error::NoServedVersion { resource });
    }
    let mut crossing: Vec<SchemaVersion> = crossing_versions(spec).into_iter().cloned().collect();
    ensure_one_storage_version(&mut crossing);
    let versions = crossing
        .iter()
        .map(|version| crd_version(version, &resource))
        .collect::<Result<Vec<Value>, Error>>()?;

    let mut metadata = Map::from_iter([("name".to_owned(), Value::from(resource.clone()))]);
    if needs_approval(&spec.group) {
        metadata.insert(
            "annotations".to_owned(),
            json!({ APPROVAL: "unapproved, bound from a provider by kube-bind" }),
        );
    }
    Ok(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": spec.group,
            "names": to_value(&spec.names),
            "scope": to_value(&spec.scope),
            "versions": versions,
            // Said explicitly, so that applying replaces what an older konnector wrote.
            "conversion": { "strategy": "None" },
        },
    }))
}

fn crd_version(version: &SchemaVersion, resource: &str) -> Result<Value, Error> {
    let open_api = open_api(version).ok_or_else(|| Error::NoSchema {
        resource: resource.to_owned(),
        version: version.name.clone(),
    })?;
    let mut fields = match to_value(version) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields.insert("schema".to_owned(), json!({ "openAPIV3Schema": open_api }));
    if !fields.get("subresources").is_some_and(Value::is_object) {
        fields.insert("subresources".to_owned(), json!({}));
    }
    Ok(Value::Object(fields))
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("the API types have only string keys")
}
