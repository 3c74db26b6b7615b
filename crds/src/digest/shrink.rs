//! What server-side apply cannot remove: it cannot make a map or an associative list empty, and
//! answers 422 or stores a null instead. Such containers are removed before the apply.

use serde_json::{Value, json};

use super::canonical::applied;
use super::fields::FieldSet;
use super::schema::{Node, Schema};

/// What an apply would leave of a value.
enum Left {
    Something,
    Nothing,
    /// What nobody owns, such as defaults and empty lists: not worth a container of ours.
    Leftovers,
}

impl Schema {
    /// Operations of a JSON patch on the containers that the apply of this configuration would
    /// empty, and on the nulls that an earlier one left behind. What is to stay as empty is made so
    /// and not removed, or its default would come back. `ours` and `others` are from the same body.
    pub fn shrink(
        &self,
        body: &Value,
        ours: &FieldSet,
        others: &FieldSet,
        configuration: &Value,
    ) -> Vec<Value> {
        let mut operations = Vec::new();
        for (name, value) in body.as_object().into_iter().flatten() {
            // Metadata is typed: an empty map there is simply absent.
            if matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
                continue;
            }
            let Some((node, declared)) = self.root.field(name) else {
                continue;
            };
            let walk = Walk {
                ours: ours.field(name),
                others: others.field(name),
                declared,
            };
            let wanted = configuration.get(name);
            let path = format!("/{}", escape(name));
            if let Left::Nothing = walk.left(value, node, wanted, &path, &mut operations) {
                walk.remove(value, node, &path, &mut operations);
            }
        }
        // From the end, so that a removal does not move what is removed after it.
        operations.reverse();
        operations
    }
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    ours: Option<&'a FieldSet>,
    others: Option<&'a FieldSet>,
    /// The schema names this place. Other places go with all that is inside as soon as the last one
    /// lets go of them who owns them as such.
    declared: bool,
}

impl<'a> Walk<'a> {
    fn into(self, element: &str, declared: bool) -> Self {
        Self {
            ours: self.ours.and_then(|set| set.child(element)),
            others: self.others.and_then(|set| set.child(element)),
            declared,
        }
    }

    /// Apply removes a place that we own as such, so only the others need help.
    fn remove(self, value: &Value, node: &Node, path: &str, operations: &mut Vec<Value>) {
        let owned_itself = self.ours.is_some_and(|set| set.member);
        if value.is_null() || (node.is_granular(value) && !owned_itself) {
            operations.push(removal(path));
        }
    }

    fn left(
        self,
        value: &Value,
        node: &Node,
        wanted: Option<&Value>,
        path: &str,
        operations: &mut Vec<Value>,
    ) -> Left {
        if value.is_null() && self.ours.is_none() && self.others.is_none() {
            // A null that nobody owns is what an apply left of a container.
            if wanted.is_none_or(Value::is_null) {
                return Left::Nothing;
            }
            operations.push(removal(path));
            return Left::Something;
        }
        let is_empty_list = value.as_array().is_some_and(Vec::is_empty);
        if is_empty_list && wanted.is_none() && self.ours.is_none() {
            // An apply does not see it when it empties what is around it, even if others own it.
            return Left::Leftovers;
        }
        let alone = match (self.ours.is_some(), self.others.is_some()) {
            (false, false) => Left::Leftovers,
            _ if wanted.is_some() => Left::Something,
            (true, false) => Left::Nothing,
            (_, true) => Left::Something,
        };
        if !node.is_granular(value) {
            return alone;
        }
        let is_member = |set: Option<&FieldSet>| set.is_some_and(|set| set.member);
        let held = match self.declared {
            true => self.others.is_some(),
            false => is_member(self.others),
        };
        if wanted.is_none() && is_member(self.ours) && !held {
            return Left::Nothing;
        }
        let children = self.children(value, node, wanted, path);
        if children.is_empty() {
            return alone;
        }
        let mut removed = Vec::new();
        let mut inner = Vec::new();
        let mut stays = wanted.is_some_and(|wanted| !is_hollow(wanted, node));
        for child in children {
            match child.walk.left(
                child.value,
                child.node,
                child.wanted,
                &child.path,
                &mut inner,
            ) {
                Left::Something => stays = true,
                Left::Nothing => removed.push(child),
                Left::Leftovers => {}
            }
        }
        match wanted {
            _ if stays => {
                for child in removed {
                    child
                        .walk
                        .remove(child.value, child.node, &child.path, &mut inner);
                }
                operations.append(&mut inner);
                Left::Something
            }
            None if removed.is_empty() => Left::Leftovers,
            None => Left::Nothing,
            Some(_) if removed.is_empty() => alone,
            Some(wanted) => {
                operations.push(json!({"op": "replace", "path": path, "value": wanted}));
                Left::Something
            }
        }
    }

    fn children<'b>(
        self,
        value: &'b Value,
        node: &'b Node,
        wanted: Option<&'b Value>,
        path: &str,
    ) -> Vec<Child<'a, 'b>> {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(name, value)| {
                    let (node, declared) = node.field(name).unwrap_or((&Node::Any, false));
                    Child {
                        walk: self.into(&format!("f:{name}"), declared),
                        value,
                        node,
                        wanted: wanted.and_then(|wanted| wanted.get(name)),
                        path: format!("{path}/{}", escape(name)),
                    }
                })
                .collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, value)| {
                    let key = node.item_key(value);
                    let wanted = wanted
                        .and_then(Value::as_array)
                        .and_then(|all| all.iter().find(|item| node.item_key(item) == key));
                    let walk = self.into(&key, false);
                    Child {
                        walk,
                        value,
                        node: node.item(),
                        wanted,
                        path: format!("{path}/{index}"),
                    }
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

struct Child<'a, 'b> {
    walk: Walk<'a>,
    value: &'b Value,
    node: &'b Node,
    wanted: Option<&'b Value>,
    path: String,
}

/// Whether an apply of this would own nothing inside: it is empty, or holds empty lists only.
fn is_hollow(wanted: &Value, node: &Node) -> bool {
    match wanted {
        Value::Null => true,
        Value::Object(map) if map.is_empty() => true,
        _ => applied(wanted, node, true).is_none(),
    }
}

fn removal(path: &str) -> Value {
    json!({"op": "remove", "path": path})
}

/// A name as a part of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
