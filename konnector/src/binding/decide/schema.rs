//! `SchemaInSync`. No IO.

use kube_bind_crds::conditions::{New, reasons, types};

use super::super::facts::{ExportFacts, Facts, KindState};
use super::{error, waiting, warning};
use crate::names::{REASON_CONVERSION_WEBHOOK, REASON_SCHEMA_CHANGE_HELD, REASON_WITHDRAWN};

/// Whether the consumer has the kinds as the provider exports them.
pub(super) fn schema_in_sync(facts: &Facts) -> New {
    let type_ = types::SCHEMA_IN_SYNC;
    let found = facts
        .provider
        .as_ref()
        .is_some_and(|provider| provider.synced && provider.export == ExportFacts::Found);
    if !found || facts.failing.is_some() {
        return waiting(type_, "waiting for the provider's export");
    }
    let behind = facts.kinds.iter().find(|kind| !kind.state.is_current());
    match behind.map(|kind| (&kind.name, &kind.state)) {
        None => left_behind(type_, facts).unwrap_or_else(|| New::true_(type_)),
        Some((name, KindState::Held(why, _))) => warning(
            type_,
            REASON_SCHEMA_CHANGE_HELD,
            format!(
                "the provider's new schema of {name} is not applied, because of {}; it is as soon as \
                 that is no more so",
                why.join("; ")
            ),
        ),
        Some((name, KindState::Withdrawn(stuck))) => {
            let stuck = stuck
                .as_ref()
                .map(|why| format!("; objects of it that you delete cannot be released: {why}"));
            warning(
                type_,
                REASON_WITHDRAWN,
                format!(
                    "the provider does not export {name} any more: its objects and its definition \
                     stay, but are not synced; they go with the binding{}",
                    stuck.unwrap_or_default()
                ),
            )
        }
        Some((name, KindState::UpdateFailed(why, _))) => {
            error(type_, reasons::CRD_UPDATE_FAILED, format!("{name}: {why}"))
        }
        Some((name, KindState::CreateFailed(why))) => {
            error(type_, reasons::CRD_CREATE_FAILED, format!("{name}: {why}"))
        }
        Some((name, KindState::Failing(..))) => {
            waiting(type_, format!("{name} could not be looked at"))
        }
        Some((name, _)) => waiting(type_, format!("{name} is not installed")),
    }
}

/// True all the same: what crosses can be used.
fn left_behind(type_: &str, facts: &Facts) -> Option<New> {
    let kind = facts
        .kinds
        .iter()
        .find(|kind| !kind.left_behind.is_empty())?;
    let message = format!(
        "{} does not have version {}: objects of other versions than the one that crosses would need \
         the provider's conversion webhook, which this cluster cannot call",
        kind.name,
        kind.left_behind.join(", ")
    );
    Some(New::true_(type_).with_reason(REASON_CONVERSION_WEBHOOK, message))
}
