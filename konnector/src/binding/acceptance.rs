//! What of a provider's offer is in force. With `acceptance: Manual` a person accepts what was not there
//! at bind time; until then it is not in force. No IO.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceBindingStatus, APIServiceExport, GroupResource, PermissionClaim,
};
use kube_bind_crds::schema;
use kube_bind_crds::switches::{self, ACCEPT, Acceptance, Annotations};
use serde_json::json;

use crate::fault::shorten;
use crate::recorded;

/// An offer that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What is offered, in words.
    pub what: Vec<String>,
    /// What a person has to name to accept exactly this.
    pub digest: String,
}

impl Waiting {
    /// What is offered, and how to accept it.
    pub fn message(&self, binding: &str) -> String {
        format!(
            "the provider offers more than was accepted: {}. To accept it: \
             kubectl annotate apiservicebinding {binding} {ACCEPT}={} --overwrite",
            shorten(&self.what.join("; ")),
            self.digest
        )
    }
}

/// What is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// The export without what waits.
    pub export: Arc<APIServiceExport>,
    /// What waits.
    pub waiting: Option<Waiting>,
    /// Everything is recorded as accepted already.
    pub recorded: bool,
    /// A person is asked about everything new, so all that is in force must be on record.
    pub manual: bool,
}

/// Decides about an export by what the binding recorded.
pub fn decide(binding: &APIServiceBinding, export: &Arc<APIServiceExport>) -> InForce {
    let status = binding.status.clone().unwrap_or_default();
    // A value that nobody understands was certainly not meant to accept everything.
    let manual = switches::acceptance(binding.annotations()) != Ok(Acceptance::Automatic);
    let all = |recorded| InForce {
        export: export.clone(),
        waiting: None,
        recorded,
        manual,
    };
    let at_bind_time = status.bound_schemas.is_empty() && status.permission_claims.is_empty();
    if !manual || at_bind_time {
        return all(false);
    }
    let Some(waiting) = waiting(&status, export) else {
        return all(true);
    };
    if switches::accepts(binding.annotations(), &waiting.digest) {
        return all(false);
    }
    let mut accepted = APIServiceExport::clone(export);
    accepted
        .spec
        .resources
        .retain(|resource| status.bound_schemas.contains(&resource.group_resource));
    // A claim that changed goes on as it was until the new one is accepted.
    let recorded = recorded::in_force(&status);
    let offered = export.spec.permission_claims.iter();
    let as_accepted = offered.filter_map(|offer| {
        let mut recorded = recorded.iter();
        recorded.find(|claim| claim.group_resource == offer.group_resource)
    });
    accepted.spec.permission_claims = as_accepted.copied().cloned().collect();
    InForce {
        export: Arc::new(accepted),
        waiting: Some(waiting),
        recorded: false,
        manual,
    }
}

fn waiting(status: &APIServiceBindingStatus, export: &APIServiceExport) -> Option<Waiting> {
    let kinds = export.spec.resources.iter().map(|r| &r.group_resource);
    let kinds = kinds.filter(|kind| !status.bound_schemas.contains(kind));
    let recorded = recorded::in_force(status);
    let mut claimed = BTreeSet::new();
    let claims = export.spec.permission_claims.iter();
    let claims = claims.filter(|claim| match claimed.insert(&claim.group_resource) {
        true => !recorded.contains(claim),
        // It is refused in any case.
        false => !status.permission_claims.contains(claim),
    });
    let what: Vec<String> = kinds.map(kind).chain(claims.map(claim)).collect();
    (!what.is_empty()).then(|| Waiting {
        digest: switches::digest(&what),
        what,
    })
}

fn kind(kind: &GroupResource) -> String {
    format!("kind {}", schema::name(kind))
}

fn claim(claim: &PermissionClaim) -> String {
    let name = schema::name(&claim.group_resource);
    format!(
        "claim on {} with {}",
        name.trim_end_matches(".core"),
        json!(claim.selector)
    )
}

/// A credential that leads to another server than the one that was agreed to.
pub fn server(url: &str) -> Waiting {
    let what = vec![format!("a credential for server {url}")];
    Waiting {
        digest: switches::digest(&what),
        what,
    }
}

/// Whether a credential for another server may be used for this binding.
pub fn accepts_server(annotations: &Annotations, url: &str) -> bool {
    switches::acceptance(annotations) == Ok(Acceptance::Automatic)
        || switches::accepts(annotations, &server(url).digest)
}

#[cfg(test)]
mod tests;
