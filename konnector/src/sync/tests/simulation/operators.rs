//! What operators and administrators do on the provider.

use kube_bind_crds::names;
use rand::Rng;
use serde_json::{Value, json};

use super::super::super::cluster::Key;
use super::super::super::fake::is_terminating;
use super::super::super::fake::legible::UNREADABLE;
use super::super::super::metrics::Side;
use super::invariants::owner;
use super::users::finalizers;
use super::world::Sim;

/// The finalizer of the operator.
pub(super) const OPERATOR: &str = "example.io/operator";

/// Somebody does something to some copy, or puts something in its place.
pub(super) fn act(sim: &mut Sim) {
    let original = sim.mode.any(&mut sim.random);
    let key = sim.mode.copy_of(&original);
    let number = sim.random.random_range(0..100);
    let store = &sim.servers[Side::Provider as usize].store;
    let kind = sim.random.random_range(0..16);
    let Some(object) = store.objects.get(&key) else {
        if kind < 3 {
            foreign(sim, &key);
        }
        return;
    };
    if owner(object).is_none() {
        if kind < 5 {
            sim.trace
                .note("operator", "takes its own away", &key, String::new);
            sim.server(Side::Provider).store.vanish(&key);
        }
        return;
    }
    match kind {
        0..5 => edit(sim, "sets the status", &key, |copy| {
            copy["status"] = match number % 8 {
                0 | 1 => json!({}),
                2 | 3 => json!({"n": 9_007_199_254_740_993_i64, "list": []}),
                4 => json!({"phase": UNREADABLE}),
                _ => json!({"n": number, "conditions": [{"type": "Ready", "status": "True"}]}),
            };
        }),
        5 => edit(sim, "takes the status away", &key, |copy| {
            copy.as_object_mut().map(|copy| copy.remove("status"));
        }),
        6 | 7 => edit(sim, "changes our field", &key, |copy| {
            copy["spec"]["size"] = number.into();
        }),
        8 => edit(sim, "takes our field away", &key, |copy| {
            copy["spec"].as_object_mut().map(|spec| spec.remove("size"));
        }),
        9 => edit(sim, "sets its own field", &key, |copy| {
            copy["spec"]["operators"] = number.to_string().into();
            copy["metadata"]["labels"]["operators"] = number.to_string().into();
        }),
        10 | 11 => edit(sim, "adds a finalizer", &key, |copy| {
            if !is_terminating(copy) && !finalizers(copy).contains(&OPERATOR.into()) {
                finalizers(copy).push(OPERATOR.into());
            }
        }),
        12 => edit(sim, "takes its finalizer off", &key, |copy| {
            finalizers(copy).retain(|one| one != OPERATOR);
        }),
        13 => remove(sim, &key),
        14 => {
            sim.trace
                .note("operator", "makes vanish", &key, String::new);
            sim.server(Side::Provider).store.vanish(&key);
        }
        _ => {
            sim.server(Side::Provider).store.vanish(&key);
            foreign(sim, &key);
        }
    }
}

/// All operators have done what their finalizers stand for.
pub(super) fn finish(sim: &mut Sim) {
    let store = &mut sim.servers[Side::Provider as usize].store;
    let keys: Vec<Key> = store.objects.keys().cloned().collect();
    for key in keys {
        store.change(&key, |copy| finalizers(copy).retain(|one| one != OPERATOR));
    }
}

/// A kubectl delete of a copy.
pub(super) fn remove(sim: &mut Sim, key: &Key) {
    let store = &mut sim.servers[Side::Provider as usize].store;
    if let Some(object) = store.objects.get(key) {
        let uid = object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        sim.trace.note("operator", "deletes", key, String::new);
        let _ = store.delete(key, &uid, None);
    }
}

/// An object of the provider's own, or of another consumer.
fn foreign(sim: &mut Sim, key: &Key) {
    let mut object = json!({
        "apiVersion": "example.io/v1", "kind": "Widget",
        "metadata": {"name": key.name},
        "spec": {"size": 1000},
    });
    if !key.namespace.is_empty() {
        object["metadata"]["namespace"] = key.namespace.as_str().into();
    }
    if sim.chance(0.5) {
        object["metadata"]["annotations"] = json!({
            names::ANNOTATION_CLUSTER_NAMESPACE: "kube-bind-other",
            names::ANNOTATION_CONSUMER_UID: "u",
        });
    }
    sim.trace
        .note("operator", "has an object of its own", key, String::new);
    sim.server(Side::Provider).store.put(object);
}

fn edit(sim: &mut Sim, what: &'static str, key: &Key, change: impl FnOnce(&mut Value)) {
    sim.trace.note("operator", what, key, String::new);
    sim.server(Side::Provider).store.change(key, change);
}
