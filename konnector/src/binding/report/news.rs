//! What is worth an event about a change of status. No IO.

use kube_bind_crds::api::Condition;
use kube_bind_crds::conditions::{self, types};

use crate::names::{REASON_ACCEPTANCE_PENDING, REASON_UNBINDING};

/// What is worth an event about a change of status.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It became usable.
    Ready,
    /// It stopped being usable: why.
    NotReady(String),
    /// A person wanted it to go, and it goes.
    Unbinding(String),
}

/// What is new, if a person should know.
pub(super) fn news(old: &[Condition], new: &[Condition]) -> Option<News> {
    let ready = conditions::is_true(new, types::READY);
    if ready {
        return (!conditions::is_true(old, types::READY)).then_some(News::Ready);
    }
    let words = |all: &[Condition]| {
        let condition = conditions::get(all, types::READY)?;
        let severe = matches!(condition.severity.as_deref(), Some("Error" | "Warning"));
        severe.then(|| {
            format!(
                "{}: {}",
                condition.reason.as_deref().unwrap_or_default(),
                condition.message.as_deref().unwrap_or_default()
            )
        })
    };
    let now = words(new)?;
    if words(old).as_ref() == Some(&now) {
        return None;
    }
    let condition = conditions::get(new, types::READY)?;
    let is_going = |c: &Condition| c.reason.as_deref() == Some(REASON_UNBINDING);
    if !is_going(condition) {
        return Some(News::NotReady(now));
    }
    // Its progress is in the condition; one event says that it began.
    let began = conditions::get(old, types::READY).is_some_and(is_going);
    (!began).then(|| News::Unbinding(condition.message.clone().unwrap_or_default()))
}

/// What the provider offers beyond what was accepted, if that is new.
pub(super) fn offer(old: &[Condition], new: &[Condition]) -> Option<String> {
    let words = |all: &[Condition]| {
        let condition = conditions::get(all, types::CONNECTED)?;
        let waits = condition.reason.as_deref() == Some(REASON_ACCEPTANCE_PENDING);
        waits.then(|| condition.message.clone().unwrap_or_default())
    };
    words(new).filter(|now| words(old).as_ref() != Some(now))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use jiff::Timestamp;
    use kube_bind_crds::conditions::{New, Severity};

    pub(in super::super) fn ready(condition: New) -> Vec<Condition> {
        let mut all = Vec::new();
        conditions::set(&mut all, condition, Timestamp::UNIX_EPOCH);
        conditions::summarize(&mut all, Timestamp::UNIX_EPOCH);
        all
    }

    #[test]
    fn becoming_ready_and_each_new_trouble_are_news_and_nothing_else() {
        let good = ready(New::true_("Connected"));
        let bad = ready(New::false_("Connected", Severity::Error, "Lost", "refused"));
        let worse = ready(New::false_(
            "Connected",
            Severity::Error,
            "Lost",
            "timed out",
        ));
        let pending = ready(New::false_("Connected", Severity::Info, "Waiting", "x"));
        assert_eq!(news(&[], &good), Some(News::Ready));
        assert_eq!(news(&good, &good), None);
        assert_eq!(news(&good, &pending), None);
        assert_eq!(
            news(&good, &bad),
            Some(News::NotReady("Lost: refused".into()))
        );
        assert_eq!(news(&bad, &bad), None);
        assert_eq!(
            news(&bad, &worse),
            Some(News::NotReady("Lost: timed out".into()))
        );
        assert_eq!(news(&bad, &good), Some(News::Ready));
    }
}
