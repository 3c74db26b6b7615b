//! How one konnector reaches one server: every request takes a while, may fail with or without
//! effect, may take effect when nobody waits for it any more, and is the point at which a konnector
//! crashes.

use std::future::pending;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use rand::Rng;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::super::cluster::{Cluster, Error, Key, Part, WatchEvent, WatchScope};
use super::super::super::concurrency::Limiter;
use super::super::super::fake::legible;
use super::super::super::metrics::Side;
use super::super::super::ports::Definition;
use super::delivery::Delivery;
use super::invariants;
use super::stream;
use super::world::{Creation, Sim, World};

/// One side, as one konnector sees it.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) world: World,
    pub(super) konnector: usize,
    pub(super) side: Side,
    pub(super) limiter: Limiter,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Get,
    /// Whether the CRD terminates: then there is an answer.
    Definition,
    Apply(String, Value),
    JsonPatch(Part, Value),
    MergePatch(Value),
    /// Uid and version.
    Delete(String, String),
}

impl Op {
    pub(super) fn is_write(&self) -> bool {
        !matches!(self, Self::Get | Self::Definition)
    }

    fn body(&self) -> String {
        match self {
            Self::Get | Self::Definition => String::new(),
            Self::Apply(manager, body) => format!("{manager} {body}"),
            Self::JsonPatch(part, operations) => format!("{part:?} {operations}"),
            Self::MergePatch(body) => body.to_string(),
            Self::Delete(uid, version) => format!("{uid} {version}"),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Definition => "GET CRD",
            Self::Apply(..) => "APPLY",
            Self::JsonPatch(..) => "PATCH",
            Self::MergePatch(_) => "MERGE",
            Self::Delete(..) => "DELETE",
        }
    }
}

type Answer = Result<Option<Value>, Error>;

impl Connection {
    async fn perform(self, key: Key, op: Op) -> Answer {
        let Some(delivery) = self.begin(&key, &op) else {
            return pending().await;
        };
        if delivery.late {
            // The request is on its way, whatever becomes of the one who sent it.
            let late = self.clone();
            #[expect(
                clippy::disallowed_methods,
                reason = "it ends with the test's own runtime"
            )]
            tokio::spawn(async move {
                sleep(delivery.before).await;
                late.act(&key, &op, &delivery);
            });
            return pending().await;
        }
        pause(delivery.before).await;
        let Some(answer) = self.act(&key, &op, &delivery) else {
            return pending().await;
        };
        pause(delivery.after).await;
        if !self.arrive(&delivery, &answer) {
            return pending().await;
        }
        match delivery.error {
            Some(error) => Err(error),
            None => answer?.map(legible::answer).transpose(),
        }
    }

    /// The answer arrives, if somebody is there.
    fn arrive(&self, delivery: &Delivery, answer: &Answer) -> bool {
        let mut sim = self.world.lock();
        if let (None, Ok(Some(body))) = (&delivery.error, answer) {
            self.hear(&mut sim, &body["metadata"]["resourceVersion"]);
        }
        sim.goes_on(self.konnector)
    }

    /// A konnector is told a version.
    pub(super) fn hear(&self, sim: &mut Sim, version: &Value) {
        let version: Option<u64> = version.as_str().and_then(|version| version.parse().ok());
        let heard = &mut sim.konnectors[self.konnector].heard[self.side as usize];
        *heard = version.unwrap_or_default().max(*heard);
    }

    /// A konnector sends a request.
    fn begin(&self, key: &Key, op: &Op) -> Option<Delivery> {
        let mut sim = self.world.lock();
        if !sim.goes_on(self.konnector) {
            return None;
        }
        sim.requests += 1;
        if op.is_write() {
            let wrong = invariants::begin(&sim, self.konnector, op);
            wrong.into_iter().for_each(|wrong| sim.violate(wrong));
        }
        let delivery = Delivery::draw(&mut sim, self.side, op.is_write());
        let konnector = self.konnector;
        let side = self.side;
        sim.trace.note("konnector", op.name(), key, || {
            format!("on the {side:?} by {konnector}, {delivery}: {}", op.body())
        });
        Some(delivery)
    }

    /// The request arrives at the server, unless it is lost together with who sent it.
    fn act(&self, key: &Key, op: &Op, delivery: &Delivery) -> Option<Answer> {
        let mut guard = self.world.lock();
        let sim = &mut *guard;
        let lost = sim.konnectors[self.konnector].dead && !delivery.survives;
        if lost || sim.violation.is_some() {
            return None;
        }
        let answer = if delivery.effect {
            self.serve(sim, key, op, delivery)
        } else {
            Err(delivery
                .error
                .clone()
                .expect("a request without effect fails"))
        };
        let goes_on = sim.goes_on(self.konnector);
        drop(guard);
        self.world.changed[self.side as usize].notify_waiters();
        goes_on.then_some(answer)
    }

    fn serve(&self, sim: &mut Sim, key: &Key, op: &Op, delivery: &Delivery) -> Answer {
        if let Op::Definition = op {
            return Ok(sim.definition_goes.then_some(Value::Null));
        }
        let server = &mut sim.servers[self.side as usize];
        if server.weather.missing {
            let message = "the server could not find the requested resource".to_owned();
            return Err(Error::NotServed { message });
        }
        let store = &mut server.store;
        let before = store.objects.get(key).cloned();
        let version = store.version;
        let answer = match op {
            Op::Get | Op::Definition => store
                .existing(key, None)
                .map(|object| Some(Value::clone(object))),
            Op::Apply(_, body)
                if self.side == Side::Provider && body["spec"]["color"] == "refused" =>
            {
                Err(Error::Rejected {
                    code: 422,
                    message: "spec.color: Unsupported value".to_owned(),
                })
            }
            Op::Apply(manager, body) => store.apply(key, manager, body).map(Some),
            Op::JsonPatch(part, operations) => store.json_patch(key, *part, operations).map(Some),
            Op::MergePatch(body) => store.merge_patch(key, body).map(Some),
            Op::Delete(uid, version) => store.delete(key, uid, Some(version)),
        };
        let after = store.objects.get(key).cloned();
        if store.version != version {
            let changed = store.version;
            let original = match self.side {
                Side::Consumer => Some(key.clone()),
                Side::Provider => sim.mode.original_of(key),
            };
            sim.written.push(original.unwrap_or_default());
            sim.trace.count(changed);
            sim.trace.note("server", "is changed", key, || {
                format!("on the {:?}, version {changed}", self.side)
            });
            if let (Side::Provider, None, Some(copy)) = (self.side, &before, &after) {
                let creation = Creation {
                    konnector: self.konnector,
                    at: tokio::time::Instant::now(),
                    late: delivery.late || sim.konnectors[self.konnector].dead,
                };
                let uid = copy["metadata"]["uid"].as_str().unwrap_or_default();
                sim.creations.insert(uid.to_owned(), creation);
            }
            let write = invariants::Write {
                konnector: self.konnector,
                side: self.side,
                key,
                op,
                before: before.as_deref(),
                after: after.as_deref(),
            };
            let wrong = invariants::effect(sim, &write);
            wrong.into_iter().for_each(|wrong| sim.violate(wrong));
        }
        answer
    }
}

/// Waits, if there is something to wait for.
pub(super) async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn body(answer: Answer) -> Result<Value, Error> {
    answer.map(|body| body.expect("only a deletion leaves nothing"))
}

impl Cluster for Connection {
    fn limiter(&self) -> Option<&Limiter> {
        Some(&self.limiter)
    }

    fn parallelism(&self) -> usize {
        self.world.lock().mode.parallelism
    }

    fn watch(&self, scope: WatchScope) -> BoxStream<'static, WatchEvent> {
        stream::open(self.clone(), scope)
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Value, Error>> {
        let answer = self.clone().perform(key.clone(), Op::Get);
        Box::pin(async move { body(answer.await) })
    }

    fn apply<'a>(
        &'a self,
        key: &'a Key,
        manager: &'a str,
        content: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        let op = Op::Apply(manager.to_owned(), content.clone());
        let answer = self.clone().perform(key.clone(), op);
        Box::pin(async move { body(answer.await) })
    }

    fn json_patch<'a>(
        &'a self,
        key: &'a Key,
        part: Part,
        operations: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        let op = Op::JsonPatch(part, operations.clone());
        let answer = self.clone().perform(key.clone(), op);
        Box::pin(async move { body(answer.await) })
    }

    fn merge_patch<'a>(
        &'a self,
        key: &'a Key,
        content: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Error>> {
        let op = Op::MergePatch(content.clone());
        let answer = self.clone().perform(key.clone(), op);
        Box::pin(async move { body(answer.await) })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        uid: &'a str,
        version: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, Error>> {
        Box::pin(
            self.clone()
                .perform(key.clone(), Op::Delete(uid.to_owned(), version.to_owned())),
        )
    }
}

impl Definition for Connection {
    fn is_terminating(&self) -> BoxFuture<'_, Result<bool, Error>> {
        let request = self.clone().perform(Key::default(), Op::Definition);
        Box::pin(async move { request.await.map(|answer| answer.is_some()) })
    }

    fn was_seen_terminating(&self) -> bool {
        let sim = self.world.lock();
        sim.definition_seen.is_some_and(|at| at <= Instant::now())
    }
}

/// A wait of up to so many milliseconds.
pub(super) fn up_to(sim: &mut Sim, milliseconds: u64) -> Duration {
    Duration::from_millis(sim.random.random_range(0..=milliseconds))
}
