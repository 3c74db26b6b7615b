//! Tests of the parent module.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_bind_crds::api::APIServiceExportRequestSpec;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2026-01-01T12:00:00Z";

fn summary(status: &APIServiceExportRequestStatus) -> Vec<(String, String, Option<String>)> {
    status
        .conditions
        .iter()
        .map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()))
        .collect()
}

fn condition(type_: &str, status: &str, reason: Option<&str>) -> (String, String, Option<String>) {
    (type_.into(), status.into(), reason.map(str::to_owned))
}

#[test]
fn a_problem_that_may_pass_is_visible_and_leaves_the_phase() {
    let problem = Problem {
        condition: types::EXPORTS_READY,
        reason: "SchemaNotFound",
        message: "no such CRD".into(),
        is_final: false,
    };
    let status = wanted_status(&Default::default(), &Err(problem), at(NOW));
    assert_eq!(status.phase, Phase::Pending);
    assert_eq!(status.terminal_message, None);
    assert_eq!(
        summary(&status),
        [
            condition("Ready", "False", Some("SchemaNotFound")),
            condition("ExportsReady", "False", Some("SchemaNotFound")),
            condition("PermissionClaim", "True", None),
        ]
    );
}

#[test]
fn a_final_problem_fails_the_request_with_a_message() {
    let problem = Problem {
        condition: types::PERMISSION_CLAIM,
        reason: "InvalidPermissionClaim",
        message: "nodes cannot be claimed".into(),
        is_final: true,
    };
    let status = wanted_status(&Default::default(), &Err(problem), at(NOW));
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(
        status.terminal_message.as_deref(),
        Some("nodes cannot be claimed")
    );
    assert!(conditions::get(&status.conditions, types::EXPORTS_READY).is_none());
}

#[test]
fn success_does_not_depend_on_age() {
    let grant = Grant {
        schemas: vec![],
        export: None,
        left_out: Some("not exported: widgets v1".into()),
    };
    let status = wanted_status(&Default::default(), &Ok(grant), at(NOW));
    assert_eq!(status.phase, Phase::Succeeded);
    assert!(conditions::is_true(&status.conditions, types::READY));
    let ready = conditions::get(&status.conditions, types::EXPORTS_READY).unwrap();
    assert_eq!(ready.message.as_deref(), Some("not exported: widgets v1"));
}

#[test]
fn a_finished_request_stays_ten_minutes() {
    let mut request = APIServiceExportRequest::new("a", APIServiceExportRequestSpec::default());
    request.metadata.creation_timestamp = Some(Time(at("2026-01-01T11:55:00Z")));
    assert_eq!(left(&request, at(NOW)), Some(Duration::from_secs(300)));
    request.metadata.creation_timestamp = Some(Time(at("2026-01-01T11:50:00Z")));
    assert_eq!(left(&request, at(NOW)), None);
}

#[test]
fn waiting_ends_after_ten_minutes_and_the_reason_can_be_read_for_ten_more() {
    let waiting = || {
        Err(Problem {
            condition: types::EXPORTS_READY,
            reason: "SchemaNotFound",
            message: "no such CRD".into(),
            is_final: false,
        })
    };
    let mut request = APIServiceExportRequest::new("a", APIServiceExportRequestSpec::default());
    request.metadata.creation_timestamp = Some(Time(at("2026-01-01T11:50:01Z")));
    let young = give_up(&request, waiting(), at(NOW));
    assert!(!young.unwrap_err().is_final);
    request.metadata.creation_timestamp = Some(Time(at("2026-01-01T11:50:00Z")));
    let old = give_up(&request, waiting(), at(NOW));
    let status = wanted_status(&Default::default(), &old, at(NOW));
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.terminal_message.as_deref(), Some("no such CRD"));
    request.status = Some(status);
    assert_eq!(left(&request, at(NOW)), Some(KEEP));
    assert_eq!(left(&request, at("2026-01-01T12:10:00Z")), None);
}
