//! `InformersSynced`: lists, claims and engines. No IO.

use kube_bind_crds::conditions::types;
use kube_bind_crds::conditions::{New, Severity, reasons};
use kube_bind_crds::switches::RELEASE_DELETES;

use super::super::facts::{ClaimState, Facts, KindState, SyncState};
use super::{error, unreachable, waiting, warning};
use crate::names::{REASON_DELETES_HELD, REASON_MISSING_RIGHTS, REASON_SYNCING};

/// Whether everything is listed and followed.
pub(super) fn informers_synced(facts: &Facts) -> New {
    let type_ = types::INFORMERS_SYNCED;
    if let Some(condition) = unreachable(type_, facts) {
        return condition;
    }
    if facts.failing.is_some() {
        return waiting(type_, "waiting for the look at the binding to succeed");
    }
    let provider = facts.provider.as_ref();
    if let Some(why) = provider.and_then(|p| p.trouble.as_ref()) {
        return error(type_, reasons::INFORMER_SYNC_TIMEOUT, why);
    }
    if !provider.is_some_and(|p| p.synced) {
        let message = "listing the provider's exports";
        return New::false_(type_, Severity::Info, REASON_SYNCING, message);
    }
    claims_granted(type_, facts)
        .or_else(|| namespaces_granted(type_, facts))
        .or_else(|| syncs_running(type_, facts))
        .unwrap_or_else(|| New::true_(type_))
}

fn claims_granted(type_: &str, facts: &Facts) -> Option<New> {
    let missing: Vec<String> = facts
        .claims
        .iter()
        .filter_map(|claim| match &claim.state {
            ClaimState::MissingRights(rights) => Some(format!(
                "the claim on {} is not synced, the konnector lacks: {}",
                claim.name,
                rights.join(", ")
            )),
            ClaimState::Unsupported => {
                Some(format!("the claim on {} is not supported", claim.name))
            }
            ClaimState::Refused(why) => {
                Some(format!("the claim on {} is not synced: {why}", claim.name))
            }
            ClaimState::Listing | ClaimState::Failing(_) | ClaimState::Running => None,
        })
        .collect();
    (!missing.is_empty()).then(|| warning(type_, REASON_MISSING_RIGHTS, missing.join("; ")))
}

fn namespaces_granted(type_: &str, facts: &Facts) -> Option<New> {
    let missing = &facts.namespaces.missing;
    let message = || {
        let missing = missing.join(", ");
        format!("a namespace that the provider brings is not made, the konnector lacks: {missing}")
    };
    (!missing.is_empty()).then(|| warning(type_, REASON_MISSING_RIGHTS, message()))
}

fn syncs_running(type_: &str, facts: &Facts) -> Option<New> {
    let failing = facts
        .kinds
        .iter()
        .find_map(|kind| match kind.state.sync()? {
            SyncState::Failing(why) => Some(format!("{}: {why}", kind.name)),
            _ => None,
        });
    let failing = failing.or_else(|| {
        facts.claims.iter().find_map(|claim| match &claim.state {
            ClaimState::Failing(why) => {
                Some(format!("the claim on {} is not synced: {why}", claim.name))
            }
            _ => None,
        })
    });
    if let Some(message) = failing {
        return Some(error(type_, reasons::INFORMER_SYNC_TIMEOUT, message));
    }
    let held = facts.kinds.iter().find_map(|kind| match kind.state.sync()? {
        SyncState::Held(copies) => Some(format!(
            "most objects of {} vanished from this cluster at once without having been deleted, so \
             their {copies} copies are kept on the provider; restore the objects, or, if they were \
             meant to go, annotate this binding with {RELEASE_DELETES}=true",
            kind.name
        )),
        _ => None,
    });
    if let Some(message) = held {
        return Some(warning(type_, REASON_DELETES_HELD, message));
    }
    let listing =
        |message: String| Some(New::false_(type_, Severity::Info, REASON_SYNCING, message));
    if let Some(kind) = facts
        .kinds
        .iter()
        .filter(|kind| !matches!(kind.state, KindState::Withdrawn(_)))
        .find(|kind| kind.state.sync() != Some(&SyncState::Running))
    {
        return listing(format!("{} is not synced yet", kind.name));
    }
    match facts.claims.iter().find(|c| c.state == ClaimState::Listing) {
        Some(claim) => listing(format!("the claim on {} is not synced yet", claim.name)),
        None => None,
    }
}
