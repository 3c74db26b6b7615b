//! What a person may change while an engine runs, and what becomes of copies. No IO.

/// The state of the switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    /// The binding ends and its objects with it: whatever is deleted is meant to be.
    pub(super) unbinding: bool,
    /// No write begins.
    pub(super) suspended: bool,
    /// Counts how often rights were granted.
    pub(super) wakes: u64,
}

/// Why the copy of an object would be deleted, and with that whether it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// It would not, or nobody knows yet: nothing is deleted.
    #[default]
    Unknown,
    /// A person deleted the object or ends the binding.
    Meant,
    /// The object vanished, or goes only because its CRD does: the breaker decides.
    Vanished,
}
