//! What exists in a simulated run: two servers, the namespace mapping, the konnectors that ever ran,
//! and the only source of randomness.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kube_bind_crds::digest::Schema;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::super::super::cluster::Key;
use super::super::super::fake::{Snapshot, Store};
use super::super::super::metrics::Side;
use super::mode::Mode;
use super::trace::Trace;

/// So many steps are a run without end.
const ENDLESS: u32 = 60_000;

/// How a server treats requests and watches at the moment.
#[derive(Clone, Default)]
pub(super) struct Weather {
    /// Share of requests that fail in some way.
    pub(super) failing: f64,
    /// Share of requests that take up to seconds.
    pub(super) slow: f64,
    /// Longest wait, in milliseconds, before a watch tells an event.
    pub(super) lag: u64,
    /// Watches say nothing until then, and do not end.
    pub(super) deaf_until: Option<Instant>,
    /// The kind is not served.
    pub(super) missing: bool,
}

/// One resource of one server, and what its watches are to do.
pub(super) struct Server {
    pub(super) store: Store,
    pub(super) weather: Weather,
    /// Rises with each restore: nothing that was told before it can be continued.
    pub(super) era: u32,
    /// Rises when watches lose their position.
    pub(super) expiry: u32,
    /// Rises when watches tell their last events again.
    pub(super) repetition: u32,
    /// Rises when watches tell how far they are.
    pub(super) bookmark: u32,
    pub(super) snapshot: Option<Snapshot>,
}

/// One run of the engine, from its start to its crash.
pub(super) struct Konnector {
    /// It does not run any more; what it waits for never comes.
    pub(super) dead: bool,
    /// It crashes after so many more points at which it waits.
    pub(super) crash_in: Option<u32>,
    /// It leads until then; without end if `None`.
    pub(super) leads_until: Option<Instant>,
    pub(super) started: Instant,
    /// A person said that what vanished was meant to.
    pub(super) released: bool,
    /// Of which restore its last complete list of each side knows, and since when.
    pub(super) listed: [Option<(u32, Instant)>; 2],
    /// The highest version that each side has told it.
    pub(super) heard: [u64; 2],
    /// When it deleted copies whose objects had vanished.
    pub(super) orphans_deleted: VecDeque<Instant>,
}

/// Who created a provider copy.
pub(super) struct Creation {
    pub(super) konnector: usize,
    pub(super) at: Instant,
    /// Nobody waited for the answer any more.
    pub(super) late: bool,
}

pub(super) struct Sim {
    pub(super) random: SmallRng,
    pub(super) trace: Trace,
    pub(super) mode: Mode,
    pub(super) servers: [Server; 2],
    pub(super) konnectors: Vec<Konnector>,
    /// Consumer namespaces and their service namespaces.
    pub(super) mapped: BTreeMap<String, String>,
    /// Consumer namespaces for which the backend is about to publish one.
    pub(super) asked: BTreeSet<String>,
    /// Uids of consumer objects that went although nobody deleted them.
    pub(super) lost: HashSet<String>,
    /// A person suspended the binding.
    pub(super) suspended: bool,
    /// The CRD on the consumer is being deleted.
    pub(super) definition_goes: bool,
    /// Since when the konnectors' watches of CRDs tell that it is.
    pub(super) definition_seen: Option<Instant>,
    pub(super) creations: HashMap<String, Creation>,
    /// Requests of konnectors.
    pub(super) requests: u32,
    /// The consumer objects for which konnectors changed something.
    pub(super) written: Vec<Key>,
    pub(super) violation: Option<String>,
    steps: u32,
}

/// Everything, shared. One lock, so that nothing happens at the same time.
pub(super) struct Shared {
    sim: Mutex<Sim>,
    /// Something changed on this side.
    pub(super) changed: [Arc<Notify>; 2],
    /// Generations of the namespace mapping, one for each konnector: one for all would wake them in a
    /// random order.
    pub(super) generations: Mutex<Vec<watch::Sender<u64>>>,
}

pub(super) type World = Arc<Shared>;

thread_local! {
    static SCHEMA: (Arc<Value>, Arc<Schema>) = {
        let open_api = schema();
        let compiled = Arc::new(Schema::new(&open_api));
        (Arc::new(open_api), compiled)
    };
}

/// The kind's schema.
pub(super) fn open_api() -> Arc<Value> {
    SCHEMA.with(|(open_api, _)| Arc::clone(open_api))
}

fn schema() -> Value {
    let text = json!({"type": "string"});
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "format": "int64"}, "weight": {"type": "number"},
            "color": text, "operators": text, "default": text,
            "note": {"type": "string", "nullable": true},
            "tags": {"type": "array", "items": text, "x-kubernetes-list-type": "atomic"},
            "options": {"type": "object", "additionalProperties": text}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "data": {"type": "object", "additionalProperties": text},
    }})
}

pub(super) fn world(seed: u64, traced: bool) -> World {
    let mut random = SmallRng::seed_from_u64(seed);
    let mode = Mode::draw(&mut random);
    let servers = [Side::Consumer, Side::Provider].map(|side| {
        let mut store = Store::new(SCHEMA.with(|(_, schema)| Arc::clone(schema)));
        store.plain_status = !mode.status_subresource;
        store.defaults = side == Side::Provider;
        Server {
            store,
            weather: Weather::default(),
            era: 0,
            expiry: 0,
            repetition: 0,
            bookmark: 0,
            snapshot: None,
        }
    });
    let sim = Sim {
        random,
        trace: Trace::new(traced),
        mode,
        servers,
        konnectors: Vec::new(),
        mapped: BTreeMap::new(),
        asked: BTreeSet::new(),
        lost: HashSet::new(),
        suspended: false,
        definition_goes: false,
        definition_seen: None,
        creations: HashMap::new(),
        requests: 0,
        written: Vec::new(),
        violation: None,
        steps: 0,
    };
    Arc::new(Shared {
        sim: Mutex::new(sim),
        changed: Default::default(),
        generations: Mutex::default(),
    })
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Sim> {
        self.sim
            .lock()
            .expect("no code panics while it holds the lock")
    }

    /// Wakes all watches.
    pub(super) fn stir(&self) {
        self.changed.iter().for_each(|side| side.notify_waiters());
    }

    fn mapping_changed(&self) {
        for generation in self
            .generations
            .lock()
            .expect("no code panics while it holds the lock")
            .iter()
        {
            generation.send_modify(|generation| *generation += 1);
        }
    }

    /// The backend publishes a service namespace.
    pub(super) fn map(&self, consumer: &str) {
        let mut sim = self.lock();
        let provider = sim.mode.service_namespace(consumer);
        if sim.mapped.insert(consumer.to_owned(), provider).is_none() {
            sim.trace
                .note("backend", "maps", &Key::new(consumer, ""), String::new);
            drop(sim);
            self.mapping_changed();
        }
    }

    pub(super) fn unmap(&self, consumer: &str) {
        let mut sim = self.lock();
        if sim.mapped.remove(consumer).is_some() {
            sim.trace
                .note("backend", "unmaps", &Key::new(consumer, ""), String::new);
            drop(sim);
            self.mapping_changed();
        }
    }
}

impl Sim {
    pub(super) fn server(&mut self, side: Side) -> &mut Server {
        &mut self.servers[side as usize]
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    pub(super) fn violate(&mut self, what: String) {
        if self.violation.is_none() {
            self.trace
                .note("checker", "VIOLATION", &Key::default(), || what.clone());
            self.violation = Some(what);
        }
    }

    /// A konnector comes to a point at which it waits; says whether it goes on from there.
    pub(super) fn goes_on(&mut self, konnector: usize) -> bool {
        self.steps += 1;
        if self.steps == ENDLESS {
            self.violate("it goes on without end".to_owned());
        }
        if self.violation.is_some() {
            return false;
        }
        let this = &mut self.konnectors[konnector];
        if this.crash_in == Some(0) && !this.dead {
            this.dead = true;
            self.trace
                .note("konnector", "crashes", &Key::default(), || {
                    konnector.to_string()
                });
        }
        let this = &mut self.konnectors[konnector];
        this.crash_in = this.crash_in.map(|left| left.saturating_sub(1));
        !this.dead
    }

    /// How much longer this konnector leads.
    pub(super) fn leads(&self, konnector: usize) -> Duration {
        let this = &self.konnectors[konnector];
        this.leads_until.map_or(Duration::MAX, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }
}
