//! Hashes by which a change of a schema is noticed (contract section 4.6). Pure.
//!
//! Nobody but their writer compares them, so the canonical form is our own: the original's depends on
//! the order in which keys were received. Taking over an installation rewrites each of them once.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::BoundSchemaSpec;
use crate::hex;

/// Hash of one bound schema, lower-case hex.
pub fn hash(spec: &BoundSchemaSpec) -> String {
    combined_hash([spec])
}

/// Hash of the schemas of an export, in the order of its resources.
pub fn combined_hash<'a>(specs: impl IntoIterator<Item = &'a BoundSchemaSpec>) -> String {
    let mut hasher = Sha256::new();
    for spec in specs {
        let value = serde_json::to_value(spec).expect("a spec has only string keys");
        let mut text = String::new();
        write_sorted(&value, &mut text);
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    }
    hex::encode(&hasher.finalize())
}

/// Compact JSON with sorted keys, whatever map `serde_json` was built with.
fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            out.push('{');
            for key in keys {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_sorted(&fields[key], out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_sorted(item, out);
                out.push(',');
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}
