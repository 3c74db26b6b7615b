//! From facts to conditions (contract section 5.4). No IO.
//!
//! Each condition is a chain of checks, the first that fails speaks. A condition that is not there
//! yet is `False` with severity `Info`, never `Unknown`: in the summary `True` beats `Unknown`, and
//! a binding would be ready before it can be used.

use kube_bind_crds::conditions::{New, Severity, reasons, types};
use kube_bind_crds::switches::RELEASE_DELETES;

use super::facts::{ClaimState, ExportFacts, Facts, KindState, SyncState};
use crate::fault::shorten;
use crate::heartbeat::HeartbeatState;
use crate::names::{
    REASON_DELETES_HELD, REASON_MISSING_RIGHTS, REASON_NOT_ESTABLISHED, REASON_OTHER_PROVIDER,
    REASON_SYNCING, REASON_UNBINDING, REASON_UNBINDING_BLOCKED, REASON_UNREACHABLE, REASON_WAITING,
};
use crate::provider::{ConnectProblem, LinkState, SecretState};

/// All conditions but the summary.
pub fn conditions(facts: &Facts) -> Vec<New> {
    vec![
        secret_valid(facts),
        informers_synced(facts),
        heartbeating(facts),
        connected(facts),
        schema_in_sync(facts),
    ]
}

/// Whether all of them hold.
pub fn is_ready(facts: &Facts) -> bool {
    conditions(facts)
        .iter()
        .zip(TYPES)
        .all(|(condition, type_)| *condition == New::true_(type_))
}

/// The types of [`conditions`], in its order.
const TYPES: [&str; 5] = [
    types::SECRET_VALID,
    types::INFORMERS_SYNCED,
    types::HEARTBEATING,
    types::CONNECTED,
    types::SCHEMA_IN_SYNC,
];

fn error(type_: &str, reason: &str, message: impl Into<String>) -> New {
    New::false_(type_, Severity::Error, reason, shorten(&message.into()))
}

fn warning(type_: &str, reason: &str, message: impl Into<String>) -> New {
    New::false_(type_, Severity::Warning, reason, shorten(&message.into()))
}

fn waiting(type_: &str, message: impl Into<String>) -> New {
    New::false_(type_, Severity::Info, REASON_WAITING, message)
}

/// What the provider says of itself; the state of a connection that was never made counts too.
fn link(facts: &Facts) -> Option<&LinkState> {
    match &facts.problem {
        Some(ConnectProblem::Link(state)) => Some(state),
        Some(ConnectProblem::Unusable(_)) => None,
        None => facts.provider.as_ref().map(|provider| &provider.link),
    }
}

fn secret_valid(facts: &Facts) -> New {
    let type_ = types::SECRET_VALID;
    match &facts.secret {
        SecretState::Unread => waiting(type_, "the kubeconfig secret has not been read yet"),
        SecretState::Unreadable(why) => error(type_, reasons::KUBECONFIG_SECRET_NOT_FOUND, why),
        SecretState::Missing => error(
            type_,
            reasons::KUBECONFIG_SECRET_NOT_FOUND,
            "the kubeconfig secret does not exist",
        ),
        SecretState::Invalid(why) => error(type_, reasons::KUBECONFIG_SECRET_INVALID, why),
        SecretState::Valid => match (&facts.problem, link(facts)) {
            (Some(ConnectProblem::Unusable(why)), _) => {
                error(type_, reasons::KUBECONFIG_SECRET_INVALID, why)
            }
            (_, Some(LinkState::Unauthorized(why))) => error(
                type_,
                reasons::CREDENTIAL_EXPIRED,
                format!(
                    "the provider does not accept the credential any more ({why}); renew it with kubectl bind"
                ),
            ),
            (_, Some(LinkState::OtherProvider(why))) => error(type_, REASON_OTHER_PROVIDER, why),
            _ => New::true_(type_),
        },
    }
}

/// Something about the way to the provider that keeps everything else from being known.
fn unreachable(type_: &str, facts: &Facts) -> Option<New> {
    match link(facts) {
        Some(LinkState::Unreachable(why)) => Some(error(
            type_,
            REASON_UNREACHABLE,
            format!("no access to the provider: {why}"),
        )),
        Some(LinkState::Unauthorized(_) | LinkState::OtherProvider(_)) => {
            Some(waiting(type_, "waiting for a valid credential"))
        }
        Some(LinkState::Up) => None,
        None if facts.secret == SecretState::Valid && facts.problem.is_none() => {
            Some(waiting(type_, "connecting to the provider"))
        }
        None => Some(waiting(type_, "waiting for a valid kubeconfig secret")),
    }
}

fn informers_synced(facts: &Facts) -> New {
    let type_ = types::INFORMERS_SYNCED;
    if let Some(condition) = unreachable(type_, facts) {
        return condition;
    }
    if !facts.provider.as_ref().is_some_and(|p| p.synced) {
        let message = "listing the provider's exports";
        return New::false_(type_, Severity::Info, REASON_SYNCING, message);
    }
    claims_granted(type_, facts)
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
            ClaimState::Listing | ClaimState::Running => None,
        })
        .collect();
    (!missing.is_empty()).then(|| warning(type_, REASON_MISSING_RIGHTS, missing.join("; ")))
}

fn syncs_running(type_: &str, facts: &Facts) -> Option<New> {
    let failing = facts.kinds.iter().find_map(|kind| match &kind.state {
        KindState::Installed(SyncState::Failing(why)) => Some(format!("{}: {why}", kind.name)),
        _ => None,
    });
    if let Some(message) = failing {
        return Some(error(type_, reasons::INFORMER_SYNC_TIMEOUT, message));
    }
    let held = facts.kinds.iter().find_map(|kind| match &kind.state {
        KindState::Installed(SyncState::Held(copies)) => Some(format!(
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
        .find(|kind| kind.state != KindState::Installed(SyncState::Running))
    {
        return listing(format!("{} is not synced yet", kind.name));
    }
    match facts.claims.iter().find(|c| c.state == ClaimState::Listing) {
        Some(claim) => listing(format!("the claim on {} is not synced yet", claim.name)),
        None => None,
    }
}

fn heartbeating(facts: &Facts) -> New {
    let type_ = types::HEARTBEATING;
    match facts.provider.as_ref().map(|provider| &provider.heartbeat) {
        Some(HeartbeatState::Beating) if link(facts) == Some(&LinkState::Up) => New::true_(type_),
        Some(HeartbeatState::Failed(why)) => {
            warning(type_, reasons::CLUSTER_BINDING_UPDATE_FAILED, why)
        }
        Some(HeartbeatState::Beating) => warning(
            type_,
            reasons::CLUSTER_BINDING_UPDATE_FAILED,
            "the provider is not reachable",
        ),
        Some(HeartbeatState::Pending) | None => waiting(type_, "waiting for the first heartbeat"),
    }
}

fn connected(facts: &Facts) -> New {
    let type_ = types::CONNECTED;
    if let Some(unbinding) = &facts.unbinding {
        return if unbinding.blocked {
            error(type_, REASON_UNBINDING_BLOCKED, &unbinding.message)
        } else {
            warning(type_, REASON_UNBINDING, &unbinding.message)
        };
    }
    if let Some(condition) = unreachable(type_, facts) {
        return condition;
    }
    let Some(provider) = facts.provider.as_ref().filter(|provider| provider.synced) else {
        return waiting(type_, "listing the provider's exports");
    };
    match &provider.export {
        ExportFacts::Missing => {
            return error(
                type_,
                reasons::API_SERVICE_EXPORT_NOT_FOUND,
                "the provider has no export of this name",
            );
        }
        ExportFacts::Failed(why) => {
            return error(type_, reasons::API_SERVICE_EXPORT_FAILED, why);
        }
        ExportFacts::Found => {}
    }
    facts
        .kinds
        .iter()
        .filter_map(|kind| kind_connected(type_, &kind.name, &kind.state))
        .min_by_key(|(severity, _)| *severity)
        .map_or_else(|| New::true_(type_), |(_, condition)| condition)
}

fn kind_connected(type_: &str, name: &str, state: &KindState) -> Option<(Severity, New)> {
    let failed =
        |reason: &str, message: String| Some((Severity::Error, error(type_, reason, message)));
    let info = |reason: &str, message: String| {
        let condition = New::false_(type_, Severity::Info, reason, message);
        Some((Severity::Info, condition))
    };
    match state {
        KindState::NoSchema => failed(
            reasons::BOUND_SCHEMA_FETCH_FAILED,
            format!("the provider has no bound schema {name}"),
        ),
        KindState::Unusable(why) => {
            failed(reasons::BOUND_SCHEMA_FETCH_FAILED, format!("{name}: {why}"))
        }
        KindState::Foreign(why) => failed(reasons::FOREIGN_CRD, why.clone()),
        KindState::MissingRights(rights) => failed(
            REASON_MISSING_RIGHTS,
            format!(
                "{name} is not synced, the konnector lacks: {}",
                rights.join(", ")
            ),
        ),
        KindState::CreateFailed(why) => {
            failed(reasons::CRD_CREATE_FAILED, format!("{name}: {why}"))
        }
        KindState::UpdateFailed(why) => {
            failed(reasons::CRD_UPDATE_FAILED, format!("{name}: {why}"))
        }
        KindState::Terminating => info(
            REASON_NOT_ESTABLISHED,
            format!("custom resource definition {name} is being deleted"),
        ),
        KindState::NotEstablished => info(
            REASON_NOT_ESTABLISHED,
            format!("custom resource definition {name} is not established yet"),
        ),
        KindState::Installed(_) => None,
    }
}

fn schema_in_sync(facts: &Facts) -> New {
    let type_ = types::SCHEMA_IN_SYNC;
    let found = facts
        .provider
        .as_ref()
        .is_some_and(|provider| provider.synced && provider.export == ExportFacts::Found);
    if !found {
        return waiting(type_, "waiting for the provider's export");
    }
    let behind = facts.kinds.iter().find(|kind| !kind.state.is_current());
    match behind.map(|kind| (&kind.name, &kind.state)) {
        None => New::true_(type_),
        Some((name, KindState::UpdateFailed(why))) => {
            error(type_, reasons::CRD_UPDATE_FAILED, format!("{name}: {why}"))
        }
        Some((name, KindState::CreateFailed(why))) => {
            error(type_, reasons::CRD_CREATE_FAILED, format!("{name}: {why}"))
        }
        Some((name, _)) => waiting(type_, format!("{name} is not installed")),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
