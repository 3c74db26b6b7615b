//! The one byte form of a canonical value: keys sorted, nothing else to choose.

use serde_json::Value;

/// Appends the value. `serde_json`'s own order of keys depends on a feature that any dependency
/// may switch on, hence the sorting here.
pub(super) fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push(b'{');
            for (key, value) in entries {
                text(key, out);
                canonical(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                canonical(item, out);
            }
            out.push(b']');
        }
        Value::String(string) => text(string, out),
        Value::Number(number) => {
            out.push(b'#');
            out.extend_from_slice(number.to_string().as_bytes());
            out.push(b';');
        }
        Value::Bool(true) => out.push(b't'),
        Value::Bool(false) => out.push(b'f'),
        Value::Null => out.push(b'0'),
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The value as one line of text, for keys of sets and associative lists.
pub(super) fn line(value: &Value) -> String {
    let mut bytes = Vec::new();
    canonical(value, &mut bytes);
    // Lengths are binary; escape what is not UTF-8 by spelling the bytes out.
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
