//! The CRD manifests of all kinds, made from the types. Pure.

use kube::CustomResourceExt;
use serde_json::Value;

use crate::api;

/// All CRDs, complete, in the order of the contract's table.
pub fn all() -> Vec<Value> {
    vec![
        api::APIServiceExportTemplate::crd(),
        api::Collection::crd(),
        api::Cluster::crd(),
        api::APIServiceExportRequest::crd(),
        api::APIServiceExport::crd(),
        api::BoundSchema::crd(),
        api::APIServiceNamespace::crd(),
        api::ClusterBinding::crd(),
        api::BindableResourcesRequest::crd(),
        api::APIServiceBinding::crd(),
        api::APIServiceBindingBundle::crd(),
    ]
    .into_iter()
    .map(|crd| serde_json::to_value(crd).expect("CRDs have only string keys"))
    .collect()
}
