//! Whether a watch works, as a readiness check of its own: it has listed, and does not keep failing.

use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use kube::runtime::watcher::{self, Event};
use kube_bind_runtime::health::Health;

/// One failure is normal life: a connection ends, a version is too old.
const FAILURES: u32 = 3;
/// Longer than the longest pause between two tries: a watch that works may have nothing to say.
const QUIET: Duration = Duration::from_secs(90);

/// The check of one watch; it goes with the watch.
pub struct WatchCheck {
    health: Health,
    name: String,
    listed: bool,
    failures: u32,
}

impl WatchCheck {
    /// Not ready until the first list is complete.
    pub fn new(health: Health, controller: &str, kind: &str) -> Self {
        let name = format!("{controller}/{kind}");
        health.set(&name, Err("not listed yet".to_owned()));
        Self {
            health,
            name,
            listed: false,
            failures: 0,
        }
    }

    fn is_failing(&self) -> bool {
        self.failures >= FAILURES
    }

    fn observe<K>(&mut self, event: &Result<Event<K>, watcher::Error>) {
        match event {
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if !self.listed || self.is_failing() {
                    self.health
                        .set(&self.name, Err(format!("the watch fails: {error}")));
                }
            }
            Ok(event) => {
                self.listed |= matches!(event, Event::InitDone);
                if matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_)) {
                    self.works();
                }
            }
        }
    }

    fn works(&mut self) {
        self.failures = 0;
        if self.listed {
            self.health.set(&self.name, Ok(()));
        }
    }
}

impl Drop for WatchCheck {
    fn drop(&mut self) {
        self.health.remove(&self.name);
    }
}

/// The events, watched over.
pub fn checked<K: Send + 'static>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
    check: WatchCheck,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static {
    stream::unfold(
        (events.boxed(), check),
        |(mut events, mut check)| async move {
            loop {
                let next = if check.is_failing() && check.listed {
                    match tokio::time::timeout(QUIET, events.next()).await {
                        Ok(next) => next,
                        // A watch that goes on where it was says nothing until something changes.
                        Err(_elapsed) => {
                            check.works();
                            continue;
                        }
                    }
                } else {
                    events.next().await
                };
                let event = next?;
                check.observe(&event);
                return Some((event, (events, check)));
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    type Item = Result<Event<ConfigMap>, watcher::Error>;

    fn failure() -> Item {
        Err(watcher::Error::NoResourceVersion)
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_is_ready_once_it_has_listed_and_while_it_does_not_keep_failing() {
        let health = Health::new();
        let is_ready = || !health.failing().contains_key("test/ConfigMap");
        let check = WatchCheck::new(health.clone(), "test", "ConfigMap");
        let (send, receive) = futures::channel::mpsc::unbounded::<Item>();
        let mut watched = Box::pin(checked(receive, check));
        assert!(!is_ready());
        for (item, ready) in [
            (failure(), false),
            (Ok(Event::Init), false),
            (Ok(Event::InitDone), true),
            (failure(), true),
            (failure(), true),
            (failure(), false),
        ] {
            send.unbounded_send(item).unwrap();
            watched.next().await.unwrap().ok();
            assert_eq!(is_ready(), ready);
        }
        // Silence after failures means that the watch goes on.
        let silence = tokio::time::timeout(QUIET * 2, watched.next()).await;
        assert!(silence.is_err() && is_ready());
        drop(watched);
        assert!(health.failing().is_empty());
    }
}
