//! What must hold in the end, when nothing more happens: both sides agree, nothing is left over, and
//! nothing is written any more, not even after a restart.

use std::time::Duration;

use kube_bind_crds::names;
use serde_json::{Map, Value};

use super::super::super::cluster::Key;
use super::super::super::fake::is_terminating;
use super::super::super::fake::legible::is_unreadable;
use super::super::super::metrics::Side;
use super::invariants::owner;
use super::run::Run;
use super::users::{OTHERS, finalizers};
use super::world::Sim;
use super::{accidents, operators, users};

/// Longer than every wait of the engine.
const LONG: Duration = Duration::from_secs(900);

pub(super) async fn check(run: &mut Run) {
    recover(run).await;
    tokio::time::sleep(LONG).await;
    let held = run.running[0].engine.counts().held > 0;
    if !judge(run, "in the end", held) {
        return;
    }
    still(run, "at rest", Duration::from_secs(600)).await;
    run.restart().await;
    if held {
        // A new process does not remember what the old one deleted before it held the rest, which may
        // be few enough now. The breaker has been checked at each of these deletions.
        tokio::time::sleep(LONG).await;
    }
    still(run, "after a restart", Duration::from_secs(120)).await;
    judge(run, "after a restart", held);
}

/// All disturbances end.
async fn recover(run: &mut Run) {
    {
        let mut sim = run.world.lock();
        sim.trace
            .note("run", "calms down", &Key::default(), String::new);
        accidents::heal(&mut sim);
        operators::finish(&mut sim);
        sim.suspended = false;
        for konnector in &mut sim.konnectors {
            konnector.crash_in = None;
        }
    }
    run.world.stir();
    for _ in 0..2 {
        run.bury().await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    run.bury().await;
    for running in &run.running {
        running.engine.suspend(false);
    }
    // The CRD is not gone before its objects are.
    let mut rounds = 0;
    while run.world.lock().definition_goes {
        run.release_deletes();
        tokio::time::sleep(LONG).await;
        let mut sim = run.world.lock();
        for key in accidents::keys(&sim) {
            users::let_go(&mut sim, &key);
        }
        operators::finish(&mut sim);
        rounds += 1;
        if rounds > 10 {
            sim.violate("the objects of a CRD that goes stay for ever".to_owned());
        }
        if sim.violation.is_some() {
            return;
        }
        accidents::lose_definition(&mut sim);
        drop(sim);
        run.world.stir();
    }
}

/// Nothing is written for a while.
async fn still(run: &Run, when: &str, time: Duration) {
    let before = run.world.lock().written.len();
    tokio::time::sleep(time).await;
    let mut sim = run.world.lock();
    let objects = &sim.servers[Side::Consumer as usize].store.objects;
    // What the provider refuses is tried again from time to time.
    let refused = |key: &Key| objects.get(key).is_some_and(|object| is_refused(object));
    let written = sim.written[before..].iter().find(|key| !refused(key));
    if let Some(key) = written.cloned() {
        sim.violate(format!("{when} something is written for {key}"));
    }
}

fn judge(run: &Run, when: &str, held: bool) -> bool {
    let counts = run.running[0].engine.counts();
    let mut sim = run.world.lock();
    let wrong = disagreement(&sim, held).or_else(|| {
        let objects = &sim.servers[Side::Consumer as usize].store.objects;
        let terminating = objects.values().filter(|object| is_terminating(object));
        // These wait for somebody else.
        let waiting = terminating.count();
        let settled = (counts.objects, counts.pending) == (objects.len(), waiting);
        (!settled && !held).then(|| format!("{} objects are counted as {counts:?}", objects.len()))
    });
    if let Some(wrong) = wrong {
        sim.violate(format!("{when}: {wrong}"));
    }
    sim.violation.is_none()
}

/// What does not agree.
fn disagreement(sim: &Sim, held: bool) -> Option<String> {
    let [consumer, provider] = &sim.servers;
    for (key, object) in &consumer.store.objects {
        let copy = provider.store.objects.get(&sim.mode.copy_of(key));
        let wrong = pair(object, copy.map(|copy| &**copy), held);
        if let Some(wrong) = wrong {
            return Some(format!("{key}: {wrong}\n  {object}\n  {copy:?}"));
        }
    }
    for (key, copy) in &provider.store.objects {
        if owner(copy).is_none() {
            continue;
        }
        // Whether it may be the copy of an older one has been judged above.
        let original = sim.mode.original_of(key);
        let namespace = original.as_ref().map(|key| key.namespace.as_str());
        let placed = namespace.is_none_or(|name| name.is_empty() || sim.mapped.contains_key(name));
        if !placed {
            // A restored provider has it in a namespace that is not mapped any more.
            continue;
        }
        let lives = original.is_some_and(|key| consumer.store.objects.contains_key(&key));
        if !lives && !held {
            return Some(format!("{key}: a copy without an object is left over"));
        }
    }
    None
}

fn pair(object: &Value, copy: Option<&Value>, held: bool) -> Option<&'static str> {
    let metadata = &object["metadata"];
    let ours = |copy: &&Value| owner(copy).is_some();
    let own = copy.filter(|copy| metadata["uid"].as_str() == owner(copy));
    let finalizer = has_finalizer(object);
    if is_terminating(object) {
        let waits = metadata["finalizers"]
            .as_array()
            .is_some_and(|all| all.contains(&OTHERS.into()));
        return match (waits, finalizer, own) {
            (false, ..) => Some("it is still there"),
            (_, true, _) => Some("our finalizer is still there"),
            (.., Some(_)) => Some("its copy is still there"),
            _ => None,
        };
    }
    let problem = metadata["annotations"]
        .get(names::ANNOTATION_SYNC_PROBLEM)
        .is_some();
    let unreadable = is_unreadable(object) || copy.filter(ours).is_some_and(is_unreadable);
    let refused = is_refused(object) || unreadable;
    let Some(copy) = own else {
        return match copy {
            Some(copy) if ours(&copy) => (!(held || problem && refused))
                .then_some("the copy of an older object is in its place"),
            Some(_) => (!problem).then_some("a conflict is not shown"),
            None if refused => (!problem).then_some("a refusal is not shown"),
            None => Some("it has no copy"),
        };
    };
    if !unreadable && object.get("status") != copy.get("status") {
        return Some("the statuses differ");
    }
    if !finalizer {
        return Some("our finalizer is missing");
    }
    if metadata["annotations"][names::ANNOTATION_PROVIDER_UID] != copy["metadata"]["uid"] {
        return Some("the link leads elsewhere");
    }
    if problem != refused {
        return Some("the shown problem is not the true one");
    }
    if refused {
        return None;
    }
    let parts = [
        (&object["spec"], &copy["spec"], "the specs differ"),
        (&object["data"], &copy["data"], "the data differ"),
        (
            &metadata["labels"],
            &copy["metadata"]["labels"],
            "the labels differ",
        ),
        (
            &metadata["annotations"],
            &copy["metadata"]["annotations"],
            "the annotations differ",
        ),
    ];
    parts
        .into_iter()
        .find(|(ours, theirs, _)| !agree(ours, theirs))
        .map(|(.., what)| what)
}

/// What is not the provider's own agrees, and an absent map is an empty one.
fn agree(object: &Value, copy: &Value) -> bool {
    let empty = Map::new();
    match (object, copy) {
        (Value::Object(_) | Value::Null, Value::Object(_) | Value::Null) => {
            let [object, copy] = [object, copy].map(|side| side.as_object().unwrap_or(&empty));
            let bound = |key: &str| key.starts_with(names::KEY_PREFIX);
            let foreign = |key: &str| bound(key) || matches!(key, "operators" | "default");
            object
                .iter()
                .filter(|(key, _)| !bound(key))
                .all(|(key, value)| agree(value, &copy.get(key).cloned().unwrap_or_default()))
                && copy
                    .iter()
                    .filter(|(key, _)| !foreign(key))
                    .all(|(key, value)| agree(&object.get(key).cloned().unwrap_or_default(), value))
        }
        _ => object == copy,
    }
}

fn is_refused(object: &Value) -> bool {
    object["spec"]["color"] == "refused"
}

fn has_finalizer(object: &Value) -> bool {
    let mut object = object.clone();
    finalizers(&mut object).contains(&names::FINALIZER_SYNCER.into())
}
