//! The part of an OpenAPI schema that says how server-side apply merges, compiled once per kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A kind's schema, compiled.
#[derive(Debug, Clone)]
pub struct Schema {
    pub(super) root: Node,
}

/// How a value merges.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Replaced as a whole.
    Atomic(Inner),
    /// Fields are owned one by one.
    Map {
        properties: BTreeMap<String, Node>,
        additional: Option<Box<Node>>,
        /// Unknown fields are kept, and merge like [`Node::Any`].
        open: bool,
        embedded: bool,
    },
    /// Values are owned one by one.
    Set(Box<Node>),
    /// Items are owned one by one, by these keys and their defaults.
    Keyed {
        keys: Vec<(String, Option<Value>)>,
        item: Box<Node>,
    },
    /// Nothing is known: maps merge, everything else is atomic.
    Any,
}

/// What is inside of an atomic value, for pruning.
pub(super) type Inner = Option<Box<Node>>;

impl Schema {
    /// Compiles the bare `openAPIV3Schema` of a version.
    pub fn new(open_api: &Value) -> Self {
        let mut root = compile(open_api);
        if let Node::Map { properties, .. } = &mut root {
            properties.insert("metadata".to_owned(), compile(&metadata()));
            properties.insert("apiVersion".to_owned(), Node::Atomic(None));
            properties.insert("kind".to_owned(), Node::Atomic(None));
        }
        Self { root }
    }
}

/// The part of `ObjectMeta` that an apply configuration of ours can hold.
fn metadata() -> Value {
    let text_map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "type": "object",
        "properties": {
            "labels": text_map,
            "annotations": text_map,
            "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "ownerReferences": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"],
                "items": {"type": "object", "x-kubernetes-map-type": "atomic",
                    "x-kubernetes-preserve-unknown-fields": true},
            },
        },
    })
}

fn flag(schema: &Value, name: &str) -> bool {
    schema[name] == Value::Bool(true)
}

fn compile(schema: &Value) -> Node {
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
    match schema["type"].as_str() {
        Some("object") => compile_map(schema, open),
        Some("array") => compile_list(schema),
        None if flag(schema, "x-kubernetes-int-or-string") => Node::Atomic(None),
        None if schema.get("properties").is_some() => compile_map(schema, open),
        None => Node::Any,
        Some(_) => Node::Atomic(None),
    }
}

fn compile_map(schema: &Value, open: bool) -> Node {
    let properties = schema["properties"]
        .as_object()
        .map(|all| {
            all.iter()
                .map(|(name, schema)| (name.clone(), compile(schema)))
                .collect()
        })
        .unwrap_or_default();
    let additional = match &schema["additionalProperties"] {
        Value::Bool(true) => Some(Box::new(Node::Any)),
        Value::Object(inner) => Some(Box::new(compile(&Value::Object(inner.clone())))),
        _ => None,
    };
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let map = Node::Map {
        properties,
        additional,
        open,
        embedded,
    };
    if schema["x-kubernetes-map-type"] == "atomic" {
        Node::Atomic(Some(Box::new(map)))
    } else {
        map
    }
}

fn compile_list(schema: &Value) -> Node {
    let item = Box::new(compile(&schema["items"]));
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Node::Set(item),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            let keys = keys
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|key| {
                    let default = schema["items"]["properties"][key].get("default").cloned();
                    (key.to_owned(), default)
                })
                .collect();
            Node::Keyed { keys, item }
        }
        _ => Node::Atomic(Some(Box::new(Node::Set(item)))),
    }
}

impl Node {
    /// The node of a field, and whether the schema names the field.
    pub(super) fn field(&self, name: &str) -> Option<(&Node, bool)> {
        match self {
            Node::Map {
                properties,
                additional,
                open,
                embedded,
            } => {
                if let Some(node) = properties.get(name) {
                    return Some((node, true));
                }
                if let Some(node) = additional {
                    return Some((node, false));
                }
                let kept =
                    *open || (*embedded && matches!(name, "apiVersion" | "kind" | "metadata"));
                kept.then_some((&Node::Any, false))
            }
            Node::Any => Some((&Node::Any, false)),
            _ => None,
        }
    }

    /// Whether ownership goes into the value rather than ending at it.
    pub(super) fn is_granular(&self, value: &Value) -> bool {
        match self {
            Node::Atomic(_) => false,
            Node::Map { .. } | Node::Any => value.is_object(),
            Node::Set(_) | Node::Keyed { .. } => value.is_array(),
        }
    }

    /// The text by which `managedFields` names an item of this list.
    pub(super) fn item_key(&self, item: &Value) -> String {
        match self {
            Node::Keyed { keys, .. } => {
                let map = keys
                    .iter()
                    .filter_map(|(key, default)| {
                        let value = item.get(key).or(default.as_ref())?;
                        Some((key.clone(), super::canonical::atomic(value)))
                    })
                    .collect();
                format!("k:{}", super::write::line(&Value::Object(map)))
            }
            _ => format!("v:{}", super::write::line(&super::canonical::atomic(item))),
        }
    }

    /// The node of the items of a list.
    pub(super) fn item(&self) -> &Node {
        match self {
            Node::Set(item) | Node::Keyed { item, .. } => item,
            _ => &Node::Any,
        }
    }
}
