//! Objects from their text, without what their reader does not need. Pure.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Whether who reads objects needs `metadata.managedFields`: often more than half of the text, and
/// nearly all of the maps that a parsed object consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ManagedFields {
    /// They are read.
    Kept,
    /// They are passed over.
    Skipped,
}

impl ManagedFields {
    /// An object, or a part of one that is a map.
    pub(super) fn read(self, text: &[u8]) -> serde_json::Result<Value> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let object = match self {
            Self::Kept => serde::Deserialize::deserialize(&mut reader)?,
            Self::Skipped => Without(OF_OBJECT).deserialize(&mut reader)?,
        };
        reader.end()?;
        Ok(object)
    }

    /// The type and the object of a watch event.
    pub(super) fn read_event(self, line: &[u8]) -> serde_json::Result<(String, Value)> {
        let mut reader = serde_json::Deserializer::from_slice(line);
        let event = reader.deserialize_map(Event(self))?;
        reader.end()?;
        Ok(event)
    }
}

/// The metadata of an object that cannot be read: it is nested deeper than we follow, or has a number
/// beyond all means. Its managed fields may be nested as deeply, and are passed over.
pub(super) fn metadata(text: &[u8]) -> Option<Value> {
    #[derive(Deserialize)]
    struct Known<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let known: Known<'_> = serde_json::from_slice(text).ok()?;
    let mut reader = serde_json::Deserializer::from_str(known.metadata.get());
    let metadata = Without(&OF_OBJECT[1..]).deserialize(&mut reader).ok()?;
    metadata["name"]
        .is_string()
        .then(|| json!({"metadata": metadata}))
}

/// A watch event, whose object is read like others.
struct Event(ManagedFields);

impl<'de> Visitor<'de> for Event {
    type Value = (String, Value);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a watch event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let (mut kind, mut object) = (None, None);
        while let Some(name) = entries.next_key::<String>()? {
            match (name.as_str(), self.0) {
                ("type", _) => kind = Some(entries.next_value()?),
                ("object", ManagedFields::Kept) => object = Some(entries.next_value()?),
                ("object", ManagedFields::Skipped) => {
                    object = Some(entries.next_value_seed(Without(OF_OBJECT))?);
                }
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = || serde::de::Error::missing_field("type or object");
        kind.zip(object).ok_or_else(missing)
    }
}

/// Where managed fields are.
const OF_OBJECT: &[&str] = &["metadata", "managedFields"];

/// A map without the entry at this path.
struct Without(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Without {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Without {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = match self.0 {
                [first, rest @ ..] if *first == name => {
                    if rest.is_empty() {
                        entries.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    entries.next_value_seed(Without(rest))?
                }
                _ => entries.next_value()?,
            };
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_managed_fields_of_the_object_itself_are_passed_over() {
        let fields = json!([{"manager": "somebody", "fieldsV1": {"f:spec": {}}}]);
        let object = json!({
            "kind": "Widget",
            "managedFields": 1,
            "metadata": {"name": "a", "managedFields": fields, "labels": {"managedFields": "x"}},
            "spec": {"metadata": {"managedFields": [2]}, "numbers": [1.5, 12345678901234567890_u64]},
        });
        let text = object.to_string();
        let read = |wanted: ManagedFields| wanted.read(text.as_bytes()).unwrap();
        assert_eq!(read(ManagedFields::Kept), object);
        let mut less = object;
        less["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("managedFields");
        assert_eq!(read(ManagedFields::Skipped), less);
        for (wanted, expected) in [
            (ManagedFields::Kept, &read(ManagedFields::Kept)),
            (ManagedFields::Skipped, &less),
        ] {
            for line in [
                format!(r#"{{"type":"ADDED","object":{text}}}"#),
                format!(r#"{{"object":{text},"x":[],"type":"ADDED"}}"#),
            ] {
                let (kind, object) = wanted.read_event(line.as_bytes()).unwrap();
                assert_eq!((kind.as_str(), &object), ("ADDED", expected));
            }
        }
    }

    #[test]
    fn of_an_object_that_is_nested_too_deeply_its_metadata_are_known() {
        let fields = |depth| format!("{}1{}", r#"{"f:a":"#.repeat(depth), "}".repeat(depth));
        let entry = format!(r#"[{{"fieldsV1":{}}}]"#, fields(500));
        let finalizers = json!(["example.io/backup"]);
        let text = format!(
            r#"{{"kind":"Widget","metadata":{{"managedFields":{entry},"name":"a","finalizers":{finalizers}}},"spec":{}}}"#,
            fields(500)
        );
        assert!(ManagedFields::Skipped.read(text.as_bytes()).is_err());
        let known = json!({"metadata": {"name": "a", "finalizers": finalizers}});
        assert_eq!(metadata(text.as_bytes()), Some(known));
        for text in [
            "",
            "{}",
            r#"{"metadata":{}}"#,
            r#"{"metadata":{"name":"a"}"#,
        ] {
            assert_eq!(metadata(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_object_or_more_than_one_is_an_error() {
        for wanted in [ManagedFields::Kept, ManagedFields::Skipped] {
            for text in ["", "{", "{} {}", r#"{"metadata":{"managedFields":[}}"#] {
                assert!(wanted.read(text.as_bytes()).is_err(), "{text}");
                assert!(wanted.read_event(text.as_bytes()).is_err(), "{text}");
            }
        }
    }
}
