//! One object of every kind with every field that the contract names, written by hand from it.

use serde_json::{Value, json};

/// A kind, and an object that must come back as it was sent.
pub struct Case {
    pub plural: &'static str,
    pub object: Value,
    /// Sent to `/status` afterwards.
    pub status: Value,
}

fn case(
    plural: &'static str,
    kind: &str,
    name: &str,
    namespaced: bool,
    spec: Value,
    status: Value,
) -> Case {
    let mut object = json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    if namespaced {
        object["metadata"]["namespace"] = json!("default");
    }
    Case {
        plural,
        object,
        status,
    }
}

fn conditions() -> Value {
    json!([
        {"type": "Ready", "status": "False", "severity": "Warning", "lastTransitionTime": "2026-01-02T03:04:05Z",
         "reason": "Waiting", "message": "waits for something"},
        {"type": "Connected", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"},
    ])
}

fn claims() -> Value {
    json!([
        {"group": "", "resource": "secrets", "selector": {
            "labelSelector": {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]},
            "namedResources": [{"name": "one", "namespace": "team-a"}, {"name": "two"}],
            "references": [{"group": "example.org", "resource": "widgets", "versions": ["v1"],
                            "jsonPath": {"name": "spec.secretRefs.#.name", "namespace": "spec.secretRefs.#.namespace"}}],
        }},
        {"group": "", "resource": "configmaps", "selector": {}},
    ])
}

fn resources() -> Value {
    json!([{"group": "example.org", "resource": "widgets", "versions": ["v1", "v1beta1"]}, {"group": "", "resource": "things"}])
}

fn request_spec() -> Value {
    json!({
        "parameters": {"anything": {"goes": [1, "two", null, 3.5]}},
        "resources": resources(),
        "permissionClaims": claims(),
        "namespaces": [{"name": "team-a"}],
        "schemaUpdatePolicy": "Always",
    })
}

fn bound_schema() -> (Value, Value) {
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList",
                       "shortNames": ["wd"], "categories": ["all"]});
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {"spec": {"type": "object", "default": {}, "nullable": true}}}});
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "deprecated": true, "deprecationWarning": "old",
            "schema": schema,
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                             "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
            "additionalPrinterColumns": [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
                                          "description": "d", "format": "date", "priority": 1}],
        })
    };
    let conversion = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
                            "clientConfig": {"url": "https://hooks.example.org/convert", "caBundle": "Y2E="}}});
    let spec = json!({
        "informerScope": "Namespaced", "group": "example.org", "names": names, "scope": "Namespaced",
        "versions": [version("v1", true), version("v1beta1", false)], "conversion": conversion,
    });
    let status = json!({"acceptedNames": names, "storedVersions": ["v1"], "instantiations": 3, "conditions": conditions()});
    (spec, status)
}

/// All kinds.
pub fn all() -> Vec<Case> {
    let secret = json!({"name": "kubeconfig", "key": "kubeconfig"});
    let cluster_secret =
        json!({"name": "kubeconfig-x", "key": "kubeconfig", "namespace": "kube-bind"});
    let (schema_spec, schema_status) = bound_schema();
    let only_conditions = || json!({"conditions": conditions()});
    vec![
        case(
            "apiserviceexporttemplates",
            "APIServiceExportTemplate",
            "widgets",
            false,
            json!({
                "description": "d", "scope": "Namespaced", "resources": resources(), "permissionClaims": claims(),
                "namespaces": [{"name": "team-a"}], "schemaUpdatePolicy": "Always",
            }),
            only_conditions(),
        ),
        case(
            "collections",
            "Collection",
            "all",
            false,
            json!({"description": "d", "templates": [{"name": "widgets"}]}),
            only_conditions(),
        ),
        case(
            "clusters",
            "Cluster",
            "default",
            false,
            json!({}),
            only_conditions(),
        ),
        case(
            "apiserviceexportrequests",
            "APIServiceExportRequest",
            "widgets",
            true,
            request_spec(),
            json!({
                "phase": "Failed", "terminalMessage": "no", "conditions": conditions(),
            }),
        ),
        case(
            "apiserviceexports",
            "APIServiceExport",
            "widgets",
            true,
            json!({
                "resources": resources(), "permissionClaims": claims(), "informerScope": "Namespaced",
                "isolation": "Prefixed", "clusterScopedIsolation": "None",
            }),
            only_conditions(),
        ),
        case(
            "boundschemas",
            "BoundSchema",
            "widgets.example.org",
            true,
            schema_spec,
            schema_status,
        ),
        case(
            "apiservicenamespaces",
            "APIServiceNamespace",
            "team-a",
            true,
            json!({}),
            json!({"namespace": "cluster-x-team-a"}),
        ),
        case(
            "clusterbindings",
            "ClusterBinding",
            "cluster",
            true,
            json!({
                "kubeconfigSecretRef": secret, "providerPrettyName": "Example", "serviceProviderSpec": {"free": ["form"]},
            }),
            json!({
                "lastHeartbeatTime": "2026-01-02T03:04:05Z", "heartbeatInterval": "5m0s", "konnectorVersion": "v0.9.0",
                "consumerSecretRef": {"name": "s", "namespace": "kube-bind"}, "conditions": conditions(),
            }),
        ),
        case(
            "bindableresourcesrequests",
            "BindableResourcesRequest",
            "widgets",
            true,
            json!({
                "templateRef": {"name": "widgets"}, "clusterIdentity": {"identity": "i", "prettyName": "p"}, "author": "a",
                "kubeconfigSecretRef": secret, "ttlAfterFinished": "1h0m0s",
            }),
            json!({
                "phase": "Succeeded", "namespace": "cluster-x", "kubeconfigSecretRef": secret,
                "completionTime": "2026-01-02T03:04:05Z",
                "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2, "reason": "Done", "message": "",
                                "lastTransitionTime": "2026-01-02T03:04:05Z"}],
            }),
        ),
        case(
            "apiservicebindings",
            "APIServiceBinding",
            "widgets",
            false,
            json!({"kubeconfigSecretRef": cluster_secret}),
            json!({
                "providerPrettyName": "Example", "boundSchemas": [{"group": "example.org", "resource": "widgets"}],
                "permissionClaims": claims(), "conditions": conditions(),
            }),
        ),
        case(
            "apiservicebindingbundles",
            "APIServiceBindingBundle",
            "widgets",
            false,
            json!({"kubeconfigSecretRef": cluster_secret}),
            only_conditions(),
        ),
    ]
}
