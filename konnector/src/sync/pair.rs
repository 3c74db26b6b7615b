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

    /// Takes over what a job learned, side by side. `began` is what was known when it began, `listed` the
    /// lists that have told of the object since.
    pub(super) fn learn(
        &mut self,
        job: Self,
        lost: Lost,
        answered: [bool; 2],
        began: [Version; 2],
        listed: [Option<Asked>; 2],
    ) {
        let known = self.known();
        let word = |side: Side, lost: bool| Word {
            lost,
            answered: answered[side as usize],
            knows_best: known[side as usize] == began[side as usize],
            list: listed[side as usize],
        };
        word(Side::Consumer, lost.consumer).learn(
            (&mut self.consumer, &mut self.consumer_gone),
            (job.consumer, job.consumer_gone),
            |consumer| consumer.version,
        );
        word(Side::Provider, lost.provider).learn(
            (&mut self.provider, &mut self.provider_gone),
            (job.provider, job.provider_gone),
            |provider| provider.version,
        );
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

/// What a job's word about one side is worth.
struct Word {
    /// It found that the object is gone.
    lost: bool,
    /// The side did what it was asked.
    answered: bool,
    /// Nothing was told of the side since the job began. After a restore from a backup what it was answered
    /// may be of an older version.
    knows_best: bool,
    /// The list that has told of the object since.
    list: Option<Asked>,
}

impl Word {
    /// Takes over what a job says of one side, where it is newer than what was told meanwhile.
    fn learn<T>(
        &self,
        (known, gone): (&mut Option<T>, &mut Version),
        (seen, seen_gone): (Option<T>, Version),
        version: impl Fn(&T) -> Version,
    ) {
        match seen {
            // It is what the job began with, and a list may have overruled that.
            Some(_) if !self.answered => {}
            // What is not newer than the question of the list is not learned.
            Some(seen) if self.list.is_some_and(|list| list.knew(version(&seen))) => {}
            Some(seen) if self.knows_best => *known = Some(seen),
            Some(seen) => {
                see(known, *gone, seen, version);
            }
            // What it found gone was gone at the version of the entry it had; absence of what was never
            // known has no version to compare.
            None if self.lost
                && self.list.is_none()
                && (self.knows_best || seen_gone != Version::default()) =>
            {
                lose(known, gone, seen_gone, version);
            }
            None => {}
        }
    }
}

/// Files a state; `false` if we know a newer one.
fn see<T>(known: &mut Option<T>, gone: Version, seen: T, version: impl Fn(&T) -> Version) -> bool {
    let news = is_newer(version(&seen), known.as_ref().map_or(gone, version));
    if news {
        *known = Some(seen);
    }
    news
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
mod tests;
