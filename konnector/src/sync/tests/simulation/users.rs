//! What people do on the consumer.

use kube_bind_crds::names;
use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::super::super::cluster::Key;
use super::super::super::fake::legible::UNREADABLE;
use super::super::super::metrics::Side;
use super::world::Sim;

/// A finalizer of somebody else.
pub(super) const OTHERS: &str = "example.io/backup";

/// A person does something to some object.
pub(super) fn act(sim: &mut Sim) {
    let key = sim.mode.any(&mut sim.random);
    let exists = sim.servers[Side::Consumer as usize]
        .store
        .objects
        .contains_key(&key);
    if !exists {
        return create(sim, &key);
    }
    match sim.random.random_range(0..20) {
        0..9 => change(sim, &key),
        9..14 => remove(sim, &key),
        14 => {
            remove(sim, &key);
            let store = &mut sim.server(Side::Consumer).store;
            if !store.objects.contains_key(&key) {
                create(sim, &key);
            }
        }
        15 => edit(sim, "adds a finalizer", &key, |object| {
            let terminating = object["metadata"].get("deletionTimestamp").is_some();
            if !terminating {
                finalizers(object).push(OTHERS.into());
            }
        }),
        16 => let_go(sim, &key),
        17 => edit(sim, "takes our finalizer off", &key, |object| {
            finalizers(object).retain(|one| one != names::FINALIZER_SYNCER);
        }),
        18 => edit(sim, "writes a status", &key, |object| {
            object["status"] = json!({"phase": "invented"});
        }),
        _ => edit(sim, "writes our annotations", &key, |object| {
            let annotations = &mut object["metadata"]["annotations"];
            *annotations = json!({"kube-bind.io/provider-uid": "other", "who": "me"});
        }),
    }
}

pub(super) fn create(sim: &mut Sim, key: &Key) {
    if sim.definition_goes {
        return;
    }
    let mut object = json!({
        "apiVersion": "example.io/v1", "kind": "Widget",
        "metadata": {"name": key.name},
        "spec": spec(&mut sim.random),
    });
    if !key.namespace.is_empty() {
        object["metadata"]["namespace"] = key.namespace.as_str().into();
    }
    if sim.chance(0.5) {
        object["metadata"]["labels"] = labels(&mut sim.random);
    }
    sim.trace
        .note("user", "creates", key, || object["spec"].to_string());
    sim.server(Side::Consumer).store.put(object);
}

pub(super) fn remove(sim: &mut Sim, key: &Key) {
    let store = &mut sim.servers[Side::Consumer as usize].store;
    let Some(object) = store.objects.get(key) else {
        return;
    };
    let uid = object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    sim.trace.note("user", "deletes", key, String::new);
    let _ = store.delete(key, &uid, None);
}

fn change(sim: &mut Sim, key: &Key) {
    let random = &mut sim.random;
    let (kind, number) = (random.random_range(0..13), random.random_range(0..100));
    let fresh = match kind {
        0..3 => spec(random),
        3 | 4 => labels(random),
        _ => Value::Null,
    };
    edit(sim, "changes", key, |object| match kind {
        0..3 => object["spec"] = fresh,
        3 => object["metadata"]["labels"] = fresh,
        4 => object["metadata"]["annotations"] = fresh,
        5 => object["spec"]["options"] = json!({}),
        6 => drop(
            object["spec"]
                .as_object_mut()
                .map(|spec| spec.remove("options")),
        ),
        7 => object["spec"]["options"][format!("o{}", number % 3)] = number.to_string().into(),
        8 => object["spec"]["note"] = Value::Null,
        9 => object["data"] = json!({"key": number.to_string()}),
        10 => drop(object.as_object_mut().map(|object| object.remove("data"))),
        11 => object["spec"]["color"] = UNREADABLE.into(),
        _ => object["spec"] = json!({"color": "refused"}),
    });
}

/// Somebody else has done what the own finalizer stands for.
pub(super) fn let_go(sim: &mut Sim, key: &Key) {
    edit(sim, "takes a finalizer off", key, |object| {
        finalizers(object).retain(|one| one != OTHERS);
    });
}

/// Some content, with what gave trouble before.
fn spec(random: &mut SmallRng) -> Value {
    let mut spec = json!({"size": random.random_range(0..5)});
    for _ in 0..random.random_range(0..4) {
        match random.random_range(0..8) {
            0 => spec["size"] = 9_007_199_254_740_993_i64.into(),
            1 => spec["weight"] = json!(0.1),
            2 => spec["weight"] = json!(1e21),
            3 => spec["options"] = json!({"o0": "x", "o1": "y"}),
            4 => spec["options"] = json!({}),
            5 => spec["tags"] = json!(["b", "a"]),
            6 => spec["tags"] = json!([]),
            _ => spec["note"] = Value::Null,
        }
    }
    spec
}

fn labels(random: &mut SmallRng) -> Value {
    let mut labels = json!({});
    for _ in 0..random.random_range(0..3) {
        let (key, value) = (random.random_range(0..3), random.random_range(0..3));
        labels[format!("l{key}")] = value.to_string().into();
    }
    labels
}

pub(super) fn finalizers(object: &mut Value) -> &mut Vec<Value> {
    let finalizers = &mut object["metadata"]["finalizers"];
    if !finalizers.is_array() {
        *finalizers = json!([]);
    }
    finalizers.as_array_mut().expect("it was made one")
}

fn edit(sim: &mut Sim, what: &'static str, key: &Key, change: impl FnOnce(&mut Value)) {
    let changed = sim.servers[Side::Consumer as usize]
        .store
        .change(key, change);
    sim.trace.note("user", what, key, || {
        changed.map(|object| object.to_string()).unwrap_or_default()
    });
}
