//! Owner references to objects of ours. No IO.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

use crate::names::GROUP;

/// Whether the owner is of the kind `K` of ours, in whatever version.
pub fn is_owner_of_kind<K: Resource<DynamicType = ()>>(owner: &OwnerReference) -> bool {
    owner.kind == K::kind(&()) && owner.api_version.split('/').next() == Some(GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{APIServiceBinding, APIServiceExport};

    #[test]
    fn an_owner_is_known_by_group_and_kind_in_any_version() {
        let owner = |api_version: &str, kind: &str| OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            ..OwnerReference::default()
        };
        let is = is_owner_of_kind::<APIServiceBinding>;
        assert!(is(&owner("kube-bind.io/v1alpha2", "APIServiceBinding")));
        assert!(is(&owner("kube-bind.io/v1alpha1", "APIServiceBinding")));
        assert!(!is(&owner("kube-bind.io/v1alpha2", "APIServiceExport")));
        assert!(!is(&owner(
            "kube-bind.io.example.org/v1",
            "APIServiceBinding"
        )));
        assert!(!is(&owner("example.org/v1", "APIServiceBinding")));
        let export = owner("kube-bind.io/v1alpha2", "APIServiceExport");
        assert!(is_owner_of_kind::<APIServiceExport>(&export));
    }
}
