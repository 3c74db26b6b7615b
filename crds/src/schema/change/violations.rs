//! What is wrong with one object by a schema, as an API server would say it. Pure.
//!
//! Rules in CEL and formats are not evaluated: an API server does not ask them of what an update leaves
//! as it is.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::compare::{Open, open};
use super::{DEEPEST, LOWER, MOST, UPPER, is_of_every_object, join};

/// Bytes that a compiled pattern may have: those of a schema are a provider's, and `x{1000}{1000}` takes
/// 17 characters.
const LARGEST_PATTERN: usize = 256 * 1024;

/// Asks objects by one schema.
pub struct Judge<'a> {
    schema: &'a Value,
    patterns: Patterns,
}

impl<'a> Judge<'a> {
    /// By this one.
    pub fn new(schema: &'a Value) -> Self {
        Self {
            schema,
            patterns: Patterns::default(),
        }
    }

    /// Fields of the object that the schema does not allow, or would drop, each with the reason.
    pub fn violations(&self, object: &Value) -> Vec<String> {
        let mut found = Vec::new();
        check(self.schema, object, "", 0, &self.patterns, &mut found);
        found.truncate(MOST);
        found
    }
}

/// The patterns of a schema, each compiled once; `None` for those that cannot be.
#[derive(Default)]
struct Patterns(RefCell<HashMap<String, Option<Regex>>>);

impl Patterns {
    fn get(&self, pattern: &str) -> Option<Regex> {
        let mut all = self.0.borrow_mut();
        if let Some(known) = all.get(pattern) {
            return known.clone();
        }
        let mut builder = RegexBuilder::new(pattern);
        let limited = builder
            .size_limit(LARGEST_PATTERN)
            .dfa_size_limit(LARGEST_PATTERN);
        let compiled = limited.build().ok();
        all.insert(pattern.to_owned(), compiled.clone());
        compiled
    }
}

fn check(
    schema: &Value,
    value: &Value,
    path: &str,
    depth: usize,
    patterns: &Patterns,
    found: &mut Vec<String>,
) {
    if depth > DEEPEST || found.len() >= MOST {
        return;
    }
    if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
        return;
    }
    let mut tell = |what: String| {
        let path = if path.is_empty() { "the object" } else { path };
        found.push(format!("{path} {what}"));
    };
    if let Some(wanted) = wrong_type(schema, value) {
        return tell(format!("is not of type {wanted}"));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        tell("is not one of the allowed values".into());
    }
    size(schema, value).into_iter().for_each(&mut tell);
    text(schema, value, patterns)
        .into_iter()
        .for_each(&mut tell);
    if let Some(rule) = broken_rule(schema, value, depth, patterns) {
        tell(format!("does not satisfy {rule}"));
    }
    match value {
        Value::Object(fields) => fields_of(schema, fields, path, depth, patterns, found),
        Value::Array(items) => {
            if has_equals(schema, items) {
                tell("has equal items".into());
            }
            let Some(schema) = schema.get("items") else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                check(schema, item, &path, depth + 1, patterns, found);
            }
        }
        _ => {}
    }
}

fn fields_of(
    schema: &Value,
    fields: &Map<String, Value>,
    path: &str,
    depth: usize,
    patterns: &Patterns,
    found: &mut Vec<String>,
) {
    let property = |name: &str| schema.get("properties").and_then(|all| all.get(name));
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        let has_default = property(name).is_some_and(|s| s.get("default").is_some());
        if !fields.contains_key(name) && !has_default && !is_of_every_object(path, name) {
            found.push(format!("{} is required and missing", join(path, name)));
        }
    }
    for (name, value) in fields {
        if is_of_every_object(path, name) {
            continue;
        }
        let inner = join(path, name);
        match (property(name), open(Some(schema))) {
            (Some(schema), _) | (None, Open::As(schema)) => {
                check(schema, value, &inner, depth + 1, patterns, found);
            }
            (None, Open::Anything) => {}
            (None, Open::Closed) => found.push(format!("{inner} would be dropped")),
        }
    }
}

fn wrong_type(schema: &Value, value: &Value) -> Option<String> {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        let fits = is_integer(value) || value.is_string();
        return (!fits).then(|| "integer or string".to_owned());
    }
    let wanted = schema.get("type")?.as_str()?;
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => is_integer(value),
        _ => true,
    };
    (!fits).then(|| wanted.to_owned())
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
}

/// Bounds of a number, and of the size of everything else.
fn size(schema: &Value, value: &Value) -> Vec<String> {
    let measured = |key: &str| -> Option<f64> {
        let length = match (key, value) {
            ("maximum" | "minimum", value) => return value.as_f64(),
            ("maxLength" | "minLength", Value::String(text)) => text.chars().count(),
            ("maxItems" | "minItems", Value::Array(items)) => items.len(),
            ("maxProperties" | "minProperties", Value::Object(fields)) => fields.len(),
            _ => return None,
        };
        Some(length as f64)
    };
    let excludes = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let mut found = Vec::new();
    for (key, what) in UPPER {
        if let Some((most, is)) = bound(schema, key).zip(measured(key))
            && (is > most || is == most && key == "maximum" && excludes("exclusiveMaximum"))
        {
            found.push(format!("has the {what} {is}, the greatest is {most}"));
        }
    }
    for (key, what) in LOWER {
        if let Some((least, is)) = bound(schema, key).zip(measured(key))
            && (is < least || is == least && key == "minimum" && excludes("exclusiveMinimum"))
        {
            found.push(format!("has the {what} {is}, the least is {least}"));
        }
    }
    if let Some((of, is)) = bound(schema, "multipleOf").zip(value.as_f64())
        && of != 0.0
        && (is / of).fract() != 0.0
    {
        found.push(format!("is not a multiple of {of}"));
    }
    found
}

fn bound(schema: &Value, key: &str) -> Option<f64> {
    schema.get(key)?.as_f64()
}

fn text(schema: &Value, value: &Value, patterns: &Patterns) -> Option<String> {
    let (pattern, text) = schema.get("pattern")?.as_str().zip(value.as_str())?;
    // One that only the API server understands, or that is too large, is left to it.
    let matches = patterns
        .get(pattern)
        .is_none_or(|pattern| pattern.is_match(text));
    (!matches).then(|| format!("does not match {pattern}"))
}

fn broken_rule(
    schema: &Value,
    value: &Value,
    depth: usize,
    patterns: &Patterns,
) -> Option<&'static str> {
    let holds = |schema: &Value| {
        let mut found = Vec::new();
        check(
            &without_pruning(schema),
            value,
            "x",
            depth + 1,
            patterns,
            &mut found,
        );
        found.is_empty()
    };
    let all = |key: &str| schema.get(key).and_then(Value::as_array);
    if all("allOf").is_some_and(|all| !all.iter().all(holds)) {
        return Some("allOf");
    }
    if all("anyOf").is_some_and(|any| !any.iter().any(holds)) {
        return Some("anyOf");
    }
    if all("oneOf").is_some_and(|one| one.iter().filter(|s| holds(s)).count() != 1) {
        return Some("oneOf");
    }
    schema.get("not").is_some_and(holds).then_some("not")
}

/// Schemas inside of rules only judge; what they do not name stays.
fn without_pruning(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut open: Map<String, Value> = fields
                .iter()
                .map(|(key, value)| match (key.as_str(), value) {
                    ("properties", Value::Object(all)) => {
                        let all = all.iter();
                        let all = all.map(|(k, v)| (k.clone(), without_pruning(v)));
                        (key.clone(), Value::Object(all.collect()))
                    }
                    ("items", value) => (key.clone(), without_pruning(value)),
                    _ => (key.clone(), value.clone()),
                })
                .collect();
            if !open.contains_key("additionalProperties") {
                let preserve = "x-kubernetes-preserve-unknown-fields".to_owned();
                open.insert(preserve, Value::Bool(true));
            }
            Value::Object(open)
        }
        other => other.clone(),
    }
}

fn has_equals(schema: &Value, items: &[Value]) -> bool {
    let list = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
    let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
    let keys = schema.get("x-kubernetes-list-map-keys");
    let key = |item: &Value| -> Value {
        match (list, keys.and_then(Value::as_array)) {
            (Some("map"), Some(keys)) => keys
                .iter()
                .filter_map(Value::as_str)
                .map(|key| item.get(key).cloned().unwrap_or_default())
                .collect(),
            _ => item.clone(),
        }
    };
    let mut seen = std::collections::HashSet::new();
    (unique || matches!(list, Some("set" | "map")))
        && items.iter().any(|item| !seen.insert(key(item).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pattern_is_compiled_once_and_only_if_it_is_small() {
        let schema = json!({"type": "object", "additionalProperties":
            {"type": "string", "pattern": "^[a-z]+$"}});
        let judge = Judge::new(&schema);
        let told = judge.violations(&json!({"one": "good", "two": "Bad"}));
        assert_eq!(told, ["two does not match ^[a-z]+$"]);
        let compiled = |judge: &Judge<'_>| judge.patterns.0.borrow().len();
        assert_eq!(compiled(&judge), 1);
        judge.violations(&json!({"three": "good"}));
        assert_eq!(compiled(&judge), 1);

        let huge = json!({"type": "string", "pattern": "(x{1000}){1000}"});
        let judge = Judge::new(&huge);
        assert!(
            judge.violations(&json!("y")).is_empty(),
            "left to the API server"
        );
        assert!(judge.patterns.get("(x{1000}){1000}").is_none());
    }
}
