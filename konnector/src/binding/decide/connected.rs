//! `Connected`: the export, and whether its kinds are there. No IO.

use kube_bind_crds::conditions::{New, Severity, reasons, types};
use kube_bind_crds::switches::SUSPEND;

use super::super::facts::{ExportFacts, Facts, KindState, SyncState};
use super::{error, unreachable, waiting, warning};
use crate::names::{
    REASON_ACCEPTANCE_PENDING, REASON_INVALID_SWITCH, REASON_MISSING_RIGHTS,
    REASON_NOT_ESTABLISHED, REASON_REQUEST_FAILED, REASON_SUSPENDED, REASON_UNBINDING,
    REASON_UNBINDING_BLOCKED,
};

/// Whether both ends of the binding see each other and every kind can be used.
pub(super) fn connected(facts: &Facts) -> New {
    let type_ = types::CONNECTED;
    if let Some(unbinding) = &facts.unbinding {
        return if unbinding.blocked {
            error(type_, REASON_UNBINDING_BLOCKED, &unbinding.message)
        } else {
            warning(type_, REASON_UNBINDING, &unbinding.message)
        };
    }
    if let Some(invalid) = &facts.switches.invalid {
        return warning(type_, REASON_INVALID_SWITCH, invalid);
    }
    if let Some(why) = &facts.failing {
        return error(type_, REASON_REQUEST_FAILED, why);
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
                "the provider has no export of this name; nothing is synced, and what is deleted of \
                 its objects waits until it is back or the binding is deleted",
            );
        }
        ExportFacts::Failed(why) => {
            return error(type_, reasons::API_SERVICE_EXPORT_FAILED, why);
        }
        ExportFacts::Found => {}
    }
    let worst = facts
        .kinds
        .iter()
        .filter_map(|kind| kind_connected(type_, &kind.name, &kind.state))
        .min_by_key(|(severity, _)| *severity);
    let suspended = facts.switches.suspended;
    if let Some((severity, condition)) = worst
        // What is only not there yet does not come while nothing is written.
        && !(suspended && severity == Severity::Info)
    {
        return condition;
    }
    if suspended {
        let message = format!("nothing is written; take off {SUSPEND} to go on");
        return New::false_(type_, Severity::Info, REASON_SUSPENDED, message);
    }
    // What was accepted works, so that an offer of the provider's takes nothing away.
    match &facts.waiting {
        Some(message) => New::true_(type_).with_reason(REASON_ACCEPTANCE_PENDING, message.clone()),
        None => New::true_(type_),
    }
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
        KindState::UpdateFailed(why, _) => {
            failed(reasons::CRD_UPDATE_FAILED, format!("{name}: {why}"))
        }
        KindState::Failing(Some(why), _) => failed(REASON_REQUEST_FAILED, format!("{name}: {why}")),
        KindState::Failing(None, SyncState::Running) => None,
        KindState::Failing(None, _) => Some((
            Severity::Info,
            waiting(type_, format!("{name} is being looked at")),
        )),
        KindState::Terminating(_) => info(
            REASON_NOT_ESTABLISHED,
            format!("custom resource definition {name} is being deleted"),
        ),
        KindState::NotEstablished => info(
            REASON_NOT_ESTABLISHED,
            format!("custom resource definition {name} is not established yet"),
        ),
        KindState::Installed(_) | KindState::Held(..) | KindState::Withdrawn(_) => None,
    }
}
