//! What a failed request means to a person. No IO.

use kube::Error;
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

/// The object as it was sent is refused, and will be refused again.
pub fn is_invalid(error: &Error) -> bool {
    matches!(code(error), Some(400 | 422))
}
