//! Objects as they should be, and whether an existing one differs. Pure.

use kube::api::ApiResource;
use kube::api::DynamicObject;
use kube::{Resource, ResourceExt};
use serde_json::Value;

/// One object as it should be, in the form that is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Which resource it is.
    pub resource: ApiResource,
    /// Its namespace, unless it is cluster-scoped.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Everything that we want to own of it.
    pub body: Value,
}

impl Desired {
    /// An object of kind `K`; fills in type, name and namespace.
    pub fn of<K: Resource<DynamicType = ()>>(
        namespace: Option<&str>,
        name: &str,
        mut body: Value,
    ) -> Self {
        body["apiVersion"] = K::api_version(&()).into();
        body["kind"] = K::kind(&()).into();
        body["metadata"]["name"] = name.into();
        if let Some(namespace) = namespace {
            body["metadata"]["namespace"] = namespace.into();
        }
        Self {
            resource: ApiResource::erase::<K>(&()),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            body,
        }
    }
}

/// What has to be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Apply it.
    Apply,
    /// Delete it first: it differs in `roleRef`, which cannot change.
    Recreate,
}

/// Compares an object with what it should be.
pub fn change(current: Option<&DynamicObject>, desired: &Desired) -> Change {
    let Some(current) = current else {
        return Change::Apply;
    };
    if let Some(role) = desired.body.get("roleRef")
        && current.data.get("roleRef") != Some(role)
    {
        return Change::Recreate;
    }
    let Some(fields) = desired.body.as_object() else {
        return Change::Apply;
    };
    let same = fields.iter().all(|(key, wanted)| match key.as_str() {
        "apiVersion" | "kind" => true,
        "metadata" => has_metadata(current, wanted),
        _ => contains(current.data.get(key), wanted),
    });
    if same { Change::None } else { Change::Apply }
}

fn has_metadata(current: &DynamicObject, wanted: &Value) -> bool {
    let all = |key: &str, has: &dyn Fn(&str) -> Option<String>| {
        wanted[key]
            .as_object()
            .is_none_or(|entries| entries.iter().all(|(k, v)| has(k).as_deref() == v.as_str()))
    };
    let owners = serde_json::to_value(current.owner_references()).unwrap_or_default();
    all("labels", &|key| current.labels().get(key).cloned())
        && all("annotations", &|key| {
            current.annotations().get(key).cloned()
        })
        && wanted
            .get("ownerReferences")
            .is_none_or(|wanted| contains(Some(&owners), wanted))
}

/// Whether `current` has everything that `wanted` has; lists must agree in length and order, and an
/// empty list is the same as none, because the API server stores it so.
fn contains(current: Option<&Value>, wanted: &Value) -> bool {
    match (current, wanted) {
        (None | Some(Value::Null), Value::Array(items)) => items.is_empty(),
        (None | Some(Value::Null), Value::Null) => true,
        (None, _) => false,
        (Some(Value::Object(current)), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| contains(current.get(key), value)),
        (Some(Value::Array(current)), Value::Array(wanted)) => {
            current.len() == wanted.len()
                && current
                    .iter()
                    .zip(wanted)
                    .all(|(current, wanted)| contains(Some(current), wanted))
        }
        (Some(current), wanted) => current == wanted,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
    use serde_json::json;

    use super::*;

    fn role(rules: Value) -> Desired {
        Desired::of::<Role>(Some("ns-a"), "role-a", json!({ "rules": rules }))
    }

    fn stored(body: Value) -> DynamicObject {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn fields_of_others_are_no_difference() {
        let desired = role(json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]));
        let mut body = desired.body.clone();
        body["metadata"]["resourceVersion"] = json!("9");
        body["metadata"]["labels"] = json!({ "foreign": "label" });
        assert_eq!(change(Some(&stored(body)), &desired), Change::None);
    }

    #[test]
    fn an_additional_rule_of_others_is_a_difference() {
        let desired = role(json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]));
        let mut body = desired.body.clone();
        body["rules"] = json!([
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] },
            { "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] },
        ]);
        assert_eq!(change(Some(&stored(body)), &desired), Change::Apply);
    }

    #[test]
    fn no_rules_are_stored_as_nothing() {
        let desired = role(json!([]));
        let mut body = desired.body.clone();
        body.as_object_mut().unwrap().remove("rules");
        assert_eq!(change(Some(&stored(body)), &desired), Change::None);
    }

    #[test]
    fn a_missing_label_is_a_difference_and_a_missing_object_is_applied() {
        let desired = Desired::of::<Role>(
            Some("ns-a"),
            "role-a",
            json!({ "metadata": { "labels": { "l": "v" } }, "rules": [] }),
        );
        assert_eq!(change(None, &desired), Change::Apply);
        let body = json!({ "apiVersion": "v1", "kind": "Role", "metadata": { "name": "role-a" } });
        assert_eq!(change(Some(&stored(body)), &desired), Change::Apply);
    }

    #[test]
    fn a_binding_to_another_role_is_made_anew() {
        let reference = |kind: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "kube-binder" });
        let desired = Desired::of::<RoleBinding>(
            Some("ns-a"),
            "kube-binder",
            json!({ "roleRef": reference("Role"), "subjects": [] }),
        );
        let mut body = desired.body.clone();
        body["roleRef"] = reference("ClusterRole");
        assert_eq!(change(Some(&stored(body)), &desired), Change::Recreate);
    }
}
