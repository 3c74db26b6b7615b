//! What goes wrong with servers, watches, namespaces and konnectors.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;
use tokio::time::Instant;

use super::super::super::cluster::Key;
use super::super::super::fake::is_terminating;
use super::super::super::metrics::Side;
use super::mode::NAMESPACES;
use super::world::{Shared, Sim, Weather};
use super::{operators, users};

/// Something goes wrong on one side, or gets better.
pub(super) fn act(sim: &mut Sim) {
    let side = any_side(sim);
    let wait = Duration::from_millis(sim.random.random_range(0..90_000));
    let what = match sim.random.random_range(0..13) {
        0 | 1 => {
            sim.server(side).weather = Weather::default();
            "recovers"
        }
        2 | 3 => {
            sim.server(side).weather.failing = sim.random.random_range(0.05..0.5);
            "fails"
        }
        4 => {
            sim.server(side).weather.slow = sim.random.random_range(0.05..0.5);
            "is slow"
        }
        5 | 6 => {
            sim.server(side).weather.lag = [50, 1_000, 20_000][sim.random.random_range(0..3)];
            "lags"
        }
        7 => {
            sim.server(side).weather.deaf_until = Some(Instant::now() + wait);
            "falls silent"
        }
        8 | 9 => {
            sim.server(side).expiry += 1;
            "forgets positions"
        }
        10 => {
            sim.server(side).repetition += 1;
            "repeats"
        }
        11 => {
            sim.server(side).bookmark += 1;
            "tells its version"
        }
        _ => {
            let server = sim.server(side);
            server.weather.missing = !server.weather.missing;
            "loses the kind or gets it back"
        }
    };
    sim.trace
        .note("server", what, &Key::default(), || format!("{side:?}"));
}

fn any_side(sim: &mut Sim) -> Side {
    if sim.chance(0.5) {
        Side::Consumer
    } else {
        Side::Provider
    }
}

/// All servers work again.
pub(super) fn heal(sim: &mut Sim) {
    for server in &mut sim.servers {
        // A watch that is silent may stay so for a while.
        let deaf_until = server.weather.deaf_until;
        server.weather = Weather {
            deaf_until,
            ..Weather::default()
        };
        server.store.closed_namespaces.clear();
    }
}

/// Consumer objects are gone without a deletion that anybody asked for. A finalizer that was taken off
/// by force shows as an event; what a restored backup does not hold is only missing from the next list.
pub(super) fn vanish(sim: &mut Sim) {
    let all = sim.mode.many && sim.chance(0.7);
    let silently = sim.chance(0.6);
    let keys = if all {
        keys(sim)
    } else {
        vec![sim.mode.any(&mut sim.random)]
    };
    for key in keys {
        if all && sim.chance(0.2) {
            continue;
        }
        if !silently {
            sim.trace
                .note("accident", "makes vanish", &key, String::new);
            sim.server(Side::Consumer).store.vanish(&key);
            continue;
        }
        sim.trace.note("accident", "loses", &key, String::new);
        lose(sim, &key);
        sim.server(Side::Consumer).store.lose(&key);
        sim.server(Side::Consumer).expiry += 1;
    }
}

/// Nobody deleted this object that goes now.
fn lose(sim: &mut Sim, key: &Key) {
    let object = sim.servers[Side::Consumer as usize].store.objects.get(key);
    if let Some(object) = object.filter(|object| !is_terminating(object)) {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        sim.lost.insert(uid.to_owned());
    }
}

/// A server is saved, or goes back to what was saved: objects are older, missing, or back.
pub(super) fn restore(sim: &mut Sim) {
    let side = any_side(sim);
    let Some(snapshot) = sim.server(side).snapshot.take() else {
        sim.trace.note("server", "is saved", &Key::default(), || {
            format!("{side:?}")
        });
        let server = sim.server(side);
        server.snapshot = Some(server.store.snapshot());
        return;
    };
    if side == Side::Consumer {
        let missing = keys(sim)
            .into_iter()
            .filter(|key| !snapshot.0.contains_key(key));
        for key in missing.collect::<Vec<_>>() {
            lose(sim, &key);
        }
    }
    // Some raise the versions, as the manual of etcd says.
    let raised = sim.chance(0.3);
    let server = sim.server(side);
    let highest = server.store.told;
    server.store.restore(snapshot);
    if raised {
        server.store.version = highest + 1_000;
    }
    server.era += 1;
    sim.trace
        .note("server", "is restored", &Key::default(), || {
            format!("{side:?}")
        });
}

pub(super) fn keys(sim: &Sim) -> Vec<Key> {
    let objects = &sim.servers[Side::Consumer as usize].store.objects;
    objects.keys().cloned().collect()
}

/// The CRD on the consumer is deleted, and all objects with it; it is gone when they are, and made anew.
pub(super) fn lose_definition(sim: &mut Sim) {
    let keys = keys(sim);
    if sim.definition_goes {
        sim.definition_goes = !keys.is_empty();
        sim.definition_seen = sim.definition_seen.filter(|_| !keys.is_empty());
        // As long as it is not gone, what a backup brings back is deleted again.
        delete_all(sim, &keys);
        return;
    }
    sim.trace
        .note("accident", "deletes the CRD", &Key::default(), String::new);
    sim.definition_goes = true;
    let lag = Duration::from_secs(u64::from(sim.requests % 3));
    sim.definition_seen = Some(Instant::now() + lag);
    delete_all(sim, &keys);
}

fn delete_all(sim: &mut Sim, keys: &[Key]) {
    for key in keys {
        lose(sim, key);
        users::remove(sim, key);
    }
}

/// A service namespace is deleted with all that is in it; its mapping goes sooner or later.
pub(super) fn lose_namespace(world: &Shared) {
    let mut sim = world.lock();
    let consumer = *NAMESPACES.choose(&mut sim.random).expect("there are two");
    let provider = sim.mode.service_namespace(consumer);
    let (first, closes) = (sim.chance(0.3), sim.chance(0.7));
    if closes {
        sim.trace.note(
            "operator",
            "deletes the namespace",
            &Key::new(&*provider, ""),
            String::new,
        );
        sim.server(Side::Provider)
            .store
            .closed_namespaces
            .insert(provider.clone());
        let copies = sim.servers[Side::Provider as usize].store.objects.keys();
        let copies: Vec<Key> = copies
            .filter(|key| key.namespace == provider)
            .cloned()
            .collect();
        copies
            .iter()
            .for_each(|key| operators::remove(&mut sim, key));
    }
    drop(sim);
    if first || !closes {
        world.unmap(consumer);
    }
}

/// Namespaces that are empty are gone, and may be made anew.
pub(super) fn reap_namespaces(world: &Shared) {
    let mut sim = world.lock();
    let store = &mut sim.servers[Side::Provider as usize].store;
    let objects = &store.objects;
    let is_used = |namespace: &String| objects.keys().any(|key| key.namespace == *namespace);
    let closed = std::mem::take(&mut store.closed_namespaces);
    let (kept, gone): (BTreeSet<_>, BTreeSet<_>) = closed.into_iter().partition(is_used);
    store.closed_namespaces = kept;
    let consumers: Vec<&str> = NAMESPACES
        .into_iter()
        .filter(|consumer| gone.contains(&sim.mode.service_namespace(consumer)))
        .collect();
    drop(sim);
    consumers.iter().for_each(|consumer| world.unmap(consumer));
}

/// A consumer namespace is deleted: all of its objects are.
pub(super) fn delete_namespace(sim: &mut Sim) {
    let namespace = *NAMESPACES.choose(&mut sim.random).expect("there are two");
    let objects = sim.servers[Side::Consumer as usize].store.objects.keys();
    let keys: Vec<Key> = objects
        .filter(|key| key.namespace == namespace)
        .cloned()
        .collect();
    keys.iter().for_each(|key| users::remove(sim, key));
}
