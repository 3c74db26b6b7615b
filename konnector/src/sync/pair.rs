//! The two entries of one object, and the rule that they never go back in time. Pure.

use kube_bind_crds::digest::Digest;

use super::entry::{Consumer, Owner, Provider, Version};
use super::ports::Problem;

/// What is known of one object on both sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pair {
    pub(super) consumer: Option<Consumer>,
    pub(super) provider: Option<Provider>,
    /// Up to which version the consumer object is known to be gone, if it is.
    pub(super) consumer_gone: Version,
    /// The same of the provider copy.
    pub(super) provider_gone: Version,
    /// Configuration and owned fields that still differed after an apply, and always will.
    pub(super) settled: Option<(Digest, Digest)>,
    /// The same of the two statuses.
    pub(super) status_settled: Option<(Digest, Digest)>,
    /// The configuration that was applied last: what differs from it later is drift.
    pub(super) sent: Digest,
    /// The provider's status that was mirrored last: what differs from it later on the consumer was
    /// changed there.
    pub(super) mirrored: Digest,
    /// The configuration that the provider refused, and why.
    pub(super) refused: Option<Box<Refused>>,
    /// The status that the consumer refused, and why.
    pub(super) status_refused: Option<Box<Refused>>,
    /// What a server fails at for a long time, although it does other things.
    pub(super) failing: Option<Box<Problem>>,
}

/// Which sides a job found gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) consumer: bool,
    pub(super) provider: bool,
}

/// A configuration or a status that was refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    /// Digest of what was refused.
    pub(super) configuration: Digest,
    pub(super) problem: Problem,
}

impl Pair {
    /// Files a state of the consumer object; `false` if we know a newer one.
    pub(super) fn see_consumer(&mut self, seen: Consumer) -> bool {
        let news = self.is_news_of_consumer(seen.version);
        if news {
            self.consumer = Some(seen);
        }
        news
    }

    /// Files a state of the provider copy; `false` if we know a newer one.
    pub(super) fn see_provider(&mut self, seen: Provider) -> bool {
        let news = self.is_news_of_provider(seen.version);
        if news {
            self.provider = Some(seen);
        }
        news
    }

    /// Whether a state of the consumer object with this version would tell something new.
    pub(super) fn is_news_of_consumer(&self, version: Version) -> bool {
        let known = self.consumer.as_ref();
        is_newer(
            version,
            known.map_or(self.consumer_gone, |known| known.version),
        )
    }

    /// Whether a state of the provider copy with this version would tell something new.
    pub(super) fn is_news_of_provider(&self, version: Version) -> bool {
        let known = self.provider.as_ref();
        is_newer(
            version,
            known.map_or(self.provider_gone, |known| known.version),
        )
    }

    /// Files that the consumer object was gone at this version; `false` if we know a newer state.
    pub(super) fn lose_consumer(&mut self, at: Version) -> bool {
        self.consumer_gone = self.consumer_gone.max(at);
        match &self.consumer {
            Some(known) if known.version > at && at != Version::default() => false,
            known => {
                let changed = known.is_some();
                self.consumer = None;
                changed
            }
        }
    }

    /// Files that the provider copy was gone at this version; `false` if we know a newer state.
    pub(super) fn lose_provider(&mut self, at: Version) -> bool {
        self.provider_gone = self.provider_gone.max(at);
        match &self.provider {
            Some(known) if known.version > at && at != Version::default() => false,
            known => {
                let changed = known.is_some();
                self.provider = None;
                changed
            }
        }
    }

    /// Takes over what a job learned, side by side, where it is newer than what events told
    /// meanwhile. What the job found gone was gone at the version of the entry it had.
    pub(super) fn learn(&mut self, job: Self, lost: Lost) {
        match job.consumer {
            Some(seen) => {
                self.see_consumer(seen);
            }
            None if lost.consumer => {
                self.lose_consumer(job.consumer_gone);
            }
            None => {}
        }
        match job.provider {
            Some(seen) => {
                self.see_provider(seen);
            }
            None if lost.provider => {
                self.lose_provider(job.provider_gone);
            }
            None => {}
        }
        self.settled = job.settled;
        self.status_settled = job.status_settled;
        self.sent = job.sent;
        self.mirrored = job.mirrored;
        self.refused = job.refused;
        self.status_refused = job.status_refused;
    }

    /// The copy, if it was made for this very consumer object.
    pub(super) fn owned_copy(&self) -> Option<&Provider> {
        let uid = &self.consumer.as_ref()?.uid;
        let copy = self.provider.as_ref()?;
        matches!(&copy.owner, Owner::Ours(owner) if owner == uid).then_some(copy)
    }

    /// Nothing is known but absence.
    pub(super) fn is_empty(&self) -> bool {
        self.consumer.is_none() && self.provider.is_none()
    }
}

/// Versions of 0 are not comparable: then the last word counts.
fn is_newer(seen: Version, known: Version) -> bool {
    seen > known || seen == Version::default()
}

#[cfg(test)]
mod tests {
    use super::super::entry::Uid;
    use super::*;

    fn consumer(version: u64) -> Consumer {
        Consumer {
            uid: Uid::Uuid(1),
            version: Version(version),
            configuration: Digest(0),
            status: Digest(0),
            terminating: false,
            finalizer: false,
            other_finalizers: Box::default(),
            link: Digest(0),
            problem: Digest(0),
        }
    }

    #[test]
    fn an_entry_never_goes_back_in_time() {
        let mut pair = Pair::default();
        assert!(pair.see_consumer(consumer(5)));
        assert!(!pair.see_consumer(consumer(4)));
        assert!(!pair.lose_consumer(Version(4)));
        assert!(pair.lose_consumer(Version(6)));
        assert!(
            !pair.see_consumer(consumer(5)),
            "an event from before the deletion"
        );
        assert!(pair.see_consumer(consumer(7)), "created anew");
    }

    #[test]
    fn a_job_does_not_bring_back_what_was_deleted_meanwhile() {
        let mut pair = Pair::default();
        pair.see_consumer(consumer(5));
        let mut job = pair.clone();
        job.see_consumer(consumer(6));
        pair.lose_consumer(Version(7));
        pair.learn(job, Lost::default());
        assert!(pair.consumer.is_none());
    }

    #[test]
    fn a_job_that_never_saw_a_side_knows_nothing_about_it() {
        let mut pair = Pair::default();
        let job = pair.clone();
        pair.see_consumer(consumer(5));
        pair.learn(job, Lost::default());
        assert!(pair.consumer.is_some());
    }
}
