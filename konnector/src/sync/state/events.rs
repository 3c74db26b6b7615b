//! Filing what the two sides tell.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::super::cluster::{Key, WatchEvent, WatchScope};
use super::super::entry::Version;
use super::super::form;
use super::super::metrics::Side;
use super::super::pair::{Asked, Pair};
use super::super::queue::Priority;
use super::stalled::keep_first;
use super::{Listing, State};

impl State {
    pub(in super::super) fn on_consumer(&mut self, event: WatchEvent, now: Instant) {
        if self.consumer_listing.hear(&event) {
            self.side_is_back(Side::Consumer, now);
        }
        match event {
            WatchEvent::ListBegin { known } => {
                self.file_all_postponed(now);
                self.epoch += 1;
                self.consumer_listing.epoch = self.epoch;
                self.consumer_listing.asked.known = Version::parse(&known);
            }
            WatchEvent::Listed(body) => {
                let asked = self.consumer_listing.asked;
                self.file_consumer(Told::Whole(body), Some(asked), now);
            }
            WatchEvent::Applied(body) => self.hear_consumer(body, now),
            WatchEvent::Deleted(body) => {
                let key = form::key_of(&body);
                // Whoever follows references is told by the stream alone: the pair may have learned
                // of the deletion before, from the answer to our own release.
                self.observe_referrer(&key, None);
                self.postponed.forget_consumer(&key);
                let Some(slot) = self.slots.get_mut(&key) else {
                    return;
                };
                // Even if the pair knew already that it is gone: now it is known that it was deleted.
                // Somebody may take all finalizers off while the CRD goes.
                let going = slot.dying > 0 && self.definition.was_seen_terminating();
                if self.causes.is_meant(slot.dying, self.listed) && !going {
                    slot.deleted = Some(Box::new(form::uid_of(&body)));
                }
                slot.untold = false;
                slot.pair.lose_consumer(form::version_of(&body));
                self.touch(&key, Priority::Change, now);
            }
            WatchEvent::ListEnd { resource_version } => {
                self.end_consumer_list(Version::parse(&resource_version), now);
            }
            WatchEvent::Unreadable(metadata) => {
                let list = self.consumer_listing.under_way();
                self.file_consumer(Told::Metadata(metadata), list, now);
            }
            WatchEvent::Watching | WatchEvent::Bookmark { .. } | WatchEvent::Failing(_) => {}
        }
    }

    /// Files an object that was changed, or that is named in a list, as it is told.
    pub(super) fn file_consumer(&mut self, told: Told, list: Option<Asked>, now: Instant) {
        let key = form::key_of(told.body());
        if key.name.is_empty() {
            return;
        }
        // What one refers to that cannot be read stays what it was.
        if let Told::Whole(body) = &told {
            self.observe_referrer(&key, Some(body));
        }
        self.postponed.forget_consumer(&key);
        self.learn_consumer(&key, told, list, now);
    }

    /// The same, which may have been told before.
    pub(super) fn learn_consumer(
        &mut self,
        key: &Key,
        told: Told,
        list: Option<Asked>,
        now: Instant,
    ) {
        let priority = urgency(list);
        let body = told.body();
        let epoch = self.consumer_listing.epoch;
        let id = self.shared(key);
        let slot = self.slots.entry(id).or_default();
        slot.seen[Side::Consumer as usize] = epoch;
        let version = form::version_of(body);
        let see = |pair: &Pair| match &told {
            Told::Whole(body) => self.form.consumer(body),
            Told::Metadata(known) => self.form.known_consumer(known, pair.consumer.as_ref()),
        };
        let news = match list {
            Some(list) => {
                let seen = see(&slot.pair);
                let news = slot.pair.is_listed_news_of_consumer(&seen, list);
                news.then_some(seen)
            }
            // Many events are echoes of our own writes: they are not worth a digest.
            None if slot.pair.is_news_of_consumer(version) => Some(see(&slot.pair)),
            None => None,
        };
        if let Some(seen) = news {
            slot.untold = false;
            let old = slot.pair.consumer.replace(seen);
            let old = old.map(|known| known.uid);
            let uid = slot.pair.consumer.as_ref().map(|known| &known.uid);
            let new = old.as_ref() != uid && !form::is_terminating(body);
            if new && list.is_none() && !self.definition.was_seen_terminating() {
                self.causes.created();
            }
            slot.number_end(old.as_ref(), &mut self.causes);
            self.arrived(key, Side::Consumer, priority, now);
            self.hold_body(key, Side::Consumer, told);
            self.touch(key, priority, now);
        }
    }

    fn end_consumer_list(&mut self, version: Version, now: Instant) {
        let (epoch, asked) = (self.consumer_listing.epoch, self.consumer_listing.asked);
        let first = !self.consumer_listing.complete;
        self.consumer_listing.complete = true;
        self.consumer_listing.under_way = false;
        let going = self.definition.was_seen_terminating();
        let mut touched = Vec::new();
        let mut absent = Vec::new();
        for (key, slot) in &mut self.slots {
            let untold = std::mem::take(&mut slot.untold);
            let lost = slot.seen[Side::Consumer as usize] != epoch && {
                let known = slot.pair.consumer.as_ref();
                let deleted = known.filter(|known| known.terminating);
                let deleted = deleted.map(|known| known.uid.clone());
                let lost = slot.pair.miss_consumer(version, asked);
                // Its deletion was seen, only not its end.
                let meant = self.causes.is_meant(slot.dying, self.listed) && !going;
                if let Some(uid) = deleted.filter(|_| lost && meant) {
                    slot.deleted = Some(Box::new(uid));
                }
                if slot.pair.consumer.is_none() {
                    absent.push(key.clone());
                }
                lost
            };
            if lost || untold || (first && slot.pair.consumer.is_none()) {
                touched.push(key.clone());
            }
        }
        for key in &absent {
            self.observe_referrer(key, None);
        }
        for key in &touched {
            // All of them are counted before the first one is acted upon.
            self.classify(key, now);
        }
        for key in touched {
            self.touch(&key, Priority::Backlog, now);
        }
        if let Some(referrers) = self.referrers.as_ref().filter(|_| first) {
            referrers.listed();
        }
        self.list_ended(now);
    }

    pub(in super::super) fn on_provider(
        &mut self,
        scope: &WatchScope,
        event: WatchEvent,
        now: Instant,
    ) {
        if matches!(event, WatchEvent::ListBegin { .. }) {
            self.file_all_postponed(now);
        }
        // What a watch that has been ended still says does not count.
        let Some(listing) = self.provider_listings.get_mut(scope) else {
            return;
        };
        if listing.hear(&event) {
            self.hurry_stalled(scope, now);
        }
        let Some(listing) = self.provider_listings.get_mut(scope) else {
            return;
        };
        match event {
            WatchEvent::ListBegin { known } => {
                self.epoch += 1;
                listing.epoch = self.epoch;
                listing.asked.known = Version::parse(&known);
            }
            WatchEvent::Listed(body) => {
                let asked = listing.asked;
                self.file_provider(scope, Told::Whole(body), Some(asked), now);
            }
            WatchEvent::Applied(body) => self.hear_provider(scope, body, now),
            WatchEvent::Deleted(body) => {
                let Some(key) = self.mapping.original_of(&body) else {
                    return;
                };
                let Some(slot) = self.slots.get_mut(&key) else {
                    return;
                };
                if slot.pair.lose_provider(form::version_of(&body)) {
                    self.touch(&key, Priority::Change, now);
                }
            }
            WatchEvent::ListEnd { resource_version } => {
                self.end_provider_list(scope, Version::parse(&resource_version), now);
            }
            WatchEvent::Unreadable(metadata) => {
                let list = listing.under_way();
                self.file_provider(scope, Told::Metadata(metadata), list, now);
            }
            WatchEvent::Watching | WatchEvent::Bookmark { .. } | WatchEvent::Failing(_) => {}
        }
    }

    /// What a provider watch that is back had left undone is due at once.
    fn hurry_stalled(&mut self, scope: &WatchScope, now: Instant) {
        let seen = self.mapping.seen_by(scope);
        let stalled = self.stalled[Side::Provider as usize].keys();
        for key in stalled.filter(|key| seen.covers(key)) {
            self.queue.push(self.shared(key), Priority::Backlog, now);
        }
    }

    /// The same of a provider copy.
    pub(super) fn file_provider(
        &mut self,
        scope: &WatchScope,
        told: Told,
        list: Option<Asked>,
        now: Instant,
    ) {
        let priority = urgency(list);
        let body = told.body();
        let key = self.mapping.original_of(body);
        let Some(key) = key.filter(|key| !key.name.is_empty()) else {
            return;
        };
        let id = self.shared(&key);
        let slot = self.slots.entry(id).or_default();
        if let Some(listing) = self.provider_listings.get(scope) {
            slot.seen[Side::Provider as usize] = listing.epoch;
        }
        let version = form::version_of(body);
        let see = |pair: &Pair| match &told {
            Told::Whole(body) => self.form.provider(body),
            Told::Metadata(known) => self.form.known_provider(known, pair.provider.as_ref()),
        };
        let news = match list {
            Some(list) => {
                let seen = see(&slot.pair);
                let news = slot.pair.is_listed_news_of_provider(&seen, list);
                news.then_some(seen)
            }
            None if slot.pair.is_news_of_provider(version) => Some(see(&slot.pair)),
            None => None,
        };
        if let Some(seen) = news {
            slot.pair.provider = Some(seen);
            self.arrived(&key, Side::Provider, priority, now);
            self.hold_body(&key, Side::Provider, told);
            self.touch(&key, priority, now);
        }
    }

    fn end_provider_list(&mut self, scope: &WatchScope, version: Version, now: Instant) {
        let Some(listing) = self.provider_listings.get_mut(scope) else {
            return;
        };
        let (epoch, asked, first) = (listing.epoch, listing.asked, !listing.complete);
        listing.complete = true;
        listing.under_way = false;
        let seen = self.mapping.seen_by(scope);
        let mut touched = Vec::new();
        for (key, slot) in &mut self.slots {
            if !seen.covers(key) {
                continue;
            }
            let lost = slot.seen[Side::Provider as usize] != epoch
                && slot.pair.miss_provider(version, asked);
            if lost || first {
                touched.push(key.clone());
            }
        }
        for key in touched {
            self.touch(&key, Priority::Backlog, now);
        }
        self.list_ended(now);
    }

    /// While nothing may be written no body is needed, and one that is held still is of another state: a
    /// restored server may even have given both the same version.
    fn hold_body(&mut self, key: &Key, side: Side, told: Told) {
        match told {
            Told::Whole(body) if !self.control.suspended => {
                self.bodies.hold(key, side, Arc::new(body));
            }
            _ => drop(self.bodies.take(key)),
        }
    }

    pub(super) fn observe_referrer(&self, key: &Key, body: Option<&Value>) {
        if let Some(referrers) = &self.referrers {
            referrers.observe(key, body);
        }
    }
}

/// An object as a watch tells of it.
pub(super) enum Told {
    Whole(Value),
    /// It cannot be read.
    Metadata(Value),
}

impl Told {
    /// What is known of it; its metadata always are.
    fn body(&self) -> &Value {
        let (Self::Whole(body) | Self::Metadata(body)) = self;
        body
    }
}

/// What a list finds is not as urgent as what somebody changes now.
fn urgency(list: Option<Asked>) -> Priority {
    match list {
        Some(_) => Priority::Backlog,
        None => Priority::Change,
    }
}

impl Listing {
    /// What was known when the list that is under way was asked for.
    fn under_way(&self) -> Option<Asked> {
        self.under_way.then_some(self.asked)
    }

    /// Says whether the watch is back, so that what its side left undone is due at once rather than
    /// after backoffs that have grown to minutes.
    fn hear(&mut self, event: &WatchEvent) -> bool {
        match event {
            WatchEvent::ListBegin { .. } => self.under_way = true,
            WatchEvent::Failing(error) => keep_first(&mut self.failing, error),
            WatchEvent::Watching => {
                self.failing = None;
                return true;
            }
            _ => {}
        }
        false
    }
}
