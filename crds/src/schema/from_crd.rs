//! A provider's CRD (or another schema source of the same shape) as a `BoundSchema`. Pure.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;
use serde_json::Value;

use super::{Error, crossing_versions, hash, is_built_in_group, name, open_api, qualified};
use crate::api::{
    BoundSchema, BoundSchemaSpec, GroupResource, InformerScope, Isolation, ResourceScope,
    SchemaVersion,
};
use crate::names::{ANNOTATION_LEFT_OUT, ANNOTATION_SOURCE_SPEC_HASH};

/// A bound schema, and what of its source is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct FromCrd {
    /// The bound schema, with its annotations, without owner references.
    pub bound_schema: BoundSchema,
    /// Served and wanted versions that stay behind, because only the source's conversion webhook could
    /// convert them.
    pub left_out: Vec<String>,
}

/// Makes the bound schema of one requested resource. `versions` are those wanted; none means all that
/// are served. The source's JSON decides between wrapped and bare schemas, both are kept as they are.
pub fn bound_schema_from_crd(
    crd: &Value,
    resource: &GroupResource,
    versions: &[String],
    namespace: &str,
    informer_scope: InformerScope,
    isolation: Isolation,
) -> Result<FromCrd, Error> {
    let mut spec = read_spec(crd, resource, informer_scope)?;
    if spec.scope == ResourceScope::Namespaced && isolation == Isolation::Namespaced {
        // All objects of a consumer live in its cluster namespace, so its users see no namespaces.
        spec.scope = ResourceScope::Cluster;
    }
    keep_wanted(&mut spec.versions, resource, versions)?;
    let before: Vec<String> = spec.versions.iter().map(|v| v.name.clone()).collect();
    let crossing: Vec<SchemaVersion> = crossing_versions(&spec).into_iter().cloned().collect();
    let left_out: Vec<String> = before
        .into_iter()
        .filter(|name| crossing.iter().all(|version| version.name != *name))
        .collect();
    spec.versions = crossing;
    // Versions that are left differ in name only, and a strategy with a webhook must not cross.
    spec.conversion = None;
    ensure_one_storage_version(&mut spec.versions);
    if let Some(version) = spec.versions.iter().find(|v| open_api(v).is_none()) {
        return Err(Error::NoSchema {
            resource: name(resource),
            version: version.name.clone(),
        });
    }
    let mut annotations = BTreeMap::from([(ANNOTATION_SOURCE_SPEC_HASH.to_owned(), hash(&spec))]);
    if !left_out.is_empty() {
        annotations.insert(ANNOTATION_LEFT_OUT.to_owned(), left_out.join(","));
    }
    let metadata = ObjectMeta {
        name: Some(name(resource)),
        namespace: Some(namespace.to_owned()),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    Ok(FromCrd {
        bound_schema: BoundSchema {
            metadata,
            spec,
            status: None,
        },
        left_out,
    })
}

fn read_spec(
    crd: &Value,
    resource: &GroupResource,
    informer_scope: InformerScope,
) -> Result<BoundSchemaSpec, Error> {
    let mut fields = crd
        .get("spec")
        .and_then(Value::as_object)
        .ok_or_else(|| Error::NoSpec {
            resource: name(resource),
        })?
        .clone();
    fields.insert(
        "informerScope".to_owned(),
        serde_json::to_value(informer_scope).expect("an enum without fields is a string"),
    );
    let spec: BoundSchemaSpec =
        serde_json::from_value(Value::Object(fields)).map_err(|source| Error::Malformed {
            resource: name(resource),
            source,
        })?;
    let found = qualified(&spec.names.plural, &spec.group);
    if found != name(resource) {
        return Err(Error::OtherResource {
            expected: name(resource),
            found,
        });
    }
    if is_built_in_group(&spec.group) {
        return Err(Error::BuiltIn { resource: found });
    }
    Ok(spec)
}

/// Keeps served versions that are wanted, in the order of the source.
fn keep_wanted(
    available: &mut Vec<SchemaVersion>,
    resource: &GroupResource,
    wanted: &[String],
) -> Result<(), Error> {
    available.retain(|version| version.served);
    if available.is_empty() {
        return Err(Error::NoServedVersion {
            resource: name(resource),
        });
    }
    if wanted.is_empty() {
        return Ok(());
    }
    if let Some(missing) = wanted
        .iter()
        .find(|wanted| available.iter().all(|version| version.name != **wanted))
    {
        return Err(Error::VersionNotServed {
            resource: name(resource),
            version: missing.clone(),
            served: available.iter().map(|v| v.name.clone()).collect(),
        });
    }
    available.retain(|version| wanted.contains(&version.name));
    Ok(())
}

/// A CRD stores exactly one version; the source's may have stayed behind.
pub(super) fn ensure_one_storage_version(versions: &mut [SchemaVersion]) {
    let storage = versions
        .iter()
        .position(|version| version.storage)
        .unwrap_or_default();
    for (index, version) in versions.iter_mut().enumerate() {
        version.storage = index == storage;
    }
}
