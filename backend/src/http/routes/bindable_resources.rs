//! `GET /api/bindable-resources`: what claims can be made on, in the original's Go-cased document.

use axum::Json;
use kube_bind_crds::claims::CLAIMABLE;
use serde_json::{Value, json};

/// The list.
pub async fn handle() -> Json<Value> {
    let entries = CLAIMABLE.iter().map(|claimable| {
        json!({
            "Names": {
                "plural": claimable.plural,
                "singular": claimable.singular,
                "kind": claimable.kind,
            },
            "GroupVersionResource": {
                "Group": claimable.group,
                "Version": claimable.version,
                "Resource": claimable.plural,
            },
            "Instance": {},
            "ResourceScope": "Namespaced",
            "HasStatus": false,
        })
    });
    Json(entries.collect())
}
