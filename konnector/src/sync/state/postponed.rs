//! Events about objects that are being worked on. Most are echoes of the requests of that very job, whose
//! answers tell the same: they wait for its end, and are then no news and cost nothing more.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::super::bodies::weigh;
use super::super::cluster::{Key, WatchScope};
use super::super::entry::Version;
use super::super::form;
use super::super::maps::Map;
use super::super::metrics::Side;
use super::super::queue::Priority;
use super::State;
use super::events::Told;

/// Estimated memory of a body that may wait, some 25 kB of text: there are two at most for each job under way.
const LARGEST: usize = 256 << 10;

/// The latest event of each side about each object that is being worked on.
#[derive(Default)]
pub(super) struct Postponed(Map<Arc<Key>, Latest>);

#[derive(Default)]
struct Latest {
    consumer: Option<Value>,
    provider: Option<(WatchScope, Value)>,
}

impl State {
    /// Files a change of a consumer object, or keeps it until the job with it has ended.
    pub(super) fn hear_consumer(&mut self, body: Value, now: Instant) {
        let key = form::key_of(&body);
        // The beginning and the end of an object are no echoes, and counted by others.
        let is_known = || {
            let known = self.slots.get(&key)?.pair.consumer.as_ref()?;
            (known.uid == form::uid_of(&body)).then_some(())
        };
        if !self.can_wait(&key, &body) || is_known().is_none() {
            return self.file_consumer(Told::Whole(body), None, now);
        }
        self.observe_referrer(&key, Some(&body));
        self.arrived(&key, Side::Consumer, Priority::Change, now);
        self.postponed.of(self.shared(&key)).consumer = Some(body);
    }

    /// The same of a provider copy.
    pub(super) fn hear_provider(&mut self, scope: &WatchScope, body: Value, now: Instant) {
        let key = self.mapping.original_of(&body);
        let Some(key) = key.filter(|key| self.can_wait(key, &body)) else {
            return self.file_provider(scope, Told::Whole(body), None, now);
        };
        self.arrived(&key, Side::Provider, Priority::Change, now);
        self.postponed.of(self.shared(&key)).provider = Some((scope.clone(), body));
    }

    fn can_wait(&self, key: &Key, body: &Value) -> bool {
        self.busy.contains(key)
            && !form::is_terminating(body)
            // Versions that cannot be compared do not tell echoes from news.
            && form::version_of(body) != Version::default()
            && weigh(body) <= LARGEST
    }

    /// The job with this object has ended. What it refers to has been observed, and may have changed since.
    pub(super) fn file_postponed(&mut self, key: &Key, now: Instant) {
        let Some(Latest { consumer, provider }) = self.postponed.0.remove(key) else {
            return;
        };
        if let Some(body) = consumer {
            self.learn_consumer(key, Told::Whole(body), None, now);
        }
        if let Some((scope, body)) = provider {
            self.file_provider(&scope, Told::Whole(body), None, now);
        }
    }

    /// A list begins, and is compared with all that was told before it.
    pub(super) fn file_all_postponed(&mut self, now: Instant) {
        let keys: Vec<_> = self.postponed.0.keys().cloned().collect();
        for key in keys {
            self.file_postponed(&key, now);
        }
    }
}

impl Postponed {
    /// Something newer was told of a consumer object.
    pub(super) fn forget_consumer(&mut self, key: &Key) {
        if let Some(latest) = self.0.get_mut(key) {
            latest.consumer = None;
        }
    }

    fn of(&mut self, key: Arc<Key>) -> &mut Latest {
        self.0.entry(key).or_default()
    }
}
