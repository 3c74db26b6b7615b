//! What an answer of the API server means for the engine. Pure.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use kube::core::Status;

use super::super::cluster::Error;
use crate::fault::{is_namespace_going, is_too_large, lacks_right, shorten};

/// A server that asks us to stay away for longer is tried sooner nevertheless: its words are not more
/// than a wish, and far away times cannot be reckoned with.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        transport(&error)
    }
}

/// A request that got no answer.
pub(super) fn transport(error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => classify(status, None),
        other => Error::Unavailable {
            message: other.to_string(),
            retry_after: None,
        },
    }
}

/// An answer that is not a success.
pub(in super::super) fn answer(code: u16, headers: &HeaderMap, body: &[u8]) -> Error {
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let mut status = serde_json::from_slice::<Status>(body)
        .ok()
        .filter(|status| status.code != 0)
        .unwrap_or_else(|| {
            let text = String::from_utf8_lossy(body);
            Status::failure(text.trim(), "").with_code(code)
        });
    status.code = code;
    classify(&status, retry_after)
}

/// Sorts a `Status`.
pub(super) fn classify(status: &Status, retry_after: Option<Duration>) -> Error {
    let details = status.details.as_ref();
    let causes = details
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    let message = shorten(&status.message);
    let retry_after = retry_after.or_else(|| {
        let seconds = details?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    });
    let retry_after = retry_after.map(|wait| wait.min(LONGEST_WAIT));
    match status.code {
        401 => Error::Unauthorized { message },
        403 if is_namespace_going(status) => Error::NamespaceGone { message },
        403 if lacks_right(status) => Error::Denied { message },
        404 => not_found(status, message),
        409 => Error::Changed,
        410 => Error::Expired,
        422 if causes.iter().any(|cause| {
            cause.field == "metadata.uid" || cause.field == "metadata.resourceVersion"
        }) =>
        {
            Error::Changed
        }
        // A JSON patch whose test failed or whose path is missing has no causes and no details.
        422 if causes.is_empty() && message.contains("rejected our request due to an error") => {
            Error::Changed
        }
        // A body that does not fit the schema, found by server-side apply: the object's fault.
        500 if message.contains("failed to create typed patch object") => {
            Error::Rejected { code: 500, message }
        }
        500 if is_too_large(status) => Error::Rejected { code: 500, message },
        // A webhook that does not answer, or whose answer does not fit the object. What concerns all objects
        // alike (no leader in the database) is told otherwise.
        500 if message.starts_with("Internal error occurred: ") => Error::Internal { message },
        // Nothing can be created while a CRD goes; it may be back soon.
        405 if message.contains("custom resource definition is terminating") => {
            Error::NotServed { message }
        }
        429 => Error::Throttled { retry_after },
        400 | 403 | 405 | 406 | 413 | 415 | 422 => Error::Rejected {
            code: status.code,
            message,
        },
        _ => Error::Unavailable {
            message,
            retry_after,
        },
    }
}

/// 404 of the object, of its namespace, or of the kind: only the details tell.
fn not_found(status: &Status, message: String) -> Error {
    match status.details.as_ref() {
        Some(details) if details.kind == "namespaces" => Error::NamespaceGone { message },
        Some(details) if !details.name.is_empty() => Error::NotFound,
        _ => Error::NotServed { message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{TOO_LARGE, failure};

    fn of(json: serde_json::Value) -> Error {
        classify(&serde_json::from_value(json).unwrap(), None)
    }

    #[test]
    fn our_own_preconditions_mean_look_again() {
        for field in ["metadata.uid", "metadata.resourceVersion"] {
            let error = of(
                serde_json::json!({"code": 422, "message": "Widget \"a\" is invalid",
                "reason": "Invalid", "details": {"causes": [{"field": field, "message": "m"}]}}),
            );
            assert_eq!(error, Error::Changed);
        }
        let test_failed = of(serde_json::json!({"code": 422, "reason": "Invalid",
            "message": "the server rejected our request due to an error in our request", "details": {}}));
        assert_eq!(test_failed, Error::Changed);
    }

    #[test]
    fn admission_speaks_to_the_author_and_rbac_to_the_operator() {
        let rbac = of(
            serde_json::json!({"code": 403, "reason": "Forbidden", "message":
            "widgets.example.io \"a\" is forbidden: User \"u\" cannot patch resource \"widgets\""}),
        );
        assert!(matches!(rbac, Error::Denied { .. }));
        let admission = of(
            serde_json::json!({"code": 403, "reason": "Forbidden", "message":
            "admission webhook \"w\" denied the request: too big"}),
        );
        assert!(matches!(admission, Error::Rejected { code: 403, .. }));
        let invalid = of(
            serde_json::json!({"code": 422, "reason": "Invalid", "message": "spec.size: Invalid value",
            "details": {"causes": [{"field": "spec.size", "message": "m"}]}}),
        );
        assert!(matches!(invalid, Error::Rejected { code: 422, .. }));
    }

    #[test]
    fn a_terminating_namespace_is_waited_for() {
        let error = of(
            serde_json::json!({"code": 403, "reason": "Forbidden", "message": "m",
            "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace", "message": "m"}]}}),
        );
        assert!(matches!(error, Error::NamespaceGone { .. }));
        let missing = of(
            serde_json::json!({"code": 404, "reason": "NotFound", "message": "namespaces \"n\" not found",
            "details": {"name": "n", "kind": "namespaces"}}),
        );
        assert!(matches!(missing, Error::NamespaceGone { .. }));
    }

    #[test]
    fn a_missing_kind_is_not_a_missing_object() {
        let object = of(
            serde_json::json!({"code": 404, "reason": "NotFound", "message": "m",
            "details": {"name": "a", "kind": "widgets"}}),
        );
        assert_eq!(object, Error::NotFound);
        let kind = answer(404, &HeaderMap::new(), b"404 page not found\n");
        assert!(matches!(kind, Error::NotServed { .. }));
    }

    #[test]
    fn a_webhook_that_is_down_and_a_crd_that_goes_are_not_the_objects_fault() {
        let webhook = of(
            serde_json::json!({"code": 500, "reason": "InternalError", "message":
            "Internal error occurred: failed calling webhook \"w.example.io\": connect: connection refused"}),
        );
        assert!(matches!(webhook, Error::Internal { .. }));
        assert!(!webhook.is_of_server() && !webhook.is_overload());
        let patch = of(
            serde_json::json!({"code": 500, "reason": "InternalError", "message":
            "Internal error occurred: jsonpatch replace operation does not apply: doc is missing key: /spec/size"}),
        );
        assert!(matches!(patch, Error::Internal { .. }));
        let etcd = of(
            serde_json::json!({"code": 500, "reason": "InternalError", "message": "etcdserver: no leader"}),
        );
        assert!(etcd.is_of_server());
        let going = of(
            serde_json::json!({"code": 405, "reason": "MethodNotAllowed", "message":
            "create not allowed while custom resource definition is terminating", "details": {"kind": "widgets"}}),
        );
        assert!(matches!(going, Error::NotServed { .. }));
    }

    #[test]
    fn an_object_that_does_not_fit_into_the_database_is_not_the_servers_fault() {
        for words in TOO_LARGE {
            let error = of(failure(500, words).1);
            assert!(
                matches!(error, Error::Rejected { code: 500, .. }),
                "{words}"
            );
        }
    }

    #[test]
    fn retry_after_is_read_from_the_header_of_a_plain_answer() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "3".parse().unwrap());
        let error = answer(429, &headers, b"Too many requests, please try again later.");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn no_server_sends_us_away_for_ever() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, u64::MAX.to_string().parse().unwrap());
        let plain = answer(503, &headers, b"not now");
        assert_eq!(plain.retry_after(), Some(LONGEST_WAIT));
        let status = of(serde_json::json!({"code": 429, "message": "m",
            "details": {"retryAfterSeconds": u32::MAX >> 1}}));
        assert_eq!(status.retry_after(), Some(LONGEST_WAIT));
    }
}
