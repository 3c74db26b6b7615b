//! The two entries of one object, and the rule that they never go back in time. Pure.

use kube_bind_crds::digest::Digest;

use super::entry::{Consumer, Owner, Provider, Version};
use super::metrics::Side;
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
    /// What differed after a write all the same, and always will.
    pub(super) settled: Option<Box<Settled>>,
    /// The configuration that was applied last: what differs from it later is drift.
    pub(super) sent: Digest,
    /// The provider's status that was mirrored last: what differs from it later on the consumer was
    /// changed there.
    pub(super) mirrored: Digest,
    /// The link and the problem that were put on the consumer object last: what differs from them later
    /// was changed there.
    pub(super) marked: Digest,
    /// The configuration that the provider refused, and why.
    pub(super) refused: Option<Box<Refused>>,
    /// The status that the consumer refused, and why.
    pub(super) status_refused: Option<Box<Refused>>,
    /// What a server fails at for a long time, although it does other things.
    pub(super) failing: Option<Box<Problem>>,
}

/// What both sides had after a write, where it differed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Settled {
    /// Configuration and owned fields.
    pub(super) configuration: Option<(Digest, Digest)>,
    /// The two statuses.
    pub(super) status: Option<(Digest, Digest)>,
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

    /// The versions of what is known of both sides, presence or absence.
    pub(super) fn known(&self) -> [Version; 2] {
        let (consumer, provider) = (self.consumer.as_ref(), self.provider.as_ref());
        [
            consumer.map_or(self.consumer_gone, |known| known.version),
            provider.map_or(self.provider_gone, |known| known.version),
        ]
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

    /// The same for an object of a list, which may be older than what we know only if we learned that
    /// after the list was asked for.
    pub(super) fn is_listed_news_of_consumer(&self, seen: &Consumer, list: Asked) -> bool {
        let [known, _] = self.known();
        list.overrules(seen.version, known, self.consumer.as_ref() == Some(seen))
    }

    /// The same for a provider copy.
    pub(super) fn is_listed_news_of_provider(&self, seen: &Provider, list: Asked) -> bool {
        let [_, known] = self.known();
        list.overrules(seen.version, known, self.provider.as_ref() == Some(seen))
    }

    /// Files that the consumer object was gone at this version; `false` if we know a newer state.
    pub(super) fn lose_consumer(&mut self, at: Version) -> bool {
        lose(&mut self.consumer, &mut self.consumer_gone, at, |c| {
            c.version
        })
    }

    /// Files that the provider copy was gone at this version; `false` if we know a newer state.
    pub(super) fn lose_provider(&mut self, at: Version) -> bool {
        lose(&mut self.provider, &mut self.provider_gone, at, |p| {
            p.version
        })
    }

    /// Files that a list of this version does not name the consumer object.
    pub(super) fn miss_consumer(&mut self, at: Version, list: Asked) -> bool {
        let known = |consumer: &Consumer| consumer.version;
        list.miss(&mut self.consumer, &mut self.consumer_gone, at, known)
    }

    /// Files that a list of this version does not name the provider copy.
    pub(super) fn miss_provider(&mut self, at: Version, list: Asked) -> bool {
        let known = |provider: &Provider| provider.version;
        list.miss(&mut self.provider, &mut self.provider_gone, at, known)
    }

    /// Takes over what a job learned, side by side, where it is newer than what events told
    /// meanwhile; of a side that did not answer it, it knows only what it began with, and a list may have
    /// overruled that. What the job found gone was gone at the version of the entry it had. Of a side that has
    /// been listed since the job began, what is not newer than the question is not learned. Of a side
    /// that nothing was told of since the job `began`, the job knows best: after a restore from a backup
    /// what it was answered may be of an older version.
    pub(super) fn learn(
        &mut self,
        job: Self,
        lost: Lost,
        answered: [bool; 2],
        began: [Version; 2],
        listed: [Option<Asked>; 2],
    ) {
        let [consumer, provider] = listed;
        let known = self.known();
        let knows_best = |side: Side| known[side as usize] == began[side as usize];
        // Absence of what was never known has no version to compare.
        let knows_when = |gone: Version| gone != Version::default();
        match job.consumer {
            Some(_) if !answered[Side::Consumer as usize] => {}
            Some(seen) if consumer.is_some_and(|list| list.knew(seen.version)) => {}
            None if consumer.is_some() => {}
            Some(seen) if knows_best(Side::Consumer) => self.consumer = Some(seen),
            Some(seen) => {
                self.see_consumer(seen);
            }
            None if lost.consumer
                && (knows_best(Side::Consumer) || knows_when(job.consumer_gone)) =>
            {
                self.lose_consumer(job.consumer_gone);
            }
            None => {}
        }
        match job.provider {
            Some(_) if !answered[Side::Provider as usize] => {}
            Some(seen) if provider.is_some_and(|list| list.knew(seen.version)) => {}
            None if provider.is_some() => {}
            Some(seen) if knows_best(Side::Provider) => self.provider = Some(seen),
            Some(seen) => {
                self.see_provider(seen);
            }
            None if lost.provider
                && (knows_best(Side::Provider) || knows_when(job.provider_gone)) =>
            {
                self.lose_provider(job.provider_gone);
            }
            None => {}
        }
        self.settled = job.settled;
        self.sent = job.sent;
        self.mirrored = job.mirrored;
        self.marked = job.marked;
        self.refused = job.refused;
        self.status_refused = job.status_refused;
    }

    /// What differed after a write that is known of.
    pub(super) fn settled(&self) -> Settled {
        self.settled.as_deref().copied().unwrap_or_default()
    }

    /// Remembers it; few objects have any.
    pub(super) fn settle(&mut self, settled: Settled) {
        if settled != self.settled() {
            let any = settled != Settled::default();
            self.settled = any.then(|| Box::new(settled));
        }
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

/// What was known when a list was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) known: Version,
}

impl Asked {
    fn knew(self, version: Version) -> bool {
        version != Version::default() && version <= self.known
    }

    /// Whether an object of this version in the list counts more than what is known. Known before the
    /// list was asked for and yet newer than the list: the server went back in time.
    /// A restored server gives the same version once more, to another state.
    fn overrules(self, seen: Version, known: Version, same: bool) -> bool {
        is_newer(seen, known) || (!same && self.knew(known))
    }

    fn miss<T>(
        self,
        known: &mut Option<T>,
        gone: &mut Version,
        at: Version,
        version: impl Fn(&T) -> Version,
    ) -> bool {
        if known
            .as_ref()
            .is_some_and(|known| self.knew(version(known)))
        {
            *known = None;
            *gone = at;
            return true;
        }
        // What will come may have a lower version than what went, on a server that went back.
        if self.knew(*gone) {
            *gone = at;
        }
        lose(known, gone, at, version)
    }
}

fn lose<T>(
    known: &mut Option<T>,
    gone: &mut Version,
    at: Version,
    version: impl Fn(&T) -> Version,
) -> bool {
    match known {
        Some(known) if version(known) > at && at != Version::default() => false,
        Some(last) => {
            // An absence from before it was there says nothing any more: if the server was restored since,
            // it even has a higher version.
            *gone = version(last).max(at);
            *known = None;
            true
        }
        None => {
            *gone = (*gone).max(at);
            false
        }
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
            uid: Uid::from(1),
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

    /// Events have told of both sides since the job began.
    const NEWS: [Version; 2] = [Version(u64::MAX); 2];

    #[test]
    fn what_a_job_was_answered_counts_unless_something_was_told_meanwhile() {
        let mut pair = Pair::default();
        pair.see_consumer(consumer(9));
        pair.lose_consumer(Version(10));
        let began = pair.known();
        let job = Pair {
            consumer: Some(consumer(4)),
            ..Pair::default()
        };
        let mut told = pair.clone();
        told.lose_consumer(Version(11));
        told.learn(job.clone(), Lost::default(), [true; 2], began, [None, None]);
        assert!(told.consumer.is_none());
        pair.learn(job, Lost::default(), [true; 2], began, [None, None]);
        assert!(pair.consumer.is_some(), "the server was restored");
    }

    #[test]
    fn what_a_job_knew_from_the_start_is_no_answer() {
        let mut pair = Pair::default();
        pair.see_consumer(consumer(9));
        let (job, began) = (pair.clone(), pair.known());
        // A list of a restored server came meanwhile.
        pair.consumer = Some(consumer(4));
        pair.learn(job, Lost::default(), [false; 2], began, [None, None]);
        assert_eq!(pair.consumer, Some(consumer(4)));
    }

    #[test]
    fn what_came_while_a_job_found_nothing_stays() {
        let mut pair = Pair::default();
        let began = pair.known();
        let lost = Lost {
            consumer: true,
            provider: true,
        };
        pair.see_consumer(consumer(13));
        pair.learn(Pair::default(), lost, [true; 2], began, [None, None]);
        assert!(pair.consumer.is_some());
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
    fn an_absence_from_before_a_restore_does_not_hide_what_comes() {
        let mut pair = Pair::default();
        pair.see_consumer(consumer(15));
        pair.lose_consumer(Version(16));
        pair.consumer = Some(consumer(5));
        assert!(pair.lose_consumer(Version(8)));
        assert!(pair.see_consumer(consumer(9)));
    }

    #[test]
    fn a_job_does_not_bring_back_what_was_deleted_meanwhile() {
        let mut pair = Pair::default();
        pair.see_consumer(consumer(5));
        let mut job = pair.clone();
        job.see_consumer(consumer(6));
        pair.lose_consumer(Version(7));
        pair.learn(job, Lost::default(), [true; 2], NEWS, [None, None]);
        assert!(pair.consumer.is_none());
    }

    #[test]
    fn a_list_overrules_what_was_known_when_it_was_asked_for() {
        let list = Asked { known: Version(9) };
        let mut pair = Pair::default();
        pair.see_consumer(consumer(9));
        let changed = Consumer {
            configuration: Digest(1),
            ..consumer(9)
        };
        assert!(
            !pair.is_listed_news_of_consumer(&consumer(9), list),
            "the same"
        );
        assert!(
            pair.is_listed_news_of_consumer(&changed, list),
            "another state, on a restored server"
        );
        assert!(
            pair.is_listed_news_of_consumer(&consumer(4), list),
            "restored"
        );
        assert!(!pair.is_listed_news_of_consumer(&consumer(4), Asked { known: Version(8) }));
        // Gone from a restored server, and made anew there before its versions have caught up.
        assert!(pair.miss_consumer(Version(5), list));
        assert!(pair.see_consumer(consumer(6)));
        // Our own write after the question is not in the list.
        pair.see_consumer(consumer(12));
        assert!(!pair.miss_consumer(Version(10), list));
    }

    #[test]
    fn a_job_that_began_before_a_list_does_not_bring_back_what_was_restored_away() {
        let list = Some(Asked { known: Version(9) });
        let mut pair = Pair::default();
        pair.see_consumer(consumer(4));
        let mut job = pair.clone();
        job.see_consumer(consumer(9));
        pair.learn(job.clone(), Lost::default(), [true; 2], NEWS, [list, None]);
        assert_eq!(pair.consumer.as_ref().map(|c| c.version), Some(Version(4)));
        job.see_consumer(consumer(10));
        pair.learn(job, Lost::default(), [true; 2], NEWS, [list, None]);
        assert_eq!(pair.consumer.as_ref().map(|c| c.version), Some(Version(10)));
    }

    #[test]
    fn a_job_that_never_saw_a_side_knows_nothing_about_it() {
        let mut pair = Pair::default();
        let job = pair.clone();
        pair.see_consumer(consumer(5));
        pair.learn(job, Lost::default(), [true; 2], NEWS, [None, None]);
        assert!(pair.consumer.is_some());
    }
}
