//! Watches: a list, then changes in order, late, repeated, or not at all until the position is lost
//! and everything is listed again.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::super::super::cluster::{Error, WatchEvent, WatchScope};
use super::super::super::fake::legible;
use super::connection::{Connection, up_to};
use super::world::Sim;

/// Waiting after a failure: first, and longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

enum Phase {
    /// To list, at first or anew.
    List,
    /// A list is being told.
    Listing {
        rest: VecDeque<Arc<Value>>,
        version: u64,
        position: usize,
    },
    /// Changes are told from this position of the log on; `fresh` if that is not yet announced.
    Watching { position: usize, fresh: bool },
}

struct Stream {
    connection: Connection,
    scope: WatchScope,
    changed: Arc<Notify>,
    phase: Phase,
    era: u32,
    /// What of the server's wishes has been heard.
    expiry: u32,
    repetition: u32,
    bookmark: u32,
    backoff: Duration,
    /// Where the last list was in the log: nothing older is told.
    listed: usize,
}

/// What to do next.
enum Turn {
    Tell(WatchEvent, Duration),
    Sleep(Duration),
    Wait,
    Never,
}

pub(super) fn open(connection: Connection, scope: WatchScope) -> BoxStream<'static, WatchEvent> {
    let changed = Arc::clone(&connection.world.changed[connection.side as usize]);
    let stream = Stream {
        connection,
        scope,
        changed,
        phase: Phase::List,
        era: 0,
        expiry: 0,
        repetition: 0,
        bookmark: 0,
        backoff: BACKOFF.0,
        listed: 0,
    };
    futures::stream::unfold(stream, |mut stream| async {
        let event = stream.next().await;
        Some((event, stream))
    })
    .boxed()
}

impl Stream {
    async fn next(&mut self) -> WatchEvent {
        loop {
            let changed = Arc::clone(&self.changed);
            let world = Arc::clone(&self.connection.world);
            let (notified, turn) = {
                let mut sim = world.lock();
                // Registered before the lock is given back, so that no change is missed.
                (changed.notified(), self.turn(&mut sim))
            };
            match turn {
                Turn::Tell(event, wait) => {
                    if !wait.is_zero() {
                        sleep(wait).await;
                    }
                    if self.tell(&event) {
                        return legible::event(event);
                    }
                    return pending().await;
                }
                Turn::Sleep(wait) => sleep(wait).await,
                Turn::Wait => notified.await,
                Turn::Never => return pending().await,
            }
        }
    }

    /// Says whether somebody is there to hear it.
    fn tell(&self, event: &WatchEvent) -> bool {
        let connection = &self.connection;
        let mut sim = connection.world.lock();
        match event {
            WatchEvent::Listed(body) | WatchEvent::Applied(body) | WatchEvent::Deleted(body) => {
                connection.hear(&mut sim, &body["metadata"]["resourceVersion"]);
            }
            WatchEvent::ListEnd { resource_version }
            | WatchEvent::Bookmark { resource_version } => {
                connection.hear(&mut sim, &resource_version.as_str().into());
            }
            _ => {}
        }
        sim.goes_on(connection.konnector)
    }

    fn turn(&mut self, sim: &mut Sim) -> Turn {
        let side = self.connection.side;
        if sim.konnectors[self.connection.konnector].dead || sim.violation.is_some() {
            return Turn::Never;
        }
        let weather = &sim.servers[side as usize].weather;
        if let Some(until) = weather.deaf_until.filter(|until| *until > Instant::now()) {
            return Turn::Sleep(until - Instant::now());
        }
        if weather.missing && !matches!(self.phase, Phase::Watching { fresh: false, .. }) {
            let message = "the server could not find the requested resource".to_owned();
            return self.fail(Error::NotServed { message });
        }
        let server = &sim.servers[side as usize];
        let lost = (server.era, server.expiry) != (self.era, self.expiry);
        if lost && !matches!(self.phase, Phase::List) {
            (self.era, self.expiry) = (server.era, server.expiry);
            self.phase = Phase::List;
            return Turn::Sleep(up_to(sim, 3_000));
        }
        match std::mem::replace(&mut self.phase, Phase::List) {
            Phase::List => self.list(sim),
            Phase::Listing {
                mut rest,
                version,
                position,
            } => {
                let Some(object) = rest.pop_front() else {
                    self.phase = Phase::Watching {
                        position,
                        fresh: true,
                    };
                    let listed = Some((self.era, Instant::now()));
                    sim.konnectors[self.connection.konnector].listed[side as usize] = listed;
                    let end = WatchEvent::ListEnd {
                        resource_version: version.to_string(),
                    };
                    return Turn::Tell(end, Duration::ZERO);
                };
                self.phase = Phase::Listing {
                    rest,
                    version,
                    position,
                };
                let wait = self.lag(sim);
                Turn::Tell(WatchEvent::Listed(Value::clone(&object)), wait)
            }
            Phase::Watching { position, fresh } => self.watch(sim, position, fresh),
        }
    }

    fn list(&mut self, sim: &mut Sim) -> Turn {
        let side = self.connection.side;
        let failing = sim.servers[side as usize].weather.failing;
        if failing > 0.0 && sim.chance(failing / 2.0) {
            return self.fail(Error::Unavailable {
                message: "out of order".to_owned(),
                retry_after: None,
            });
        }
        let server = &sim.servers[side as usize];
        (self.era, self.expiry) = (server.era, server.expiry);
        self.repetition = server.repetition;
        self.bookmark = server.bookmark;
        let store = &server.store;
        self.listed = store.log.len();
        self.phase = Phase::Listing {
            rest: store
                .objects
                .iter()
                .filter(|(key, _)| self.scope.covers(key))
                .map(|(_, object)| Arc::clone(object))
                .collect(),
            version: store.version,
            position: store.log.len(),
        };
        self.note(sim, "lists");
        let heard = sim.konnectors[self.connection.konnector].heard[side as usize];
        let known = if heard == 0 {
            String::new()
        } else {
            heard.to_string()
        };
        Turn::Tell(WatchEvent::ListBegin { known }, Duration::ZERO)
    }

    fn watch(&mut self, sim: &mut Sim, position: usize, fresh: bool) -> Turn {
        self.phase = Phase::Watching {
            position,
            fresh: false,
        };
        if fresh {
            self.backoff = BACKOFF.0;
            return Turn::Tell(WatchEvent::Watching, Duration::ZERO);
        }
        let server = &sim.servers[self.connection.side as usize];
        if self.repetition != server.repetition {
            self.repetition = server.repetition;
            // As after a connection that broke: what was told may be told again.
            let back = sim.chance(0.7).then(|| up_to(sim, 4).as_millis() as usize);
            self.phase = Phase::Watching {
                position: self
                    .listed
                    .max(position.saturating_sub(back.unwrap_or_default())),
                fresh: true,
            };
            return self.tell_failure();
        }
        let change = server.store.log[position..]
            .iter()
            .enumerate()
            .find(|(_, change)| self.scope.covers(&change.key));
        let Some((ahead, change)) = change else {
            let missing = server.weather.missing;
            let version = server.store.version;
            let told = server.bookmark == self.bookmark;
            self.bookmark = server.bookmark;
            self.phase = Phase::Watching {
                position: server.store.log.len(),
                fresh: false,
            };
            if missing {
                let message = "the server could not find the requested resource".to_owned();
                return self.fail(Error::NotServed { message });
            }
            if told {
                return Turn::Wait;
            }
            let bookmark = WatchEvent::Bookmark {
                resource_version: version.to_string(),
            };
            return Turn::Tell(bookmark, Duration::ZERO);
        };
        let body = Value::clone(&change.object);
        let event = if change.gone {
            WatchEvent::Deleted(body)
        } else {
            WatchEvent::Applied(body)
        };
        self.phase = Phase::Watching {
            position: position + ahead + 1,
            fresh: false,
        };
        let wait = self.lag(sim);
        Turn::Tell(event, wait)
    }

    fn lag(&self, sim: &mut Sim) -> Duration {
        let lag = sim.servers[self.connection.side as usize].weather.lag;
        if lag == 0 || sim.chance(0.5) {
            Duration::ZERO
        } else {
            up_to(sim, lag)
        }
    }

    fn tell_failure(&self) -> Turn {
        let error = Error::Unavailable {
            message: "the connection broke".to_owned(),
            retry_after: None,
        };
        Turn::Tell(WatchEvent::Failing(error), Duration::ZERO)
    }

    /// Tells a failure after the wait that follows from earlier ones; then lists.
    fn fail(&mut self, error: Error) -> Turn {
        self.phase = Phase::List;
        let wait = self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
        Turn::Tell(WatchEvent::Failing(error), wait)
    }

    fn note(&self, sim: &mut Sim, what: &'static str) {
        let (connection, scope) = (&self.connection, &self.scope);
        sim.trace.note("watch", what, &Default::default(), || {
            format!(
                "of {} on the {:?}, {scope:?}",
                connection.konnector, connection.side
            )
        });
    }
}
