//! Each way of becoming narrower, and that silence of the comparison is a promise for all objects.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn spec(schema: Value) -> Value {
    json!({
        "scope": "Namespaced",
        "names": {"kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
    })
}

fn of_spec(field: Value) -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": field}},
    }})
}

fn changes(old: Value, new: Value) -> Vec<String> {
    let breaking = breaking_changes(&spec(old), &spec(new), &["v1".into()]);
    assert!(breaking.impossible.is_empty(), "{breaking:?}");
    let narrowed = breaking.narrowed.into_iter();
    narrowed.flat_map(|narrowed| narrowed.changes).collect()
}

#[test]
fn what_becomes_narrower_is_told_with_its_field() {
    let number = || json!({"type": "integer"});
    for (old, new, told) in [
        (
            number(),
            json!({"type": "string"}),
            "spec.size: has to be of type string",
        ),
        (
            number(),
            json!({"type": "integer", "maximum": 10}),
            "spec.size: the greatest value becomes less",
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!({"type": "integer", "minimum": 2}),
            "spec.size: the least value becomes greater",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!({"type": "string", "enum": ["b", "c"]}),
            "spec.size: fewer values are allowed",
        ),
        (
            json!({"type": "string"}),
            json!({"type": "string", "pattern": "^a"}),
            "spec.size: has to match another pattern",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!({"type": "array", "items": {"type": "string", "maxLength": 3}}),
            "spec.size[]: the greatest length becomes less",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "object"}),
            "spec.size: fields that are not named are removed",
        ),
        (
            json!({"type": "integer", "nullable": true}),
            number(),
            "spec.size: may not be null any more",
        ),
    ] {
        assert_eq!(changes(of_spec(old), of_spec(new)), [told]);
    }
    let mut required = of_spec(number());
    required["properties"]["spec"]["required"] = json!(["size"]);
    let told = "spec.size: becomes required";
    assert_eq!(changes(of_spec(number()), required), [told]);
    let removed = json!({"type": "object", "properties": {"spec": {"type": "object"}}});
    assert_eq!(
        changes(of_spec(number()), removed),
        ["spec.size: is removed"]
    );
}

#[test]
fn what_becomes_wider_is_not_told() {
    let limited = json!({"type": "integer", "maximum": 10, "enum": [1, 2]});
    for new in [
        json!({"type": "integer"}),
        json!({"type": "number", "maximum": 11}),
        json!({"type": "integer", "enum": [1, 2, 3], "description": "other words"}),
        json!({"x-kubernetes-int-or-string": true}),
        json!({"x-kubernetes-preserve-unknown-fields": true}),
    ] {
        let none: [&str; 0] = [];
        assert_eq!(changes(of_spec(limited.clone()), of_spec(new)), none);
    }
    let mut more = of_spec(limited.clone());
    more["properties"]["spec"]["properties"]["coating"] =
        json!({"type": "string", "default": "zinc"});
    more["properties"]["spec"]["required"] = json!(["coating"]);
    assert!(
        changes(of_spec(limited), more).is_empty(),
        "a default fills it in"
    );
}

#[test]
fn what_an_installed_definition_can_never_become_is_told_apart() {
    let old = spec(of_spec(json!({"type": "integer"})));
    let mut new = old.clone();
    new["scope"] = "Cluster".into();
    new["versions"][0]["name"] = "v2".into();
    let breaking = breaking_changes(&old, &new, &["v1".into()]);
    assert_eq!(
        breaking.impossible,
        [
            "the scope changes from Namespaced to Cluster",
            "version v1 goes, in which objects may be stored"
        ]
    );
}

#[test]
fn objects_of_a_version_that_goes_are_asked_about_the_one_that_stays() {
    let old = json!({"scope": "Namespaced", "names": {"kind": "W"}, "versions": [
        {"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": of_spec(json!({"type": "integer"}))}},
        {"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": of_spec(json!({"type": "integer", "maximum": 5}))}},
    ]});
    let mut new = old.clone();
    new["versions"].as_array_mut().unwrap().remove(0);
    let breaking = breaking_changes(&old, &new, &["v2".into()]);
    assert_eq!(breaking.narrowed.len(), 1);
    assert_eq!(breaking.narrowed[0].version, "v1");
}

#[test]
fn an_object_is_told_what_is_wrong_with_it() {
    let schema = json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "required": ["colour", "finish"],
        "properties": {
            "size": {"type": "integer", "maximum": 10},
            "colour": {"type": "string", "enum": ["red"]},
            "finish": {"type": "string", "default": "matt"},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "name": {"type": "string", "pattern": "^[a-z]+$"},
            "either": {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
        },
    }}});
    let object = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "spec": {
        "size": 50, "tags": ["a", "a"], "name": "A", "old": 1, "either": {"a": "1", "b": "2"},
    }});
    let mut told = Judge::new(&schema).violations(&object);
    told.sort();
    assert_eq!(
        told,
        [
            "spec.colour is required and missing",
            "spec.either does not satisfy oneOf",
            "spec.name does not match ^[a-z]+$",
            "spec.old would be dropped",
            "spec.size has the value 50, the greatest is 10",
            "spec.tags has equal items",
        ]
    );
    let good = json!({"spec": {"size": 10, "colour": "red", "tags": ["a"], "either": {"a": "1"}}});
    assert!(Judge::new(&schema).violations(&good).is_empty());
}

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        (
            prop::option::of(-3..3i64),
            prop::option::of(-3..3i64),
            any::<bool>()
        )
            .prop_map(|(least, most, nullable)| {
                let mut schema = json!({"type": "integer", "nullable": nullable});
                if let Some(least) = least {
                    schema["minimum"] = least.into();
                }
                if let Some(most) = most {
                    schema["maximum"] = most.into();
                }
                schema
            }),
        (
            prop::option::of(0..4i64),
            prop::option::of(prop::collection::vec("[ab]", 1..3))
        )
            .prop_map(|(most, values)| {
                let mut schema = json!({"type": "string"});
                if let Some(most) = most {
                    schema["maxLength"] = most.into();
                }
                if let Some(values) = values {
                    schema["enum"] = json!(values);
                }
                schema
            }),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
        Just(json!({"x-kubernetes-int-or-string": true})),
    ]
}

fn any_schema() -> impl Strategy<Value = Value> {
    any_leaf().prop_recursive(3, 24, 3, |inner| {
        let fields = prop::collection::btree_map("[abc]", inner.clone(), 0..3);
        let required = prop::collection::btree_set("[abc]", 0..2);
        let open = prop::option::of(prop_oneof![
            inner
                .clone()
                .prop_map(|schema| ("additionalProperties", schema)),
            Just(("x-kubernetes-preserve-unknown-fields", json!(true))),
        ]);
        prop_oneof![
            (fields, required, open).prop_map(|(fields, required, open)| {
                let mut schema =
                    json!({"type": "object", "properties": fields, "required": required});
                if let Some((key, value)) = open {
                    schema[key] = value;
                }
                schema
            }),
            (inner, prop::option::of(0..3i64), any::<bool>()).prop_map(|(items, most, set)| {
                let mut schema = json!({"type": "array", "items": items});
                if let Some(most) = most {
                    schema["maxItems"] = most.into();
                }
                if set {
                    schema["x-kubernetes-list-type"] = "set".into();
                }
                schema
            }),
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (-4..4i64).prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::btree_map("[abc]", inner.clone(), 0..3).prop_map(|m| json!(m)),
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// What the comparison does not mention may be applied without asking the objects.
    #[test]
    fn silence_is_a_promise(old in any_schema(), new in any_schema(), value in any_value()) {
        let wrap = |schema: &Value| json!({"type": "object", "properties": {"spec": schema}});
        let (old, new) = (wrap(&old), wrap(&new));
        let object = json!({"spec": value});
        if Judge::new(&old).violations(&object).is_empty() && compare::narrower(&old, &new).is_empty() {
            let told = Judge::new(&new).violations(&object);
            prop_assert!(told.is_empty(), "{told:?}");
        }
    }

    #[test]
    fn the_same_schema_is_never_narrower(schema in any_schema()) {
        prop_assert!(compare::narrower(&schema, &schema.clone()).is_empty());
    }
}
