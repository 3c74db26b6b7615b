//! What a client makes of what a server says: of some objects it can read the metadata alone, as if
//! their content were nested too deeply.

use serde_json::{Value, json};

use super::super::cluster::{Error, WatchEvent};

/// A colour, and the phase of a status, that make an object one of those.
pub(in super::super) const UNREADABLE: &str = "unreadable";

/// Whether a client cannot read this object.
pub(in super::super) fn is_unreadable(object: &Value) -> bool {
    object["spec"]["color"] == UNREADABLE || object["status"]["phase"] == UNREADABLE
}

/// An answer, as the client understands it.
pub(in super::super) fn answer(object: Value) -> Result<Value, Error> {
    if is_unreadable(&object) {
        Err(Error::Unreadable(Box::new(metadata(object))))
    } else {
        Ok(object)
    }
}

/// An event, as the client understands it.
pub(in super::super) fn event(event: WatchEvent) -> WatchEvent {
    match event {
        WatchEvent::Listed(object) | WatchEvent::Applied(object) if is_unreadable(&object) => {
            WatchEvent::Unreadable(metadata(object))
        }
        WatchEvent::Deleted(object) if is_unreadable(&object) => {
            WatchEvent::Deleted(metadata(object))
        }
        event => event,
    }
}

fn metadata(mut object: Value) -> Value {
    let mut metadata = object["metadata"].take();
    metadata
        .as_object_mut()
        .map(|all| all.remove("managedFields"));
    json!({"metadata": metadata})
}
