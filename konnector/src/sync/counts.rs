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

impl Counts {
    /// Whether more has changed since `old` than how many objects are in which state, which changes with
    /// each of them: what somebody has to know at once.
    pub(super) fn is_news_after(&self, old: &Self) -> bool {
        let news = |counts: &Self| {
            let none = [counts.objects == 0, counts.orphans == 0, counts.held == 0];
            (counts.listed, counts.suspended, none)
        };
        news(self) != news(old)
            || self.consumer_failing != old.consumer_failing
            || self.provider_failing != old.provider_failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_alone_are_no_news() {
        let old = Counts {
            objects: 5,
            synced: 5,
            listed: true,
            ..Counts::default()
        };
        let with = |change: fn(&mut Counts)| {
            let mut new = old.clone();
            change(&mut new);
            new.is_news_after(&old)
        };
        assert!(!with(|c| c.objects = 6));
        assert!(!with(|c| (c.synced, c.pending) = (4, 1)));
        assert!(with(|c| c.objects = 0));
        assert!(with(|c| c.orphans = 1));
        assert!(with(|c| c.held = 1));
        assert!(with(|c| c.suspended = true));
        assert!(with(|c| c.listed = false));
        assert!(with(|c| c.provider_failing = Some("away".into())));
    }
}
