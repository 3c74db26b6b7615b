//! One run: a seed draws everything that happens, and konnectors are started, stopped and killed
//! meanwhile.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::super::cluster::Key;
use super::super::super::metrics::Side;
use super::super::super::{
    Breaker, EngineConfig, EngineHandle, Limiter, NoMetrics, ObjectRef, Ports, Problem,
    ProblemSink, Resource, SkipKeys, start,
};
use super::connection::Connection;
use super::mode::CLUSTER_NAMESPACE;
use super::namespaces::SimNamespaces;
use super::world::{Konnector, World, open_api, world};
use super::{accidents, operators, rest, users};

/// What a run showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Of all that happened.
    pub(super) hash: u64,
    pub(super) requests: u32,
    pub(super) writes: usize,
    pub(super) violation: Option<String>,
    pub(super) lines: Vec<String>,
}

/// A konnector that runs.
pub(super) struct Running {
    pub(super) id: usize,
    pub(super) engine: EngineHandle,
}

pub(super) struct Run {
    pub(super) world: World,
    /// The first leads; the others believe to.
    pub(super) running: Vec<Running>,
}

/// Nobody listens to problems; what counts is on the objects.
struct Nobody;

impl ProblemSink for Nobody {
    fn raised(&self, _object: &ObjectRef, _problem: &Problem) {}
    fn solved(&self, _object: &ObjectRef) {}
}

/// Plays what follows from a seed.
pub(super) fn play(seed: u64, traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without IO needs nothing");
    runtime.block_on(async {
        let mut run = Run {
            world: world(seed, traced),
            running: Vec::new(),
        };
        run.all().await;
        let mut sim = run.world.lock();
        Outcome {
            hash: sim.trace.hash(),
            requests: sim.requests,
            writes: sim.written.len(),
            violation: sim.violation.take(),
            lines: sim.trace.lines.take().unwrap_or_default(),
        }
    })
}

impl Run {
    async fn all(&mut self) {
        let happenings = {
            let mut sim = self.world.lock();
            let mode = sim.mode.clone();
            sim.trace
                .note("run", "begins", &Key::default(), || format!("{mode:?}"));
            for key in mode.crowd() {
                users::create(&mut sim, &key);
            }
            sim.random.random_range(10..40)
        };
        self.start();
        for _ in 0..happenings {
            self.happen().await;
            self.world.stir();
            self.pause().await;
            self.bury().await;
            if self.world.lock().violation.is_some() {
                return;
            }
        }
        rest::check(self).await;
    }

    async fn happen(&mut self) {
        let kind = self.world.lock().random.random_range(0..100);
        match kind {
            0..40 => users::act(&mut self.world.lock()),
            40..58 => operators::act(&mut self.world.lock()),
            58..78 => accidents::act(&mut self.world.lock()),
            78 => self.suspend(),
            79 => accidents::lose_definition(&mut self.world.lock()),
            80 | 81 => accidents::vanish(&mut self.world.lock()),
            82 => accidents::lose_namespace(&self.world),
            83 | 84 => accidents::reap_namespaces(&self.world),
            85 => accidents::delete_namespace(&mut self.world.lock()),
            86..91 => {
                let mut sim = self.world.lock();
                let points = sim.random.random_range(0..30);
                sim.konnectors[self.running[0].id].crash_in = Some(points);
            }
            91 => self.restart().await,
            92 => accidents::restore(&mut self.world.lock()),
            93 | 94 => self.rival(),
            95 | 96 => self.lose_lease(),
            97 => {
                let jump = self.world.lock().random.random_range(1..600);
                self.note("clock", "jumps");
                tokio::time::advance(Duration::from_secs(jump)).await;
            }
            _ => self.release_deletes(),
        }
    }

    async fn pause(&self) {
        let wait = {
            let random = &mut self.world.lock().random;
            let longest = [0, 0, 1, 5, 20, 200, 2_000, 30_000][random.random_range(0..8)];
            random.random_range(0..=longest)
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }

    fn note(&self, who: &'static str, what: &str) {
        let mut sim = self.world.lock();
        sim.trace.note(who, what, &Key::default(), String::new);
    }

    /// Starts a konnector that leads.
    pub(super) fn start(&mut self) {
        let id = {
            let mut sim = self.world.lock();
            sim.konnectors.push(Konnector {
                dead: false,
                crash_in: None,
                leads_until: None,
                started: Instant::now(),
                released: false,
                listed: [None, None],
                heard: [0, 0],
                orphans_deleted: Default::default(),
            });
            sim.konnectors.len() - 1
        };
        self.note("konnector", "starts");
        let (config, ports) = self.parts(id);
        let engine = start(config, ports, &CancellationToken::new());
        engine.suspend(self.world.lock().suspended);
        self.running.insert(0, Running { id, engine });
    }

    fn parts(&self, id: usize) -> (EngineConfig, Ports) {
        let mut sim = self.world.lock();
        let config = EngineConfig {
            binding: "widgets".into(),
            cluster_namespace: CLUSTER_NAMESPACE.into(),
            cluster_namespace_uid: "u".into(),
            resource: Resource {
                group: "example.io".into(),
                version: "v1".into(),
                plural: "widgets".into(),
                kind: "Widget".into(),
            },
            scope: sim.mode.scope,
            informer_scope: sim.mode.informer_scope,
            isolation: sim.mode.isolation,
            schema: open_api(),
            has_status_subresource: sim.mode.status_subresource,
            skip_keys: SkipKeys::default(),
            seed: sim.random.random(),
        };
        let connection = |side| Connection {
            world: Arc::clone(&self.world),
            konnector: id,
            side,
            limiter: Limiter::new(),
        };
        let leads = Arc::clone(&self.world);
        let ports = Ports {
            consumer: Arc::new(connection(Side::Consumer)),
            provider: Arc::new(connection(Side::Provider)),
            namespaces: Arc::new(SimNamespaces {
                world: Arc::clone(&self.world),
                konnector: id,
            }),
            problems: Arc::new(Nobody),
            referrers: None,
            fence: Arc::new(move || leads.lock().leads(id)),
            breaker: Breaker::default(),
            definition: Arc::new(connection(Side::Consumer)),
            metrics: Arc::new(NoMetrics),
        };
        (config, ports)
    }

    /// Those that crashed or lost the lease are gone, and somebody leads.
    pub(super) async fn bury(&mut self) {
        let mut left = Vec::new();
        for running in std::mem::take(&mut self.running) {
            let is_leader = left.is_empty();
            let mut sim = self.world.lock();
            let this = &mut sim.konnectors[running.id];
            let over = this
                .leads_until
                .is_some_and(|until| until <= Instant::now());
            if over && is_leader {
                // Nobody else took it.
                this.leads_until = None;
            }
            if this.dead || (over && !is_leader) {
                this.dead = true;
                drop(running.engine);
            } else {
                left.push(running);
            }
        }
        self.running = left;
        if self.running.is_empty() {
            let downtime = {
                let mut sim = self.world.lock();
                let longest = [0, 100, 10_000, 300_000][sim.random.random_range(0..4)];
                sim.random.random_range(0..=longest)
            };
            tokio::time::sleep(Duration::from_millis(downtime)).await;
            self.start();
        }
    }

    /// A clean stop and a new start.
    pub(super) async fn restart(&mut self) {
        self.note("konnector", "is restarted");
        for running in std::mem::take(&mut self.running) {
            running.engine.stop().await;
            self.world.lock().konnectors[running.id].dead = true;
        }
        self.start();
    }

    /// Another one leads, and the old one has not noticed yet.
    fn rival(&mut self) {
        self.note("konnector", "gets a rival");
        {
            let mut sim = self.world.lock();
            let left = sim.random.random_range(0..15_000);
            let until = Some(Instant::now() + Duration::from_millis(left));
            for running in &self.running {
                sim.konnectors[running.id].leads_until = until;
            }
        }
        self.start();
    }

    /// The lease runs out and is taken again by the same one.
    fn lose_lease(&mut self) {
        self.note("konnector", "loses the lease for a while");
        let mut sim = self.world.lock();
        let left = sim.random.random_range(0..2_000);
        let until = Some(Instant::now() + Duration::from_millis(left));
        sim.konnectors[self.running[0].id].leads_until = until;
    }

    /// A person suspends the binding, or resumes it.
    fn suspend(&self) {
        self.note("user", "suspends or resumes");
        let mut sim = self.world.lock();
        sim.suspended = !sim.suspended;
        for running in &self.running {
            running.engine.suspend(sim.suspended);
        }
    }

    pub(super) fn release_deletes(&mut self) {
        self.note("user", "releases deletions");
        let running = &self.running[0];
        self.world.lock().konnectors[running.id].released = true;
        running.engine.release_deletes(true);
    }
}
