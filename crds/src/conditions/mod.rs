//! Conditions with the semantics of the original (contract sections 1.3 and 5.4): how one is set,
//! how `Ready` is computed from the others, and in which order they are kept. Pure; `now` is an argument.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::Condition;

pub mod reasons;
pub mod types;

/// `status` of a condition that holds.
pub const TRUE: &str = "True";
/// `status` of a condition that does not hold.
pub const FALSE: &str = "False";
/// `status` of a condition that could not be observed.
pub const UNKNOWN: &str = "Unknown";

/// How bad a condition with status `False` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Something is broken and needs a person or a change.
    Error,
    /// Something is not right but works, or repairs itself.
    Warning,
    /// Not there yet.
    Info,
}

impl Severity {
    /// The value on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Warning => "Warning",
            Self::Info => "Info",
        }
    }
}

/// A condition to set. There is no way to write one with status `False` and no severity: the
/// summary of every reader would let it lose against anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct New {
    type_: String,
    status: &'static str,
    severity: Option<Severity>,
    reason: Option<String>,
    message: Option<String>,
}

impl New {
    /// It holds.
    pub fn true_(type_: impl Into<String>) -> Self {
        Self {
            type_: type_.into(),
            status: TRUE,
            severity: None,
            reason: None,
            message: None,
        }
    }

    /// It does not hold.
    pub fn false_(
        type_: impl Into<String>,
        severity: Severity,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_: type_.into(),
            status: FALSE,
            severity: Some(severity),
            reason: non_empty(reason),
            message: non_empty(message),
        }
    }

    /// It could not be observed.
    pub fn unknown(
        type_: impl Into<String>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_: type_.into(),
            status: UNKNOWN,
            severity: None,
            reason: non_empty(reason),
            message: non_empty(message),
        }
    }

    /// Another condition's state under the name `type_`; used for conditions that are copied between
    /// objects. A `False` without severity becomes an `Error`, as readers would overlook it.
    pub fn copied(type_: impl Into<String>, from: &Condition) -> Self {
        let (status, severity) = match from.status.as_str() {
            TRUE => (TRUE, None),
            FALSE => (
                FALSE,
                Some(match from.severity.as_deref() {
                    Some("Warning") => Severity::Warning,
                    Some("Info") => Severity::Info,
                    _ => Severity::Error,
                }),
            ),
            _ => (UNKNOWN, None),
        };
        Self {
            type_: type_.into(),
            status,
            severity,
            reason: from.reason.clone().filter(|text| !text.is_empty()),
            message: from.message.clone().filter(|text| !text.is_empty()),
        }
    }

    /// Adds a reason and a message to a condition that has none, such as a true one.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>, message: impl Into<String>) -> Self {
        self.reason = non_empty(reason);
        self.message = non_empty(message);
        self
    }
}

fn non_empty(text: impl Into<String>) -> Option<String> {
    Some(text.into()).filter(|text| !text.is_empty())
}

/// Sets one condition and keeps the order: `Ready` first, the others by type. Says whether anything
/// changed; `lastTransitionTime` moves exactly when status, severity, reason or message did.
pub fn set(conditions: &mut Vec<Condition>, new: New, now: Timestamp) -> bool {
    let New {
        type_,
        status,
        severity,
        reason,
        message,
    } = new;
    let wanted = Condition {
        type_,
        status: status.to_owned(),
        severity: severity.map(|severity| severity.as_str().to_owned()),
        last_transition_time: Time(whole_seconds(now)),
        reason,
        message,
    };
    match conditions
        .iter_mut()
        .find(|condition| condition.type_ == wanted.type_)
    {
        Some(existing) if same_state(existing, &wanted) => return false,
        Some(existing) => *existing = wanted,
        None => conditions.push(wanted),
    }
    conditions.sort_by(order);
    true
}

/// Removes a condition and says whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_ != type_);
    conditions.len() != before
}

/// The condition of that type.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of that type is there and true.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status == TRUE)
}

/// Sets `Ready` from all other conditions and says whether it changed. The worst group decides, and
/// in it the first type by alphabet; without other conditions nothing is written.
pub fn summarize(conditions: &mut Vec<Condition>, now: Timestamp) -> bool {
    let worst = conditions
        .iter()
        .filter(|condition| condition.type_ != types::READY)
        .min_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.type_.cmp(&b.type_)));
    let Some(worst) = worst else {
        return false;
    };
    let ready = match rank(worst) {
        Rank::True => New::true_(types::READY),
        _ => New::copied(types::READY, worst),
    };
    set(conditions, ready, now)
}

/// Groups of the summary, the one that wins first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Error,
    Warning,
    Info,
    True,
    Unknown,
    /// Only a peer writes this: `False` without a severity that anybody knows.
    Unranked,
}

fn rank(condition: &Condition) -> Rank {
    match (condition.status.as_str(), condition.severity.as_deref()) {
        (FALSE, Some("Error")) => Rank::Error,
        (FALSE, Some("Warning")) => Rank::Warning,
        (FALSE, Some("Info")) => Rank::Info,
        (FALSE, _) => Rank::Unranked,
        (TRUE, _) => Rank::True,
        _ => Rank::Unknown,
    }
}

fn order(a: &Condition, b: &Condition) -> Ordering {
    let not_ready = |condition: &Condition| condition.type_ != types::READY;
    not_ready(a)
        .cmp(&not_ready(b))
        .then_with(|| a.type_.cmp(&b.type_))
}

/// Empty and absent are one value: peers write either.
fn same_state(a: &Condition, b: &Condition) -> bool {
    fn text(value: &Option<String>) -> &str {
        value.as_deref().unwrap_or_default()
    }
    a.status == b.status
        && text(&a.severity) == text(&b.severity)
        && text(&a.reason) == text(&b.reason)
        && text(&a.message) == text(&b.message)
}

/// The wire format has no fractions of a second.
fn whole_seconds(now: Timestamp) -> Timestamp {
    now - SignedDuration::from_nanos(i64::from(now.subsec_nanosecond()))
}

#[cfg(test)]
mod tests;
