//! The bodies that are on their way: each is held only until its object has been worked on, and
//! all of them together only up to a budget. What is not held is read again. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::cluster::Key;
use super::metrics::Side;

/// Estimated memory of all held bodies above which the engine stops taking in consumer events
/// while it has work to do.
const BUDGET: usize = 2 << 20;
/// Above this nothing more is held.
const LIMIT: usize = 8 * BUDGET;

/// A body and its weight.
type Held = Option<(Arc<Value>, usize)>;

#[derive(Default)]
pub(super) struct Bodies {
    held: HashMap<Key, [Held; 2]>,
    bytes: usize,
}

impl Bodies {
    /// Holds the latest body of a side.
    pub(super) fn hold(&mut self, key: &Key, side: Side, body: Arc<Value>) {
        let size = weigh(&body);
        let slot = &mut self.held.entry(key.clone()).or_default()[side as usize];
        self.bytes -= slot.take().map_or(0, |(_, size)| size);
        if self.bytes + size <= LIMIT {
            self.bytes += size;
            *slot = Some((body, size));
        }
    }

    /// Holds a body unless a later one is held already.
    pub(super) fn keep(&mut self, key: &Key, side: Side, body: Option<Arc<Value>>) {
        let later = self
            .held
            .get(key)
            .is_some_and(|held| held[side as usize].is_some());
        if let Some(body) = body.filter(|_| !later) {
            self.hold(key, side, body);
        }
    }

    /// The held bodies of a key, which are not held any longer.
    pub(super) fn take(&mut self, key: &Key) -> [Option<Arc<Value>>; 2] {
        let held = self.held.remove(key).unwrap_or_default();
        held.map(|slot| {
            slot.map(|(body, size)| {
                self.bytes -= size;
                body
            })
        })
    }

    /// Holds nothing any more.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    /// More is held than should be.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > BUDGET
    }
}

/// Memory of a node of the tree that a JSON map is made of, and how many entries it usually holds.
const NODE: (usize, usize) = (640, 7);

/// Rough memory of a parsed value: mostly the nodes of its maps, ten times the text.
pub(super) fn weigh(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weigh).sum(),
            Value::Object(map) => {
                let entries = map
                    .iter()
                    .map(|(key, value)| key.len() + weigh(value) - size_of::<Value>());
                map.len().div_ceil(NODE.1) * NODE.0 + entries.sum::<usize>()
            }
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_not_counted_any_more() {
        let mut bodies = Bodies::default();
        let key = Key::new("n", "a");
        let large = Arc::new(Value::from("x".repeat(LIMIT - 1_000)));
        bodies.hold(&key, Side::Consumer, Arc::clone(&large));
        assert!(bodies.is_full());
        bodies.hold(&key, Side::Provider, large);
        let [consumer, provider] = bodies.take(&key);
        assert!(
            consumer.is_some() && provider.is_none(),
            "the second does not fit"
        );
        assert_eq!(bodies.bytes, 0);
    }
}
