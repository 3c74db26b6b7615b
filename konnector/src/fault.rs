//! What a failed request means to a person. No IO.

use kube::Error;
use kube::core::Status;
use kube::core::response::StatusDetails;
use kube::runtime::watcher;
use kube_bind_runtime::text;

/// One line without repetition: kube's errors print their source in their own text.
pub fn describe(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(next) = source {
                let next_text = next.to_string();
                if !text.contains(&next_text) {
                    text = format!("{text}: {next_text}");
                }
                source = next.source();
            }
            text
        }
    }
}

/// The same for a watch.
pub fn describe_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => describe(source),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// HTTP status that the API server answered a watch with.
pub fn code_of_watch(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => code(source),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::NoResourceVersion => None,
    }
}

/// What servers say, cut to what fits into annotations, conditions and log lines.
pub fn shorten(words: &str) -> String {
    const LONGEST: usize = 700;
    text::shorten(words, LONGEST).into_owned()
}

/// HTTP status that the API server answered with.
pub fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The credential is not accepted any more.
pub fn is_unauthorized(error: &Error) -> bool {
    code(error) == Some(401)
}

/// The object is not what it was when it was read: look again.
pub fn is_stale(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409
    || (status.code == 422 && status.details.as_ref().is_some_and(|details| {
        details.causes.iter().any(|cause| {
            cause.field == "metadata.uid" || cause.field == "metadata.resourceVersion"
        })
    })))
}

/// Somebody who looked at the object does not accept it: the schema, a limit, or admission. Another
/// object, or other rules of admission, may be accepted.
pub fn is_refused(error: &Error) -> bool {
    match error {
        Error::Api(status) => {
            matches!(status.code, 400 | 413 | 422)
                || is_denied_by_admission(status)
                || is_too_large(status)
        }
        _ => false,
    }
}

/// The object does not fit into the database. The API server takes requests of twice the size, and hands
/// on what the database, or the client of it, then says.
pub fn is_too_large(status: &Status) -> bool {
    let says = |words: &str| status.message.contains(words);
    status.code == 500
        && (says("etcdserver: request is too large")
            || says("trying to send message larger than max"))
}

/// A 403 because a right is missing. Admission denies with the same code, but it speaks of what it denies,
/// in front of anybody's words, and not of who cannot.
pub fn lacks_right(status: &Status) -> bool {
    if status.code != 403 {
        return false;
    }
    let Some((what, who)) = status.message.split_once("forbidden: User \"") else {
        return false;
    };
    let is_named = what.is_empty() || what.ends_with(" is ");
    is_named && !what.contains(": ") && who.contains("\" cannot ")
}

/// A 403 because the namespace is being deleted, where nothing can be made.
pub fn is_namespace_going(status: &Status) -> bool {
    let is_going = |details: &StatusDetails| {
        let mut causes = details.causes.iter();
        causes.any(|cause| cause.reason == "NamespaceTerminating")
    };
    status.code == 403 && status.details.as_ref().is_some_and(is_going)
}

fn is_denied_by_admission(status: &Status) -> bool {
    status.code == 403 && !lacks_right(status) && !is_namespace_going(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{TOO_LARGE, WEBHOOK_DENIES, failure, lacks};

    fn of(answer: (u16, serde_json::Value)) -> Status {
        serde_json::from_value(answer.1).unwrap()
    }

    fn refused(status: Status) -> bool {
        is_refused(&Error::Api(Box::new(status)))
    }

    #[test]
    fn admission_speaks_of_what_it_denies_and_the_authorizer_of_who_cannot() {
        for words in [
            "widgets.example.io \"a\" is forbidden: User \"system:serviceaccount:x:y\" cannot patch \
             resource \"widgets\" in API group \"example.io\" in the namespace \"team\"",
            "secrets is forbidden: User \"u\" cannot list resource \"secrets\" in API group \"\"",
            "forbidden: User \"u\" cannot get path \"/\"",
        ] {
            let status = of(failure(403, words));
            assert!(lacks_right(&status) && !refused(status), "{words}");
        }
        for words in [
            WEBHOOK_DENIES,
            "admission webhook \"w\" denied the request: this is forbidden: User \"u\" cannot do it",
            "secrets \"a\" is forbidden: exceeded quota: q, requested: secrets=1, used: 1, limited: 1",
            "widgets.example.io \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' \
             denied request: is forbidden: User \"u\" cannot do it",
        ] {
            let status = of(failure(403, words));
            assert!(!lacks_right(&status) && refused(status), "{words}");
        }
        assert!(!refused(of(lacks("patch", "widgets"))));
    }

    #[test]
    fn what_does_not_fit_into_the_database_is_refused_and_the_database_is_well() {
        for words in TOO_LARGE {
            assert!(refused(of(failure(500, words))), "{words}");
        }
        assert!(!refused(of(failure(500, "etcdserver: request timed out"))));
    }

    #[test]
    fn a_namespace_that_goes_is_neither_a_missing_right_nor_a_refusal() {
        let (code, mut status) = failure(
            403,
            "secrets \"a\" is forbidden: because it is being terminated",
        );
        status["details"] = serde_json::json!({"causes": [{"reason": "NamespaceTerminating"}]});
        let status = of((code, status));
        assert!(is_namespace_going(&status) && !lacks_right(&status));
        assert!(!refused(status));
    }
}
