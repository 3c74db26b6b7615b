//! What runs for one binding: an engine per bound kind, and what was last applied and granted.
//! Engines are started and stopped here; the reads and writes are theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube_bind_crds::api::{
    APIServiceExport, BoundSchema, GroupResource, PermissionClaim, SelectorReference,
};
use kube_bind_crds::claims::reference_allowed;
use kube_bind_crds::schema;
use serde_json::json;

use super::crds::Applied;
use super::facts::SyncState;
use crate::claims::{ClaimSink, ClaimsEngine, Origin, Target};
use crate::patience::Patience;
use crate::provider::Provider;
use crate::supervisor::Supervisor;
use crate::sync::{
    self, Counts, EngineConfig, EngineHandle, KubeCluster, Ports, ReferrerSink, Resource,
};

/// What runs for one binding.
#[derive(Default)]
pub struct Subtree {
    /// What was last applied, by name of the CRD.
    pub applied: HashMap<String, Applied>,
    /// Rules that were found granted.
    pub granted: BTreeSet<String>,
    /// The binding was ready once since this replica leads.
    pub settled: bool,
    /// The provider that everything here belongs to.
    pub provider: Option<Arc<Provider>>,
    engines: BTreeMap<GroupResource, Running>,
    /// Copies of objects that vanished may go, however many they are.
    release_deletes: bool,
}

struct Running {
    /// Everything that the engine was started with; another one means another engine.
    fingerprint: String,
    handle: EngineHandle,
    /// With each of the two sides.
    patience: [Patience; 2],
}

/// How an engine is doing.
pub struct Ensured {
    /// What is said about it.
    pub state: SyncState,
    /// When that changes by time alone.
    pub again: Option<Duration>,
}

/// A claim that is granted and synced.
#[derive(Clone)]
pub struct ActiveClaim {
    /// The claim.
    pub claim: PermissionClaim,
    /// The engine of its kind.
    pub engine: Arc<ClaimsEngine>,
}

/// References of a claim to objects of one bound kind.
pub fn references_to(
    claim: &PermissionClaim,
    resource: &GroupResource,
    export: &APIServiceExport,
) -> Vec<SelectorReference> {
    let exported: Vec<GroupResource> = export
        .spec
        .resources
        .iter()
        .map(|r| r.group_resource.clone())
        .collect();
    claim
        .selector
        .references
        .iter()
        .filter(|reference| {
            reference.group_resource == *resource
                && reference_allowed(reference, export.spec.isolation, &exported)
        })
        .cloned()
        .collect()
}

impl Subtree {
    /// Kinds with an engine.
    pub fn running(&self) -> Vec<GroupResource> {
        self.engines.keys().cloned().collect()
    }

    /// What an engine knows of its objects; `None` before its first lists.
    pub fn counts(&self, resource: &GroupResource) -> Option<Counts> {
        let counts = self.engines.get(resource)?.handle.counts();
        counts.listed.then_some(counts)
    }

    /// Whether a person said that objects which vanished were meant to.
    pub fn release_deletes(&mut self, released: bool) {
        self.release_deletes = released;
        for running in self.engines.values() {
            running.handle.release_deletes(released);
        }
    }

    /// Makes sure that the engine of a kind runs with what is bound now, and says how it is doing.
    pub async fn ensure(
        &mut self,
        supervisor: &Arc<Supervisor>,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        bound: &BoundSchema,
        resource: &GroupResource,
        claims: &[ActiveClaim],
    ) -> Option<Ensured> {
        let fingerprint = fingerprint(provider, export, bound, resource, claims);
        let current = self.engines.get(resource).is_some_and(|running| {
            running.fingerprint == fingerprint
                // An engine that panicked has dropped its counts.
                && running.handle.subscribe().has_changed().is_ok()
        });
        if !current {
            self.stop(resource).await;
            let handle = start(supervisor, provider, export, bound, resource, claims)?;
            handle.release_deletes(self.release_deletes);
            self.engines.insert(
                resource.clone(),
                Running {
                    fingerprint,
                    handle,
                    patience: Default::default(),
                },
            );
        }
        self.state(resource, supervisor.ctx.clock.monotonic())
    }

    fn state(&mut self, resource: &GroupResource, now: Instant) -> Option<Ensured> {
        let running = self.engines.get_mut(resource)?;
        let counts = running.handle.counts();
        if counts.consumer_failing.is_some() {
            // The rights may be what changed.
            self.granted.clear();
        }
        if let (Some(_), Some(provider)) = (&counts.provider_failing, &self.provider) {
            provider.link.check();
        }
        Some(judge(&mut running.patience, counts, now))
    }

    /// Stops the engine of a kind, and waits for its requests.
    pub async fn stop(&mut self, resource: &GroupResource) {
        if let Some(running) = self.engines.remove(resource) {
            running.handle.stop().await;
        }
    }

    /// Stops all engines.
    pub async fn stop_all(&mut self) {
        for resource in self.running() {
            self.stop(&resource).await;
        }
    }
}

/// What is said about an engine: what fails for a moment only is not.
fn judge(patience: &mut [Patience; 2], counts: Counts, now: Instant) -> Ensured {
    let mut again: Option<Duration> = None;
    let failing = [counts.consumer_failing, counts.provider_failing];
    for (patience, why) in patience.iter_mut().zip(failing) {
        let Some(why) = why else {
            patience.works();
            continue;
        };
        let Some(left) = patience.failed(now, now) else {
            let state = SyncState::Failing(why);
            return Ensured { state, again: None };
        };
        again = Some(again.map_or(left, |again| again.min(left)));
    }
    let state = if counts.held {
        SyncState::Held(counts.orphans)
    } else if counts.listed {
        SyncState::Running
    } else {
        SyncState::Listing
    };
    Ensured { state, again }
}

fn fingerprint(
    provider: &Provider,
    export: &APIServiceExport,
    bound: &BoundSchema,
    resource: &GroupResource,
    claims: &[ActiveClaim],
) -> String {
    let references: Vec<_> = claims
        .iter()
        .map(|active| {
            let claim = &active.claim;
            (
                &claim.group_resource,
                references_to(claim, resource, export),
            )
        })
        .collect();
    json!([
        provider.uid,
        export.spec.isolation,
        schema::hash(&bound.spec),
        references,
    ])
    .to_string()
}

fn start(
    supervisor: &Arc<Supervisor>,
    provider: &Arc<Provider>,
    export: &APIServiceExport,
    bound: &BoundSchema,
    resource: &GroupResource,
    claims: &[ActiveClaim],
) -> Option<EngineHandle> {
    let version = schema::synced_version(&bound.spec)?;
    let kind = Resource {
        group: bound.spec.group.clone(),
        version: version.name.clone(),
        plural: bound.spec.names.plural.clone(),
        kind: bound.spec.names.kind.clone(),
    };
    let binding = export.name_any();
    let config = EngineConfig {
        binding: binding.clone(),
        cluster_namespace: provider.cluster_namespace.clone(),
        cluster_namespace_uid: provider.uid.clone(),
        resource: kind.clone(),
        scope: bound.spec.scope,
        informer_scope: bound.spec.informer_scope,
        isolation: export.spec.isolation,
        schema: Arc::new(schema::open_api(version)?.clone()),
        has_status_subresource: version
            .subresources
            .as_ref()
            .is_some_and(|subresources| subresources.get("status").is_some()),
        seed: rand::random(),
    };
    let origin = Origin {
        binding: binding.clone(),
        resource: resource.clone(),
    };
    let targets: Vec<Target> = claims
        .iter()
        .filter_map(|active| {
            let references = references_to(&active.claim, resource, export);
            (!references.is_empty()).then(|| Target {
                engine: active.engine.clone(),
                references,
                run: active.engine.expect(&origin),
            })
        })
        .collect();
    let referrers: Option<Arc<dyn ReferrerSink>> = if targets.is_empty() {
        None
    } else {
        let sink = ClaimSink::new(origin, kind.clone(), export.spec.isolation, targets);
        Some(Arc::new(sink))
    };
    let (leader, fenced) = (supervisor.ctx.leader.clone(), provider.clone());
    let ports = Ports {
        consumer: Arc::new(KubeCluster::new(
            supervisor.consumer_client.clone(),
            supervisor.consumer_limiter.clone(),
            &kind,
        )),
        provider: Arc::new(KubeCluster::new(
            provider.engine_client.clone(),
            provider.limiter.clone(),
            &kind,
        )),
        namespaces: provider.namespaces.clone(),
        problems: supervisor.problems.clone(),
        referrers,
        fence: Arc::new(move || fenced.write_time(&leader)),
    };
    let handle = sync::start(config, ports, &provider.shutdown.token);
    watch_engine(supervisor, provider, binding, &handle);
    Some(handle)
}

/// Has the binding looked at when the engine begins or stops to work.
fn watch_engine(
    supervisor: &Supervisor,
    provider: &Provider,
    binding: String,
    handle: &EngineHandle,
) {
    let mut counts = handle.subscribe();
    let wake = supervisor.ctx.wake.clone();
    let stop = provider.shutdown.token.clone();
    provider
        .shutdown
        .spawn(format!("engine state of {binding}"), async move {
            let view = |counts: &sync::Counts| {
                (
                    counts.listed,
                    counts.consumer_failing.clone(),
                    counts.provider_failing.clone(),
                    counts.objects == 0,
                    (counts.orphans == 0, counts.held),
                )
            };
            let mut seen = view(&counts.borrow_and_update());
            let work = async {
                while counts.changed().await.is_ok() {
                    let now = view(&counts.borrow_and_update());
                    if now != seen {
                        seen = now;
                        wake.binding(&binding);
                    }
                }
                wake.binding(&binding);
            };
            stop.run_until_cancelled(work).await;
        });
}

/// The subtrees of all bindings.
#[derive(Default)]
pub struct Subtrees {
    by_binding: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Subtree>>>>,
}

impl Subtrees {
    /// The subtree of a binding, empty at first.
    pub fn get(&self, binding: &str) -> Arc<tokio::sync::Mutex<Subtree>> {
        let mut all = self
            .by_binding
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.entry(binding.to_owned()).or_default().clone()
    }

    /// Bindings that have one.
    pub fn names(&self) -> Vec<String> {
        let all = self
            .by_binding
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.keys().cloned().collect()
    }

    /// Stops what runs for a binding that is gone.
    pub async fn remove(&self, binding: &str) {
        let removed = self
            .by_binding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(binding);
        if let Some(subtree) = removed {
            let mut subtree = subtree.lock().await;
            subtree.stop_all().await;
            if let Some(provider) = subtree.provider.take() {
                for engine in provider.running_claims().await {
                    engine.forget(binding);
                }
                // Its export has no user any more, and says so with the next heartbeat.
                provider.beat.notify_one();
            }
        }
    }

    /// Stops everything.
    pub async fn stop_all(&self) {
        let all: Vec<_> = {
            let mut all = self
                .by_binding
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            all.drain().map(|(_, subtree)| subtree).collect()
        };
        futures::future::join_all(all.iter().map(async |subtree| {
            subtree.lock().await.stop_all().await;
        }))
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_fails_for_a_moment_is_still_running() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let counts = |failing: Option<&str>| Counts {
            listed: true,
            provider_failing: failing.map(str::to_owned),
            ..Counts::default()
        };
        let throttled = || counts(Some("the API server is throttling"));
        let mut patience = Default::default();
        let first = judge(&mut patience, throttled(), at(0));
        assert_eq!(first.state, SyncState::Running);
        let again = first.again.expect("it is looked at again");
        let back = judge(&mut patience, counts(None), at(2));
        assert_eq!((back.state, back.again), (SyncState::Running, None));
        judge(&mut patience, throttled(), at(10));
        let other_words = counts(Some("connection refused"));
        let lasting = judge(&mut patience, other_words, at(10) + again);
        assert_eq!(
            lasting.state,
            SyncState::Failing("connection refused".into())
        );
    }

    #[tokio::test]
    async fn ending_one_binding_leaves_those_whose_names_begin_like_it() {
        let subtrees = Subtrees::default();
        let (ending, [longer, dotted]) = (
            subtrees.get("widgets"),
            ["widgets2", "widgets.example"].map(|name| subtrees.get(name)),
        );
        subtrees.remove("widgets").await;
        assert!(Arc::ptr_eq(&longer, &subtrees.get("widgets2")));
        assert!(Arc::ptr_eq(&dotted, &subtrees.get("widgets.example")));
        let anew = subtrees.get("widgets");
        assert!(
            !Arc::ptr_eq(&ending, &anew),
            "a binding made anew starts empty"
        );
    }
}
