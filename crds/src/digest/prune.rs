//! Removes what the provider's schema does not know: server-side apply refuses unknown fields
//! with a 500, where a PUT would drop them.

use serde_json::Value;

use super::schema::{Node, Schema};

impl Schema {
    /// Removes unknown fields of a configuration. `metadata` is not touched.
    pub fn prune(&self, configuration: &mut Value) {
        let Some(map) = configuration.as_object_mut() else {
            return;
        };
        map.retain(|name, value| {
            if name == "metadata" {
                return true;
            }
            let Some((node, _)) = self.root.field(name) else {
                return false;
            };
            prune(value, node);
            true
        });
    }
}

fn prune(value: &mut Value, node: &Node) {
    match value {
        Value::Object(map) => {
            let node = match node {
                Node::Atomic(Some(inner)) => inner,
                other => other,
            };
            if !matches!(node, Node::Map { .. }) {
                return;
            }
            map.retain(|name, value| match node.field(name) {
                Some((node, _)) => {
                    prune(value, node);
                    true
                }
                None => false,
            });
        }
        Value::Array(items) => {
            let item = match node {
                Node::Atomic(Some(inner)) => inner.item(),
                other => other.item(),
            };
            for value in items {
                prune(value, item);
            }
        }
        _ => {}
    }
}
