//! How the objects of one engine are doing, in numbers. No IO.

/// How the objects of one engine are doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Consumer objects, in whatever state.
    pub objects: usize,
    /// In sync.
    pub synced: usize,
    /// Being worked on, or waiting for a retry.
    pub pending: usize,
    /// Refused: by the provider's API server, by the consumer's that refuses the status, or with a name
    /// that cannot exist on the provider. Also what one side has failed at for a while.
    pub rejected: usize,
    /// A foreign object is in the way.
    pub conflict: usize,
    /// Waiting for a service namespace.
    pub waiting_namespace: usize,
    /// Provider copies whose consumer objects vanished or were deleted while nobody looked: deleted at
    /// once, or kept until a person decides, when too many vanished together.
    pub orphans: usize,
    /// Copies that are kept because too many objects vanished at once: part of the orphans, and those
    /// of objects that terminate only because their CRD does.
    pub held: usize,
    /// No write begins, because a person said so.
    pub suspended: bool,
    /// The first lists of both sides are complete.
    pub listed: bool,
    /// Why the consumer cannot be watched, or does not do what it is asked, at the moment.
    pub consumer_failing: Option<String>,
    /// Why the provider cannot be watched, or does not do what it is asked, at the moment.
    pub provider_failing: Option<String>,
}
