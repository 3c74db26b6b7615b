//! Examples by hand, and properties with generated schemas.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn schema() -> Schema {
    Schema::new(&json!({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer"},
                "ratio": {"type": "number"},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "order": {"type": "array", "items": {"type": "string"}},
                "ports": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {"type": "object", "properties": {
                        "port": {"type": "integer"}, "name": {"type": "string"},
                        "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                        "protocol": {"type": "string", "default": "TCP"}}}},
                "options": {"type": "object", "additionalProperties": {"type": "string"}},
                "nested": {"type": "object", "properties": {
                    "inner": {"type": "object", "properties": {"a": {"type": "string"}, "defaulted": {"type": "boolean"}}},
                    "other": {"type": "object", "properties": {"a": {"type": "string"}}}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }},
            "status": {"type": "object"},
        },
    }))
}

/// What a server shows after our apply, with fields of somebody else's beside ours.
fn live(schema: &Schema, configuration: &Value, changes: impl Fn(&mut Value)) -> Value {
    let mut body = configuration.clone();
    changes(&mut body);
    body["metadata"]["managedFields"] = json!([
        {"manager": "kube-bind.io", "operation": "Apply", "fieldsV1": schema.recorded(configuration)},
        {"manager": "other", "operation": "Update", "fieldsV1": {"f:spec": {"f:ratio": {}}}},
        {"manager": "kube-bind.io", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {}}},
    ]);
    body
}

fn agrees(schema: &Schema, configuration: &Value, body: &Value) -> bool {
    schema.applied(configuration) == schema.owned(body, &FieldSet::applied_by(body, "kube-bind.io"))
}

#[test]
fn defaults_and_fields_of_others_do_not_count() {
    let schema = schema();
    let sent =
        json!({"metadata": {"name": "a", "uid": "u", "labels": {"x": "1"}}, "spec": {"size": 3}});
    let body = live(&schema, &sent, |body| {
        body["spec"]["ratio"] = json!(0.5);
        body["metadata"]["labels"]["theirs"] = json!("2");
        body["status"] = json!({"ready": true});
    });
    assert!(agrees(&schema, &sent, &body));
}

#[test]
fn drift_of_our_fields_is_seen() {
    let schema = schema();
    let sent = json!({"spec": {"size": 3, "options": {"a": "1"}}});
    assert!(!agrees(
        &schema,
        &sent,
        &live(&schema, &sent, |body| body["spec"]["size"] = json!(4))
    ));
    let gone = |body: &mut Value| body["spec"]["options"] = json!({});
    assert!(!agrees(&schema, &sent, &live(&schema, &sent, gone)));
}

#[test]
fn a_field_that_another_manager_took_is_missed() {
    let schema = schema();
    let sent = json!({"spec": {"size": 3, "order": ["a"]}});
    let mut body = live(&schema, &sent, |_| {});
    body["metadata"]["managedFields"][0]["fieldsV1"] = json!({"f:spec": {"f:order": {}}});
    assert!(!agrees(&schema, &sent, &body));
}

#[test]
fn order_matters_only_where_it_means_something() {
    let schema = schema();
    let sent =
        json!({"spec": {"tags": ["b", "a"], "ports": [{"port": 1}, {"port": 2, "name": "x"}]}});
    let shuffled = |body: &mut Value| {
        body["spec"]["tags"] = json!(["a", "b"]);
        body["spec"]["ports"] =
            json!([{"port": 2, "name": "x", "protocol": "TCP"}, {"port": 1, "protocol": "TCP"}]);
    };
    assert!(agrees(&schema, &sent, &live(&schema, &sent, shuffled)));
    let ordered = json!({"spec": {"order": ["b", "a"]}});
    let turned = |body: &mut Value| body["spec"]["order"] = json!(["a", "b"]);
    assert!(!agrees(&schema, &ordered, &live(&schema, &ordered, turned)));
}

#[test]
fn numbers_have_one_spelling() {
    let schema = schema();
    let sent = json!({"spec": {"ratio": 1.0}});
    assert!(agrees(
        &schema,
        &sent,
        &live(&schema, &sent, |body| body["spec"]["ratio"] = json!(1))
    ));
}

#[test]
fn an_empty_map_is_presence_and_an_empty_list_is_nothing() {
    let schema = schema();
    let sent = json!({"spec": {"options": {}, "tags": []}});
    let filled = |body: &mut Value| body["spec"]["options"] = json!({"theirs": "1"});
    assert!(agrees(&schema, &sent, &live(&schema, &sent, filled)));
    assert_ne!(
        schema.applied(&sent),
        schema.applied(&json!({"spec": {"tags": []}}))
    );
    assert_eq!(
        schema.applied(&json!({"spec": {"tags": []}})),
        schema.applied(&json!({"spec": {"ports": []}}))
    );
}

#[test]
fn keys_of_other_encoders_are_understood() {
    let schema = schema();
    let body = json!({
        "metadata": {"managedFields": [{"manager": "kube-bind.io", "operation": "Apply", "fieldsV1":
            {"f:spec": {"f:ports": {"k:{\"protocol\": \"TCP\", \"port\":1.0}": {".": {}, "f:port": {}}}}}}]},
        "spec": {"ports": [{"port": 1, "protocol": "TCP"}]},
    });
    assert!(agrees(
        &schema,
        &json!({"spec": {"ports": [{"port": 1}]}}),
        &body
    ));
}

#[test]
fn pruning_follows_the_schema() {
    let mut body = json!({
        "metadata": {"anything": 1},
        "spec": {"size": 1, "unknown": 2, "free": {"kept": {"deep": 1}}, "options": {"k": "v"},
            "ports": [{"port": 1, "other": 2}]},
        "data": {},
    });
    schema().prune(&mut body);
    assert_eq!(
        body,
        json!({
            "metadata": {"anything": 1},
            "spec": {"size": 1, "free": {"kept": {"deep": 1}}, "options": {"k": "v"}, "ports": [{"port": 1}]},
        })
    );
}

fn shrink(before: Value, after: Value, changes: impl Fn(&mut Value)) -> Vec<Value> {
    let schema = schema();
    let body = live(&schema, &before, changes);
    let ours = FieldSet::applied_by(&body, "kube-bind.io");
    let others = FieldSet::of_others(&body, "kube-bind.io");
    schema.shrink(&body, &ours, &others, &after)
}

#[test]
fn containers_that_an_apply_would_empty_are_removed_first() {
    let spec = json!({"spec": {"size": 1, "options": {"a": "1"}, "tags": ["x"]}});
    assert_eq!(
        shrink(
            spec.clone(),
            json!({"spec": {"size": 1, "options": {}, "tags": []}}),
            |_| {}
        ),
        [
            json!({"op": "replace", "path": "/spec/tags", "value": []}),
            json!({"op": "replace", "path": "/spec/options", "value": {}}),
        ]
    );
    assert_eq!(
        shrink(
            spec.clone(),
            json!({"spec": {"size": 1, "tags": ["x"]}}),
            |_| {}
        ),
        [json!({"op": "remove", "path": "/spec/options"})]
    );
    assert_eq!(
        shrink(
            spec.clone(),
            json!({"spec": {"size": 1, "options": {"b": "2"}, "tags": ["y"]}}),
            |_| {}
        )
        .len(),
        0
    );
}

#[test]
fn what_nobody_owns_goes_with_the_item_around_it() {
    let before = json!({"spec": {"size": 1, "ports": [{"port": 1}]}});
    let unowned = |body: &mut Value| body["spec"]["ports"][0]["names"] = json!([]);
    let after = json!({"spec": {"size": 1, "ports": []}});
    assert_eq!(
        shrink(before, after, unowned),
        [json!({"op": "replace", "path": "/spec/ports", "value": []})]
    );
}

#[test]
fn an_item_goes_with_what_others_put_into_it() {
    let schema = schema();
    let mut body = live(
        &schema,
        &json!({"spec": {"size": 1, "ports": [{"port": 1}]}}),
        |body| body["spec"]["ports"][0]["name"] = json!("theirs"),
    );
    body["metadata"]["managedFields"][1]["fieldsV1"] = json!(
        {"f:spec": {"f:ports": {"k:{\"port\":1,\"protocol\":\"TCP\"}": {"f:name": {}}}}});
    let ours = FieldSet::applied_by(&body, "kube-bind.io");
    let others = FieldSet::of_others(&body, "kube-bind.io");
    let after = json!({"spec": {"size": 1, "ports": []}});
    assert_eq!(
        schema.shrink(&body, &ours, &others, &after),
        [json!({"op": "replace", "path": "/spec/ports", "value": []})]
    );
}

#[test]
fn what_nobody_owns_does_not_keep_a_container() {
    let before = json!({"spec": {"size": 1, "nested": {"inner": {"a": "1"}}}});
    let left = |body: &mut Value| body["spec"]["nested"]["inner"]["defaulted"] = json!(true);
    assert_eq!(
        shrink(before, json!({"spec": {"size": 1}}), left),
        [json!({"op": "remove", "path": "/spec/nested"})]
    );
    let before = json!({"spec": {"size": 1}});
    let theirs = |body: &mut Value| body["spec"]["nested"] = json!({"inner": {"a": "1"}});
    assert!(shrink(before.clone(), before, theirs).is_empty());
}

#[test]
fn a_container_that_is_replaced_loses_what_is_nested_in_it() {
    let before = json!({"spec": {"size": 1, "nested": {"inner": {"a": "1"}}}});
    let after = json!({"spec": {"nested": {"other": {"a": "1"}}}});
    assert_eq!(
        shrink(before, after, |_| {}),
        [json!({"op": "remove", "path": "/spec/nested/inner"})]
    );
}

#[test]
fn empty_lists_of_others_do_not_keep_a_container() {
    let schema = schema();
    let before = json!({"spec": {"size": 1}});
    let mut body = live(&schema, &before, |body| body["spec"]["tags"] = json!([]));
    body["metadata"]["managedFields"][1]["fieldsV1"] = json!({"f:spec": {"f:tags": {}}});
    let ours = FieldSet::applied_by(&body, "kube-bind.io");
    let others = FieldSet::of_others(&body, "kube-bind.io");
    assert_eq!(
        schema.shrink(&body, &ours, &others, &json!({"spec": {}})),
        [json!({"op": "replace", "path": "/spec", "value": {}})]
    );
}

#[test]
fn empty_lists_alone_do_not_keep_a_container() {
    let before = json!({"spec": {"size": 1, "tags": []}});
    let after = json!({"spec": {"tags": []}});
    assert_eq!(
        shrink(before, after, |_| {}),
        [json!({"op": "replace", "path": "/spec", "value": {"tags": []}})]
    );
}

#[test]
fn nested_containers_are_removed_at_the_top() {
    let before = json!({"spec": {"size": 1, "nested": {"inner": {"a": "1"}}}});
    assert_eq!(
        shrink(before, json!({"spec": {"size": 1}}), |_| {}),
        [json!({"op": "remove", "path": "/spec/nested"})]
    );
}

#[test]
fn what_others_put_into_a_container_stays() {
    let schema = schema();
    let before = json!({"spec": {"size": 1, "options": {"a": "1"}}});
    let mut body = live(&schema, &before, |body| {
        body["spec"]["options"]["theirs"] = json!("1");
    });
    body["metadata"]["managedFields"][1]["fieldsV1"] =
        json!({"f:spec": {"f:options": {"f:theirs": {}}}});
    let ours = FieldSet::applied_by(&body, "kube-bind.io");
    let others = FieldSet::of_others(&body, "kube-bind.io");
    assert!(
        schema
            .shrink(&body, &ours, &others, &json!({"spec": {"size": 1}}))
            .is_empty()
    );
}

#[test]
fn nulls_that_an_apply_left_behind_are_found() {
    let before = json!({"spec": {"size": 1}});
    let left = |body: &mut Value| body["spec"]["free"] = Value::Null;
    assert_eq!(
        shrink(before.clone(), before, left),
        [json!({"op": "remove", "path": "/spec/free"})]
    );
}

/// A schema and a configuration that fits it.
fn typed() -> impl Strategy<Value = (Value, Value)> {
    let scalar = prop_oneof![
        any::<i32>().prop_map(|n| (json!({"type": "integer"}), json!(n))),
        (-8i32..8).prop_map(|n| (json!({"type": "number"}), json!(f64::from(n) / 2.0))),
        "[a-c]{0,2}".prop_map(|s| (json!({"type": "string"}), json!(s))),
        any::<bool>().prop_map(|b| (json!({"type": "boolean"}), json!(b))),
    ];
    scalar.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            (proptest::collection::btree_map("[a-d]", inner.clone(), 0..4), any::<bool>()).prop_map(
                |(fields, atomic)| {
                    let schemas: serde_json::Map<_, _> = fields.iter().map(|(k, (s, _))| (k.clone(), s.clone())).collect();
                    let values: serde_json::Map<_, _> = fields.into_iter().map(|(k, (_, v))| (k, v)).collect();
                    let kind = if atomic { "atomic" } else { "granular" };
                    (json!({"type": "object", "properties": schemas, "x-kubernetes-map-type": kind}), Value::Object(values))
                }
            ),
            (inner.clone(), proptest::collection::btree_set("[a-d]", 0..3)).prop_map(|((schema, value), keys)| {
                let values: serde_json::Map<_, _> = keys.into_iter().map(|k| (k, value.clone())).collect();
                (json!({"type": "object", "additionalProperties": schema}), Value::Object(values))
            }),
            proptest::collection::btree_set("[a-d]", 0..3).prop_map(|items| {
                (json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}), json!(items))
            }),
            (inner, proptest::collection::btree_set(0i32..5, 0..3)).prop_map(|((schema, value), keys)| {
                let items: Vec<_> = keys.iter().map(|key| json!({"id": key, "x": value})).collect();
                (json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                    "items": {"type": "object", "properties": {"id": {"type": "integer"}, "x": schema}}}), json!(items))
            }),
        ]
    })
}

/// Reverses all lists that are sets or maps, and spells whole numbers as floats.
fn disguise(value: &mut Value, schema: &Value) {
    match value {
        _ if schema["x-kubernetes-map-type"] == "atomic" => {}
        Value::Array(items) => {
            items
                .iter_mut()
                .for_each(|item| disguise(item, &schema["items"]));
            if schema.get("x-kubernetes-list-type").is_some() {
                items.reverse();
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                let inner = schema["properties"]
                    .get(name)
                    .unwrap_or(&schema["additionalProperties"]);
                disguise(value, inner);
            }
        }
        Value::Number(n) if schema["type"] == "number" => *value = json!(n.as_f64()),
        _ => {}
    }
}

proptest! {
    #[test]
    fn what_was_applied_is_what_is_owned((spec, value) in typed()) {
        let schema = Schema::new(&json!({"type": "object", "properties": {"spec": spec.clone()}}));
        let sent = json!({"metadata": {"labels": {"a": "1"}}, "spec": value});
        let body = live(&schema, &sent, |body| disguise(&mut body["spec"], &spec));
        prop_assert!(agrees(&schema, &sent, &body));
    }

    #[test]
    fn the_canonical_form_does_not_depend_on_spelling((spec, value) in typed()) {
        let schema = Schema::new(&json!({"type": "object", "properties": {"spec": spec.clone()}}));
        let mut other = value.clone();
        disguise(&mut other, &spec);
        prop_assert_eq!(schema.applied(&json!({"spec": value})), schema.applied(&json!({"spec": other})));
    }

    #[test]
    fn pruning_what_fits_changes_nothing((spec, value) in typed()) {
        let schema = Schema::new(&json!({"type": "object", "properties": {"spec": spec}}));
        let mut pruned = json!({"spec": value.clone()});
        schema.prune(&mut pruned);
        prop_assert_eq!(pruned, json!({"spec": value}));
    }

    #[test]
    fn removing_everything_needs_no_foreign_container((spec, value) in typed()) {
        let schema = Schema::new(&json!({"type": "object", "properties": {"spec": spec}}));
        let sent = json!({"metadata": {}, "spec": value.clone()});
        let body = live(&schema, &sent, |_| {});
        let ours = FieldSet::applied_by(&body, "kube-bind.io");
        let operations = schema.shrink(&body, &ours, &FieldSet::default(), &json!({}));
        prop_assert!(operations.len() <= 1);
        // The same configuration again empties nothing.
        let again = schema.shrink(&body, &ours, &FieldSet::default(), &json!({"spec": value}));
        prop_assert!(again.is_empty());
    }
}
