//! Where one OpenAPI schema allows less than another. Pure.
//!
//! Errs to one side only: what is not understood counts as narrower, and then the objects are asked.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{DEEPEST, LOWER, MOST, UPPER, is_of_every_object, join};

/// What `new` forbids that `old` allows, by field.
pub(super) fn narrower(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Found {
        changes: Vec::new(),
        full: false,
    };
    found.node(Some(old), new, "", 0);
    found.changes
}

struct Found {
    changes: Vec<String>,
    full: bool,
}

impl Found {
    fn tell(&mut self, path: &str, what: &str) {
        if self.changes.len() >= MOST {
            self.full = true;
            return;
        }
        let path = if path.is_empty() { "the object" } else { path };
        self.changes.push(format!("{path}: {what}"));
    }

    /// `old` is missing where anything was allowed.
    fn node(&mut self, old: Option<&Value>, new: &Value, path: &str, depth: usize) {
        if self.full || old == Some(new) {
            return;
        }
        if depth > DEEPEST {
            return self.tell(path, "is nested too deeply to compare");
        }
        self.types(old, new, path);
        self.bounds(old, new, path);
        self.rules(old, new, path);
        self.fields(old, new, path, depth);
        if let Some(items) = new.get("items") {
            let before = old.and_then(|old| old.get("items"));
            self.node(before, items, &format!("{path}[]"), depth + 1);
        }
    }

    fn types(&mut self, old: Option<&Value>, new: &Value, path: &str) {
        let of = |schema: Option<&Value>, key: &str| schema.and_then(|s| s.get(key)).cloned();
        let is = |schema: Option<&Value>, key: &str| of(schema, key) == Some(Value::Bool(true));
        let (before, after) = (of(old, "type"), of(Some(new), "type"));
        let int_or_string = "x-kubernetes-int-or-string";
        let wider = before == Some("integer".into()) && after == Some("number".into())
            || is(Some(new), int_or_string)
                && (before == Some("integer".into()) || before == Some("string".into()));
        if after.is_some() && before != after && !wider {
            let text = after.as_ref().and_then(Value::as_str).unwrap_or_default();
            self.tell(path, &format!("has to be of type {text}"));
        }
        if is(Some(new), int_or_string) && !is(old, int_or_string) && !wider {
            self.tell(path, "has to be an integer or a string");
        }
        if is(old, "nullable") && !is(Some(new), "nullable") || old.is_none() && after.is_some() {
            self.tell(path, "may not be null any more");
        }
        let allowed = |schema: Option<&Value>| {
            let values = schema.and_then(|s| s.get("enum")).and_then(Value::as_array);
            values.cloned()
        };
        if let Some(after) = allowed(Some(new)) {
            let before = allowed(old);
            let gone = before.is_none_or(|before| before.iter().any(|v| !after.contains(v)));
            if gone {
                self.tell(path, "fewer values are allowed");
            }
        }
    }

    fn bounds(&mut self, old: Option<&Value>, new: &Value, path: &str) {
        let number = |schema: Option<&Value>, key: &str| schema.and_then(|s| s.get(key)?.as_f64());
        for (key, what) in UPPER {
            let (before, after) = (number(old, key), number(Some(new), key));
            if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
                self.tell(path, &format!("the greatest {what} becomes less"));
            }
        }
        for (key, what) in LOWER {
            let (before, after) = (number(old, key), number(Some(new), key));
            if after.is_some_and(|after| before.is_none_or(|before| after > before)) {
                self.tell(path, &format!("the least {what} becomes greater"));
            }
        }
    }

    /// Rules that can only be compared as they are written.
    fn rules(&mut self, old: Option<&Value>, new: &Value, path: &str) {
        let same = |key: &str| old.and_then(|old| old.get(key)) == new.get(key);
        for (key, what) in [
            ("pattern", "has to match another pattern"),
            ("multipleOf", "has to be a multiple of another number"),
            ("allOf", "has to satisfy other rules"),
            ("anyOf", "has to satisfy other rules"),
            ("oneOf", "has to satisfy other rules"),
            ("not", "has to satisfy other rules"),
            ("x-kubernetes-list-map-keys", "has other keys"),
        ] {
            if new.get(key).is_some() && !same(key) {
                self.tell(path, what);
            }
        }
        for key in ["exclusiveMaximum", "exclusiveMinimum", "uniqueItems"] {
            if new.get(key) == Some(&Value::Bool(true)) && !same(key) {
                self.tell(path, &format!("becomes {key}"));
            }
        }
        let list = new.get("x-kubernetes-list-type").and_then(Value::as_str);
        if matches!(list, Some("set" | "map")) && !same("x-kubernetes-list-type") {
            self.tell(path, "may not have equal items any more");
        }
    }

    fn fields(&mut self, old: Option<&Value>, new: &Value, path: &str, depth: usize) {
        let none = Map::new();
        let properties = |schema: Option<&Value>| -> Map<String, Value> {
            let all = schema.and_then(|s| s.get("properties")?.as_object());
            all.unwrap_or(&none).clone()
        };
        let (before, after) = (properties(old), properties(Some(new)));
        let required = |schema: Option<&Value>| -> BTreeSet<String> {
            let all = schema.and_then(|s| s.get("required")?.as_array());
            let names = all.into_iter().flatten().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        for name in required(Some(new)).difference(&required(old)) {
            let has_default = after.get(name).is_some_and(|s| s.get("default").is_some());
            if !has_default && !is_of_every_object(path, name) {
                self.tell(&join(path, name), "becomes required");
            }
        }
        let (open_before, open_after) = (open(old), open(Some(new)));
        for (name, schema) in &after {
            if is_of_every_object(path, name) {
                continue;
            }
            match (before.get(name), &open_before) {
                (Some(before), _) => self.node(Some(before), schema, &join(path, name), depth + 1),
                // Nobody can have a field that was pruned.
                (None, Open::Closed) => {}
                (None, Open::Anything) => self.node(None, schema, &join(path, name), depth + 1),
                (None, Open::As(before)) => {
                    self.node(Some(before), schema, &join(path, name), depth + 1);
                }
            }
        }
        for (name, schema) in &before {
            if after.contains_key(name) || is_of_every_object(path, name) {
                continue;
            }
            match &open_after {
                Open::Closed => self.tell(&join(path, name), "is removed"),
                Open::Anything => {}
                Open::As(after) => self.node(Some(schema), after, &join(path, name), depth + 1),
            }
        }
        match (&open_before, &open_after) {
            (Open::Closed, _) | (_, Open::Anything) => {}
            (_, Open::Closed) => self.tell(path, "fields that are not named are removed"),
            (Open::Anything, Open::As(after)) => {
                self.node(None, after, &join(path, "*"), depth + 1);
            }
            (Open::As(before), Open::As(after)) => {
                self.node(Some(before), after, &join(path, "*"), depth + 1);
            }
        }
    }
}

/// What becomes of fields that are not named.
pub(super) enum Open<'a> {
    /// They are pruned.
    Closed,
    /// They may be anything.
    Anything,
    /// They have to be like this.
    As(&'a Value),
}

pub(super) fn open(schema: Option<&Value>) -> Open<'_> {
    let Some(schema) = schema else {
        return Open::Anything;
    };
    match schema.get("additionalProperties") {
        Some(Value::Bool(true)) => return Open::Anything,
        Some(as_ @ Value::Object(_)) => return Open::As(as_),
        _ => {}
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        Open::Anything
    } else {
        Open::Closed
    }
}
