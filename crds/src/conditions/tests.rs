//! Tests of the parent module.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn condition(type_: &str, status: &str, severity: Option<&str>) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        severity: severity.map(str::to_owned),
        last_transition_time: Time(at(1)),
        reason: Some(format!("{type_}Reason")),
        message: Some(format!("{type_} message")),
    }
}

fn ready_of(mut conditions: Vec<Condition>) -> Option<(String, Option<String>, Option<String>)> {
    summarize(&mut conditions, at(9));
    get(&conditions, types::READY).map(|ready| {
        (
            ready.status.clone(),
            ready.severity.clone(),
            ready.reason.clone(),
        )
    })
}

#[test]
fn the_transition_time_moves_exactly_when_something_changes() {
    let mut conditions = Vec::new();
    let failed = || New::false_("Connected", Severity::Error, "Gone", "the export is gone");
    assert!(set(&mut conditions, failed(), at(10)));
    assert!(!set(&mut conditions, failed(), at(20)));
    assert_eq!(conditions[0].last_transition_time.0, at(10));

    let changes = [
        New::false_("Connected", Severity::Warning, "Gone", "the export is gone"),
        New::false_("Connected", Severity::Warning, "Left", "the export is gone"),
        New::false_(
            "Connected",
            Severity::Warning,
            "Left",
            "the export has left",
        ),
        New::unknown("Connected", "Left", "the export has left"),
        New::true_("Connected"),
    ];
    for (second, change) in (30..).zip(changes) {
        assert!(
            set(&mut conditions, change.clone(), at(second)),
            "{change:?}"
        );
        assert_eq!(conditions[0].last_transition_time.0, at(second));
    }
}

#[test]
fn times_are_whole_seconds() {
    let mut conditions = Vec::new();
    let now: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
    set(&mut conditions, New::true_("Synced"), now);
    let json = serde_json::to_value(&conditions).unwrap();
    assert_eq!(json[0]["lastTransitionTime"], "2026-01-02T03:04:05Z");
}

#[test]
fn empty_texts_of_a_peer_are_no_change() {
    let mut conditions = vec![Condition {
        severity: Some(String::new()),
        reason: Some(String::new()),
        message: Some(String::new()),
        ..condition("Synced", TRUE, None)
    }];
    assert!(!set(&mut conditions, New::true_("Synced"), at(5)));
}

#[test]
fn ready_comes_first_and_the_rest_by_type() {
    let mut conditions = Vec::new();
    for type_ in ["Synced", "Connected", "Ready", "Alive"] {
        set(&mut conditions, New::true_(type_), at(1));
    }
    let order: Vec<&str> = conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(order, ["Ready", "Alive", "Connected", "Synced"]);
}

#[test]
fn without_other_conditions_there_is_no_summary() {
    assert_eq!(ready_of(vec![]), None);
    let mut only_ready = vec![condition("Ready", FALSE, Some("Info"))];
    assert!(!summarize(&mut only_ready, at(9)));
    assert_eq!(only_ready, vec![condition("Ready", FALSE, Some("Info"))]);
}

#[test]
fn the_worst_group_decides_the_summary() {
    let error = || condition("E", FALSE, Some("Error"));
    let warning = || condition("D", FALSE, Some("Warning"));
    let info = || condition("C", FALSE, Some("Info"));
    let holds = || condition("B", TRUE, None);
    let unknown = || condition("A", UNKNOWN, None);
    let unranked = || condition("0", FALSE, None);
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        (
            vec![unranked(), unknown(), holds(), info(), warning(), error()],
            FALSE,
            some("Error"),
            some("EReason"),
        ),
        (
            vec![unranked(), unknown(), holds(), info(), warning()],
            FALSE,
            some("Warning"),
            some("DReason"),
        ),
        (
            vec![unranked(), unknown(), holds(), info()],
            FALSE,
            some("Info"),
            some("CReason"),
        ),
        (vec![unranked(), unknown(), holds()], TRUE, None, None),
        (vec![unranked(), unknown()], UNKNOWN, None, some("AReason")),
        (vec![unranked()], FALSE, some("Error"), some("0Reason")),
    ];
    for (conditions, status, severity, reason) in cases {
        assert_eq!(
            ready_of(conditions.clone()),
            Some((status.to_owned(), severity, reason)),
            "{conditions:?}"
        );
    }
}

#[test]
fn the_first_type_of_the_worst_group_gives_the_reason() {
    let conditions = vec![
        condition("SecretValid", FALSE, Some("Error")),
        condition("Connected", FALSE, Some("Error")),
    ];
    let (_, _, reason) = ready_of(conditions).unwrap();
    assert_eq!(reason.as_deref(), Some("ConnectedReason"));
}

#[test]
fn a_copied_failure_always_has_a_severity() {
    let mut conditions = Vec::new();
    let from = condition("NamesAccepted", FALSE, None);
    set(&mut conditions, New::copied("NamesAccepted", &from), at(3));
    assert_eq!(conditions[0].severity.as_deref(), Some("Error"));
    assert_eq!(conditions[0].reason, from.reason);
}

#[test]
fn removing_says_whether_there_was_anything() {
    let mut conditions = vec![condition("Synced", TRUE, None)];
    assert!(remove(&mut conditions, "Synced"));
    assert!(!remove(&mut conditions, "Synced"));
}

fn any_new() -> impl Strategy<Value = New> {
    let type_ = prop_oneof![Just("A"), Just("B"), Just("C"), Just("Z")];
    let severity = prop_oneof![
        Just(Severity::Error),
        Just(Severity::Warning),
        Just(Severity::Info)
    ];
    (type_, 0..3, severity, "[A-C]?", "[a-c]?").prop_map(
        |(type_, status, severity, reason, message)| match status {
            0 => New::true_(type_),
            1 => New::false_(type_, severity, reason, message),
            _ => New::unknown(type_, reason, message),
        },
    )
}

proptest! {
    #[test]
    fn the_summary_never_lies(news in prop::collection::vec(any_new(), 0..12)) {
        let mut conditions = Vec::new();
        for (second, new) in (0..).zip(news) {
            set(&mut conditions, new, at(second));
            summarize(&mut conditions, at(second));

            let others: Vec<&Condition> =
                conditions.iter().filter(|c| c.type_ != types::READY).collect();
            let ready = get(&conditions, types::READY).unwrap();
            let any_false = others.iter().any(|c| c.status == FALSE);
            let any_true = others.iter().any(|c| c.status == TRUE);
            prop_assert_eq!(ready.status == FALSE, any_false);
            prop_assert_eq!(ready.status == TRUE, !any_false && any_true);
            if ready.status == TRUE {
                prop_assert!(ready.reason.is_none() && ready.message.is_none());
            } else {
                let told = others.iter().any(|c| {
                    (&c.status, &c.severity, &c.reason, &c.message)
                        == (&ready.status, &ready.severity, &ready.reason, &ready.message)
                });
                prop_assert!(told);
            }
            prop_assert_eq!(ready.severity.is_some(), ready.status == FALSE);
            prop_assert_eq!(&conditions[0].type_, types::READY);
            prop_assert!(conditions[1..].is_sorted_by(|a, b| a.type_ < b.type_));
            let mut again = conditions.clone();
            prop_assert!(!summarize(&mut again, at(1000)));
        }
    }
}
