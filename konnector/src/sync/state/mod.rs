//! Everything that one engine knows, and what follows from each event. No IO: the shell in
//! `engine` feeds it and runs the jobs that it gives out.

mod events;
mod fate;
mod jobs;
mod look;
mod measured;
mod postponed;
mod stalled;

use std::collections::HashSet;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use super::bodies::Bodies;
use super::breaker::Member;
use super::class::{Class, Tally};
use super::cluster::{Error, Key, WatchScope};
use super::config::{EngineConfig, Ports};
use super::counts::Counts;
use super::drift::Fight;
use super::entry::Uid;
use super::form::Form;
use super::mapping::Mapping;
use super::maps::{Map, Set};
use super::metrics::Side;
use super::pair::{Asked, Pair};
use super::plan::Target;
use super::ports::{Definition, ProblemSink, ReferrerSink};
use super::purpose::Control;
use super::queue::{Priority, Queue};
use fate::Causes;
#[cfg(test)]
pub(super) use look::STRANGERS;
use measured::Measured;
use postponed::Postponed;
use stalled::Stalled;

#[derive(Default)]
struct Slot {
    pair: Pair,
    class: Class,
    /// In which list each side was seen last.
    seen: [u32; 2],
    refusals: u8,
    /// Counted among the strangers.
    stranger: bool,
    /// The creation or take-over of its copy was not answered: it may be there, or come yet.
    unsure: bool,
    /// A job found the consumer object gone. Why it is gone, and with how many others, is not known before
    /// an event or a list tells it.
    untold: bool,
    retry_at: Option<Instant>,
    /// Number of the beginning of its end, to ask with why it terminates; 0 if it was not seen to.
    dying: u32,
    /// Uid of the consumer object of this name whose deletion was seen last.
    deleted: Option<Box<Uid>>,
}

impl Slot {
    /// Numbers the beginning of the end of its consumer object, of which an event may have told or the
    /// answer to a request. `before` is the object that was known until now.
    fn number_end(&mut self, before: Option<&Uid>, causes: &mut Causes) {
        match &self.pair.consumer {
            Some(known) if !known.terminating => self.dying = 0,
            Some(known) if self.dying == 0 || before != Some(&known.uid) => {
                self.dying = causes.next();
            }
            _ => {}
        }
    }
}

/// Progress of one watch.
#[derive(Default)]
struct Listing {
    epoch: u32,
    /// What was known when the latest list was asked for.
    asked: Asked,
    /// A list has been completed.
    complete: bool,
    /// A list is under way, and may still tell of objects that are gone by now.
    under_way: bool,
    /// Why it does not watch at the moment.
    failing: Option<Error>,
}

pub(super) struct State {
    form: Arc<Form>,
    mapping: Mapping,
    /// Boxed, because a map has up to twice as many places as objects, and thrice when it grows.
    slots: Map<Arc<Key>, Box<Slot>>,
    queue: Queue<Arc<Key>, String>,
    busy: HashSet<Arc<Key>>,
    postponed: Postponed,
    bodies: Bodies,
    /// Number of the latest list of any watch, so that no two lists share one.
    epoch: u32,
    consumer_listing: Listing,
    provider_listings: Map<WatchScope, Listing>,
    /// The service namespaces that were known last.
    namespaces: Set<String>,
    /// One of them went: what one watch of all of them told about it since was understood by nobody.
    deaf: bool,
    /// Objects without a service namespace, and since when.
    waiting: Map<Key, Instant>,
    /// How many objects of others are known on the provider that are in nobody's way.
    strangers: usize,
    /// Objects of which somebody else changes what we write.
    fights: Map<Arc<Key>, Fight>,
    /// By side; tried again when it is back.
    stalled: [Stalled; 2],
    breaker: Member,
    /// Whose copies are being deleted, and counted by the breaker.
    doomed: Set<Arc<Key>>,
    control: Control,
    /// No write may begin, and when to ask again whether one may.
    barred: Option<Instant>,
    definition: Arc<dyn Definition>,
    causes: Causes,
    measured: Measured,
    tally: Tally,
    /// All first lists were complete once. A namespace that is mapped later does not change that.
    listed: bool,
    problems: Arc<dyn ProblemSink>,
    referrers: Option<Arc<dyn ReferrerSink>>,
    api_version: String,
    kind: String,
    random: SmallRng,
}

impl State {
    pub(super) fn new(config: &EngineConfig, ports: &Ports, form: Arc<Form>, now: Instant) -> Self {
        Self {
            form,
            mapping: Mapping::new(config, Arc::clone(&ports.namespaces)),
            slots: Map::default(),
            queue: Queue::new(|key: &Arc<Key>| key.namespace.clone()),
            busy: HashSet::new(),
            postponed: Postponed::default(),
            bodies: Bodies::default(),
            epoch: 0,
            consumer_listing: Listing::default(),
            provider_listings: Map::default(),
            namespaces: Set::default(),
            deaf: false,
            waiting: Map::default(),
            strangers: 0,
            fights: Map::default(),
            stalled: Default::default(),
            breaker: ports.breaker.join(now),
            doomed: Set::default(),
            control: Control::default(),
            barred: None,
            definition: Arc::clone(&ports.definition),
            causes: Causes::default(),
            measured: Measured::new(Arc::clone(&ports.metrics)),
            tally: Tally::default(),
            listed: false,
            problems: Arc::clone(&ports.problems),
            referrers: ports.referrers.clone(),
            api_version: config.resource.api_version(),
            kind: config.resource.kind.clone(),
            random: SmallRng::seed_from_u64(config.seed),
        }
    }

    /// The provider watches that should run now: those that are new, and those that should end. One
    /// that is both begins anew, because something was missed in it. Objects that waited for a namespace
    /// are looked at again, and copies whose objects went while they had none; for those that still wait it
    /// is asked for again.
    pub(super) fn rescope(&mut self, now: Instant) -> (Vec<WatchScope>, Vec<WatchScope>) {
        let wanted: Set<WatchScope> = self.mapping.provider_scopes().into_iter().collect();
        let ended: Vec<_> = self
            .provider_listings
            .keys()
            .filter(|scope| !wanted.contains(*scope))
            .cloned()
            .collect();
        for scope in &ended {
            self.provider_listings.remove(scope);
        }
        let mut fresh: Vec<_> = wanted
            .into_iter()
            .filter(|scope| !self.provider_listings.contains_key(scope))
            .collect();
        for scope in &fresh {
            self.provider_listings
                .insert(scope.clone(), Listing::default());
        }
        let known = self.namespaces.clone();
        let displaced = self.displaced();
        let mut ended = ended;
        if self.deaf && !self.namespaces.is_subset(&known) {
            self.deaf = false;
            let all = WatchScope::All;
            self.provider_listings
                .insert(all.clone(), Listing::default());
            ended.push(all.clone());
            fresh.push(all);
        }
        if !self.control.suspended {
            // What was asked for may be lost, and only we know that somebody waits for it still.
            for key in self.waiting.keys() {
                if self.mapping.to_provider(key) == Target::Waiting {
                    self.mapping.request(key);
                }
            }
        }
        let placed = |key: &&Key| self.mapping.to_provider(key) != Target::Waiting;
        let orphans = self.slots.iter();
        let orphans = orphans.filter(|(_, slot)| slot.pair.consumer.is_none());
        let waiting = self.waiting.keys().chain(orphans.map(|(key, _)| &**key));
        let waiting: Vec<Key> = waiting.filter(placed).cloned().collect();
        for key in waiting {
            self.touch(&key, Priority::Change, now);
        }
        for key in displaced {
            self.touch(&key, Priority::Backlog, now);
        }
        // There may be nothing to list: no mapping at all.
        self.judge_listed(now);
        (fresh, ended)
    }

    /// The objects that had a place on the provider and have none any more, if a service namespace went.
    fn displaced(&mut self) -> Vec<Key> {
        let namespaces = self.mapping.provider_namespaces();
        let known = std::mem::replace(&mut self.namespaces, namespaces);
        if known.is_subset(&self.namespaces) {
            return Vec::new();
        }
        self.deaf |= self.provider_listings.contains_key(&WatchScope::All);
        let keys = self.slots.keys().map(Arc::as_ref);
        keys.filter(|key| !self.waiting.contains_key(*key))
            .filter(|key| self.mapping.to_provider(key) == Target::Waiting)
            .cloned()
            .collect()
    }

    /// The one key that all books share: the text of a hundred thousand names is kept once.
    pub(super) fn shared(&self, key: &Key) -> Arc<Key> {
        let known = self.slots.get_key_value(key);
        known.map_or_else(|| Arc::new(key.clone()), |(key, _)| Arc::clone(key))
    }

    /// Consumer events should wait, because there is enough to do and to hold.
    pub(super) fn is_full(&self) -> bool {
        self.bodies.is_full()
            && !self.control.suspended
            && (self.queue.len() > 0 || !self.busy.is_empty())
    }

    /// When something becomes due by time alone. Work does not while there is no room for it: the
    /// loop would only turn.
    pub(super) fn next_due(&mut self, has_room: bool, now: Instant) -> Option<Instant> {
        let breaker = self.breaker.next_due(now);
        let question = self.causes.next_due();
        let works = has_room && !self.control.suspended;
        let work = match self.barred {
            Some(at) => (self.queue.len() > 0 || self.queue.next_due().is_some()).then_some(at),
            None => self.queue.next_due(),
        };
        let work = work.filter(|_| works);
        [breaker, question, work].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        self.breaker.tick(now);
    }

    pub(super) fn counts(&self) -> Counts {
        let provider = self.provider_listings.values();
        let failing = |watch: Option<&Error>, side: Side| {
            watch
                .or(self.stalled[side as usize].why())
                .map(ToString::to_string)
        };
        Counts {
            listed: self.listed,
            suspended: self.control.suspended,
            consumer_failing: failing(self.consumer_listing.failing.as_ref(), Side::Consumer),
            provider_failing: failing(
                provider.filter_map(|watch| watch.failing.as_ref()).next(),
                Side::Provider,
            ),
            ..self.tally.counts(self.breaker.is_tripped())
        }
    }

    /// After a list: whether those that matter are complete, and what no list can bring back.
    fn list_ended(&mut self, now: Instant) {
        self.judge_listed(now);
        if !self.is_listing() {
            let (busy, queue, strangers) = (&self.busy, &mut self.queue, &mut self.strangers);
            self.slots.retain(|key, slot| {
                let keep = !slot.pair.is_empty() || busy.contains(key);
                if !keep {
                    *strangers -= usize::from(slot.stranger);
                    queue.forget(key);
                }
                keep
            });
        }
    }

    fn judge_listed(&mut self, now: Instant) {
        let mut watches = self.provider_listings.values();
        self.listed |= self.consumer_listing.complete
            && self.mapping.has_all_scopes()
            && watches.all(|watch| watch.complete);
        self.file_share(now);
    }

    fn is_listing(&self) -> bool {
        let mut watches = self.provider_listings.values();
        self.consumer_listing.under_way || watches.any(|watch| watch.under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_takes_little_memory() {
        // A hundred thousand of them in 50 MiB: the slot, the key with its two texts and its counts,
        // and the places in the map and in the queue, of which up to half are empty.
        let text = 2 * 32;
        let key = size_of::<Key>() + 2 * size_of::<usize>() + text;
        let place = size_of::<(Arc<Key>, Box<Slot>)>() + size_of::<(Arc<Key>, u64)>() + 8;
        let size = size_of::<Slot>() + key + 2 * place;
        assert!(size <= 510, "{size}");
    }
}
