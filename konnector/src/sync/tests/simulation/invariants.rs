//! What must hold at every step of every run: looked at when a request is sent, and when it changes
//! something.

use std::time::Duration;

use kube_bind_crds::names;
use serde_json::Value;
use tokio::time::Instant;

use super::super::super::cluster::Key;
use super::super::super::fake::is_terminating;
use super::super::super::metrics::Side;
use super::connection::Op;
use super::mode::CLUSTER_NAMESPACE;
use super::world::Sim;

/// What was decided before a list of the restored side may still be under way for so long.
const UNDER_WAY: Duration = Duration::from_secs(60);
/// Orphans that are always deleted, and the share of all objects beyond which they are not.
const BREAKER: (usize, f64) = (20, 0.3);
/// Deletions within this time belong together.
const WINDOW: Duration = Duration::from_secs(60);

/// A write of a konnector that changed something.
pub(super) struct Write<'a> {
    pub(super) konnector: usize,
    pub(super) side: Side,
    pub(super) key: &'a Key,
    pub(super) op: &'a Op,
    pub(super) before: Option<&'a Value>,
    pub(super) after: Option<&'a Value>,
}

/// A write is sent.
pub(super) fn begin(sim: &Sim, konnector: usize, op: &Op) -> Option<String> {
    if sim.leads(konnector).is_zero() {
        return Some("a write begins without leadership".to_owned());
    }
    if sim.suspended {
        return Some("a write begins while the binding is suspended".to_owned());
    }
    let has_precondition = match op {
        Op::Get | Op::Definition => true,
        Op::Apply(_, body) => {
            body["metadata"]["uid"].is_string() || body["metadata"]["resourceVersion"] == "0"
        }
        Op::JsonPatch(_, operations) => {
            operations[0]["op"] == "test" && operations[0]["path"] == "/metadata/uid"
        }
        Op::MergePatch(body) => {
            let metadata = &body["metadata"];
            // A list is replaced as a whole.
            let replaces = metadata.get("finalizers").is_some();
            metadata["uid"].is_string() && (!replaces || metadata["resourceVersion"].is_string())
        }
        Op::Delete(uid, version) => !uid.is_empty() && !version.is_empty(),
    };
    (!has_precondition).then(|| format!("a write without a precondition: {op:?}"))
}

/// A write has changed something.
pub(super) fn effect(sim: &mut Sim, write: &Write<'_>) -> Option<String> {
    match write.side {
        Side::Provider => on_provider(sim, write),
        Side::Consumer => on_consumer(sim, write),
    }
}

fn on_provider(sim: &mut Sim, write: &Write<'_>) -> Option<String> {
    let key = write.key;
    if let Some(before) = write.before.filter(|before| owner(before).is_none()) {
        return Some(format!("a foreign object is written: {key} {before}"));
    }
    let Op::Delete(..) = write.op else {
        return None;
    };
    let copy = write.before?;
    if write
        .after
        .is_some_and(|after| after["metadata"]["uid"] != copy["metadata"]["uid"])
    {
        return Some(format!("more than the copy is deleted: {key}"));
    }
    let original = sim.mode.original_of(key)?;
    let consumer = sim.servers[Side::Consumer as usize]
        .store
        .objects
        .get(&original);
    let consumer = consumer.filter(|object| object["metadata"]["uid"].as_str() == owner(copy));
    if is_outdated(sim, write.konnector, Side::Consumer) {
        return None;
    }
    match consumer {
        Some(object) if !is_terminating(object) => Some(format!(
            "the copy {key} is deleted, and its object {original} lives"
        )),
        _ if owner(copy).is_some_and(|uid| sim.lost.contains(uid)) => breaker(sim, write.konnector),
        _ => None,
    }
}

/// The copy of an object that vanished is deleted.
fn breaker(sim: &mut Sim, konnector: usize) -> Option<String> {
    let now = Instant::now();
    let objects = sim.servers[Side::Consumer as usize].store.objects.len();
    let lost = sim.lost.len();
    let this = &mut sim.konnectors[konnector];
    if this.released {
        return None;
    }
    this.orphans_deleted.push_back(now);
    while this
        .orphans_deleted
        .front()
        .is_some_and(|at| now - *at > WINDOW)
    {
        this.orphans_deleted.pop_front();
    }
    let deleted = this.orphans_deleted.len();
    // Of the objects that there were before.
    let all = objects + lost;
    (deleted > BREAKER.0 + 1 && deleted as f64 > BREAKER.1 * all as f64 + 1.0)
        .then(|| format!("{deleted} copies of {all} objects are deleted, because they vanished"))
}

fn on_consumer(sim: &Sim, write: &Write<'_>) -> Option<String> {
    let key = write.key;
    let Some(before) = write.before else {
        return Some(format!("a consumer object is created: {key}"));
    };
    if matches!(write.op, Op::Delete(..)) {
        return Some(format!("a consumer object is deleted: {key}"));
    }
    if let Some(after) = write.after
        && essence(before) != essence(after)
    {
        return Some(format!(
            "what is the author's is changed: {key} {before} {after}"
        ));
    }
    let held = |object: &Value| {
        let finalizers = object["metadata"]["finalizers"].as_array();
        finalizers.is_some_and(|all| all.iter().any(|one| one == names::FINALIZER_SYNCER))
    };
    if !held(before) || write.after.is_some_and(held) {
        return None;
    }
    let uid = before["metadata"]["uid"].as_str()?;
    let provider = &sim.servers[Side::Provider as usize].store;
    let copy = provider
        .objects
        .values()
        .find(|copy| owner(copy) == Some(uid))?;
    let creation = sim.creations.get(copy["metadata"]["uid"].as_str()?)?;
    let now = Instant::now();
    let this = &sim.konnectors[write.konnector];
    // Somebody else's copy that came after our list, or one that came when nobody expected it:
    // nobody could know.
    let others = creation.konnector != write.konnector && creation.at >= this.started;
    let unexpected = creation.late && now - creation.at < UNDER_WAY;
    if others || unexpected || is_outdated(sim, write.konnector, Side::Provider) {
        return None;
    }
    Some(format!(
        "the finalizer of {key} is released, and its copy is still there"
    ))
}

/// The side was restored, and this konnector cannot yet know, or has just come to know.
fn is_outdated(sim: &Sim, konnector: usize, side: Side) -> bool {
    let era = sim.servers[side as usize].era;
    let this = &sim.konnectors[konnector];
    era > 0
        && !this.listed[side as usize]
            .is_some_and(|(listed, at)| listed == era && at.elapsed() > UNDER_WAY)
}

/// The uid of the consumer object that a copy of ours belongs to.
pub(super) fn owner(object: &Value) -> Option<&str> {
    let annotations = &object["metadata"]["annotations"];
    let ours = annotations[names::ANNOTATION_CLUSTER_NAMESPACE] == CLUSTER_NAMESPACE;
    annotations[names::ANNOTATION_CONSUMER_UID]
        .as_str()
        .filter(|_| ours)
}

/// What of a consumer object we never change.
fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    object["status"].take();
    let metadata = &mut object["metadata"];
    metadata["managedFields"].take();
    metadata["resourceVersion"].take();
    let finalizers = metadata["finalizers"].as_array_mut().map(std::mem::take);
    let others = finalizers.into_iter().flatten();
    metadata["finalizers"] = others
        .filter(|one| one != names::FINALIZER_SYNCER)
        .collect();
    let annotations = metadata["annotations"].as_object_mut().map(std::mem::take);
    let others = annotations.into_iter().flatten();
    metadata["annotations"] = others
        .filter(|(key, _)| !key.starts_with(names::KEY_PREFIX))
        .collect::<serde_json::Map<_, _>>()
        .into();
    object
}
