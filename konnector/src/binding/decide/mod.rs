//! From facts to conditions (contract section 5.4). No IO.
//!
//! Each condition is a chain of checks, the first that fails speaks. A condition that is not there
//! yet is `False` with severity `Info`, never `Unknown`: in the summary `True` beats `Unknown`, and
//! a binding would be ready before it can be used.

mod connected;
mod schema;
mod synced;

use kube_bind_crds::conditions::{self, New, Severity, reasons, types};

use super::facts::Facts;
use crate::fault::shorten;
use crate::heartbeat::HeartbeatState;
use crate::names::{REASON_OTHER_PROVIDER, REASON_UNREACHABLE, REASON_WAITING};
use crate::provider::{ConnectProblem, LinkState, SecretState};

/// All conditions but the summary.
pub fn conditions(facts: &Facts) -> Vec<New> {
    vec![
        secret_valid(facts),
        synced::informers_synced(facts),
        heartbeating(facts),
        connected::connected(facts),
        schema::schema_in_sync(facts),
    ]
}

/// Whether all of them hold.
pub fn is_ready(facts: &Facts) -> bool {
    let mut all = Vec::new();
    for condition in conditions(facts) {
        conditions::set(&mut all, condition, jiff::Timestamp::UNIX_EPOCH);
    }
    all.iter().all(|c| c.status == conditions::TRUE)
}

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

#[cfg(test)]
mod tests;
