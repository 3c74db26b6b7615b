//! What an API server records in `managedFields` when a configuration is applied: the other
//! direction, for API servers in memory and for tests of this module.

use serde_json::{Map, Value, json};

use super::schema::{Node, Schema};

impl Schema {
    /// `fieldsV1` of an applied configuration.
    pub fn recorded(&self, configuration: &Value) -> Value {
        let mut root = Map::new();
        for (name, value) in configuration.as_object().into_iter().flatten() {
            let Some((node, _)) = self.root.field(name) else {
                continue;
            };
            let mut value = value.clone();
            match name.as_str() {
                "apiVersion" | "kind" => continue,
                "metadata" => {
                    for identity in ["name", "namespace", "uid", "resourceVersion"] {
                        value.as_object_mut().map(|map| map.remove(identity));
                    }
                }
                _ => {}
            }
            descend(&mut root, format!("f:{name}"), &value, node, false);
        }
        Value::Object(root)
    }
}

/// `member`: the place itself is owned although something is inside of it.
fn descend(
    out: &mut Map<String, Value>,
    element: String,
    value: &Value,
    node: &Node,
    member: bool,
) {
    let mut inner = Map::new();
    match value {
        _ if !node.is_granular(value) => {
            out.insert(element, json!({}));
            return;
        }
        Value::Object(map) => {
            for (name, value) in map {
                if let Some((node, declared)) = node.field(name) {
                    descend(&mut inner, format!("f:{name}"), value, node, !declared);
                }
            }
            if map.is_empty() {
                out.insert(element, json!({}));
                return;
            }
        }
        Value::Array(items) => {
            for item in items {
                descend(
                    &mut inner,
                    item_element(node, item),
                    item,
                    node.item(),
                    true,
                );
            }
        }
        _ => {}
    }
    match (member, inner.is_empty()) {
        (true, true) => {
            out.insert(element, json!({}));
        }
        (false, true) => {}
        (true, false) => {
            inner.insert(".".to_owned(), json!({}));
            out.insert(element, Value::Object(inner));
        }
        (false, false) => {
            out.insert(element, Value::Object(inner));
        }
    }
}

fn item_element(node: &Node, item: &Value) -> String {
    let Node::Keyed { keys, .. } = node else {
        return format!("v:{item}");
    };
    let key: Map<String, Value> = keys
        .iter()
        .filter_map(|(key, default)| {
            Some((key.clone(), item.get(key).or(default.as_ref())?.clone()))
        })
        .collect();
    format!("k:{}", Value::Object(key))
}
