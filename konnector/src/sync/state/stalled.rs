//! The objects whose last request a side did not carry out for reasons of its own. Pure.

use std::mem::discriminant;

use super::super::cluster::{Error, Key};
use super::super::maps::Set;

/// The objects that wait for one side.
#[derive(Default)]
pub(in super::super) struct Stalled {
    keys: Set<Key>,
    /// Why, once that has lasted; the first words of one sort stay, so that nothing flaps.
    why: Option<Error>,
}

impl Stalled {
    /// A request failed; `lasting` says whether it is more than a hiccup.
    pub(super) fn add(&mut self, key: &Key, error: &Error, lasting: bool) {
        self.keys.insert(key.clone());
        if lasting {
            keep_first(&mut self.why, error);
        }
    }

    /// This object does not wait any more.
    pub(super) fn remove(&mut self, key: &Key) {
        self.keys.remove(key);
        if self.keys.is_empty() {
            self.why = None;
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    pub(super) fn why(&self) -> Option<&Error> {
        self.why.as_ref()
    }
}

/// Takes over an error unless one of its sort is known.
pub(super) fn keep_first(known: &mut Option<Error>, error: &Error) {
    if known.as_ref().map(discriminant) != Some(discriminant(error)) {
        *known = Some(error.clone());
    }
}
