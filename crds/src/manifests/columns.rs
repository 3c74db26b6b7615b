//! Columns of `kubectl get` (contract section 1.2), the same for every version of a kind. Pure.

use serde_json::{Value, json};

/// The columns of a kind.
pub fn of(kind: &str) -> Value {
    let columns = match kind {
        "APIServiceBinding" | "APIServiceBindingBundle" => vec![
            string("Provider", ".status.providerPrettyName"),
            // Nobody sets the annotation; peers' clients expect the column.
            with_priority(
                string(
                    "Resources",
                    r".metadata.annotations.kube-bind\.io/resources",
                ),
                1,
            ),
            ready("status", "Ready"),
            ready("message", "Message"),
            age(),
        ],
        "APIServiceExport" => vec![
            with_priority(
                string(
                    "Established",
                    r#".status.conditions[?(@.type=="Established")].status"#,
                ),
                5,
            ),
            age(),
        ],
        "APIServiceExportRequest" => vec![ready("status", "Ready"), age()],
        "APIServiceExportTemplate" => vec![
            string("Resources", ".spec.resources[*].group"),
            string("PermissionClaims", ".spec.permissionClaims[*].resource"),
            age(),
        ],
        "APIServiceNamespace" => vec![string("Namespace", ".status.namespace"), age()],
        "BindableResourcesRequest" => vec![
            string("Template", ".spec.templateRef.name"),
            string("Phase", ".status.phase"),
            age(),
        ],
        "Cluster" => vec![ready("status", "Ready")],
        "ClusterBinding" => vec![
            string("Konnector Version", ".status.konnectorVersion"),
            date("Last Heartbeat", ".status.lastHeartbeatTime"),
            ready("status", "Ready"),
            age(),
        ],
        "Collection" => vec![
            string("Description", ".spec.description"),
            string("Templates", ".spec.templates[*].name"),
            age(),
        ],
        _ => vec![age()],
    };
    Value::Array(columns)
}

fn string(name: &str, path: &str) -> Value {
    json!({ "name": name, "type": "string", "jsonPath": path })
}

fn date(name: &str, path: &str) -> Value {
    json!({ "name": name, "type": "date", "jsonPath": path })
}

fn age() -> Value {
    date("Age", ".metadata.creationTimestamp")
}

fn ready(field: &str, name: &str) -> Value {
    string(
        name,
        &format!(r#".status.conditions[?(@.type=="Ready")].{field}"#),
    )
}

fn with_priority(mut column: Value, priority: i32) -> Value {
    column["priority"] = json!(priority);
    column
}
