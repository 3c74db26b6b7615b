//! What the derived schemas of the kinds need beside the Rust types (contract sections 1.3 and 1.4):
//! patterns, CEL rules, and schemas of fields that stay opaque JSON in Rust. Pure.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A group: a DNS subdomain or nothing.
pub(super) const GROUP_PATTERN: &str =
    r"^(|[a-z0-9]([-a-z0-9]*[a-z0-9](\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?)$";
/// A plural.
pub(super) const RESOURCE_PATTERN: &str = "^[a-z][-a-z0-9]*[a-z0-9]$";
/// A version of a kind.
pub(super) const VERSION_PATTERN: &str = "^v[1-9][0-9]*([a-z]+[1-9][0-9]*)?$";

/// The field keeps the value that it got first.
pub(super) fn immutable() -> Value {
    json!([{ "rule": "self == oldSelf", "message": "the field is immutable" }])
}

/// A webhook goes with the strategy of that name, and with no other.
pub(super) fn conversion_is_complete() -> Value {
    json!([{
        "rule": "(self.strategy == 'None' && !has(self.webhook)) || (self.strategy == 'Webhook' && has(self.webhook))",
        "message": "strategy None goes without a webhook, strategy Webhook with one",
    }])
}

/// An integer without a format, for numbers that nobody limits.
pub(super) fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer" })
}

/// Standard conditions with their validation, which the generated Kubernetes types do not carry.
pub(super) fn standard_conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "description": "An observation of the object's state.",
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "description": "Type of the condition.",
                    "type": "string",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
                "status": {
                    "description": "Whether it holds.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "description": "Generation of the object that was observed.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string",
                    "format": "date-time",
                },
                "reason": {
                    "description": "Why, for programs.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "Why, for people.",
                    "type": "string",
                    "maxLength": 32768,
                },
            },
        },
    })
}

/// Schema of the subresources of a bound schema's version.
pub(super) struct Subresources;

impl JsonSchema for Subresources {
    fn schema_name() -> Cow<'static, str> {
        "Subresources".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "status": {
                    "description": "Present when the status is written apart from the rest.",
                    "type": "object",
                },
                "scale": {
                    "description": "Where replicas are, for the scale subresource.",
                    "type": "object",
                    "required": ["specReplicasPath", "statusReplicasPath"],
                    "properties": {
                        "specReplicasPath": {
                            "description": "Path to the wanted replicas.",
                            "type": "string",
                        },
                        "statusReplicasPath": {
                            "description": "Path to the observed replicas.",
                            "type": "string",
                        },
                        "labelSelectorPath": {
                            "description": "Path to the label selector.",
                            "type": "string",
                        },
                    },
                },
            },
        })
    }
}
