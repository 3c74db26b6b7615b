//! The text of an apply configuration. API servers read the body of an apply as YAML, of which
//! JSON is not quite a subset: raw control characters are refused, and line and paragraph
//! separators inside of a string become spaces.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// JSON that means the same when it is read as YAML.
pub fn to_apply(configuration: &Value) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    configuration
        .serialize(&mut Serializer::with_formatter(&mut text, Escaping))
        .expect("a JSON value always has a text form");
    text
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_special) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut special = special.chars();
            if let Some(char) = special.next() {
                write!(writer, "\\u{:04x}", u32::from(char))?;
            }
            rest = special.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// What YAML gives a meaning of its own, or none at all. All of it fits into one escape; characters
/// that need two stay as they are, because YAML has no pairs.
fn is_special(char: char) -> bool {
    matches!(
        char,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_yaml_reads_differently_is_escaped() {
        let value =
            json!({"a\u{7f}": "x\u{85}y\u{2028}\u{2029}\u{feff}", "ü": ["日😀\n\u{1}\"", 1.5]});
        let text = String::from_utf8(to_apply(&value)).unwrap();
        assert_eq!(
            text,
            r#"{"a\u007f":"x\u0085y\u2028\u2029\ufeff","ü":["日😀\n\u0001\"",1.5]}"#
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
