//! Starts the engine of one kind with what is bound. The reads and writes are the engine's.

use std::sync::Arc;

use futures::future::BoxFuture;
use kube::ResourceExt;
use kube_bind_crds::api::{
    APIServiceExport, BoundSchema, GroupResource, PermissionClaim, SelectorReference,
};
use kube_bind_crds::claims::reference_allowed;
use kube_bind_crds::schema;
use serde_json::json;

use super::super::tally;
use crate::claims::{ClaimSink, ClaimsEngine, Origin, Target};
use crate::consumer::Crds;
use crate::provider::Provider;
use crate::supervisor::Supervisor;
use crate::sync::{
    self, Breaker, Definition, EngineConfig, EngineHandle, KubeCluster, Ports, ReferrerSink,
    Resource,
};

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

/// Everything that an engine is started with; another one means another engine.
pub(super) fn fingerprint(
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

/// A CRD that is installed.
struct Installed {
    crds: Arc<Crds>,
    name: String,
}

impl Definition for Installed {
    fn is_terminating(&self) -> BoxFuture<'_, Result<bool, sync::Error>> {
        Box::pin(async {
            let crd = self
                .crds
                .read(&self.name)
                .await
                .map_err(sync::Error::from)?;
            Ok(crd.is_none_or(|crd| crd.terminating))
        })
    }

    fn was_seen_terminating(&self) -> bool {
        self.crds.was_seen_terminating(&self.name)
    }
}

/// Starts the engine; `None` without a served version.
pub(super) fn start(
    supervisor: &Arc<Supervisor>,
    provider: &Arc<Provider>,
    export: &APIServiceExport,
    bound: &BoundSchema,
    resource: &GroupResource,
    claims: &[ActiveClaim],
    breaker: Breaker,
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
        skip_keys: supervisor.ctx.syncing.skip_keys.clone(),
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
    let measured = supervisor
        .ctx
        .metrics
        .kind(&binding, &schema::name(resource));
    let (leader, fenced) = (supervisor.ctx.leader.clone(), provider.clone());
    let ports = Ports {
        // Who owns which field matters on copies only.
        consumer: Arc::new(
            KubeCluster::new(
                supervisor.consumer_client.clone(),
                supervisor.consumer_limiter.clone(),
                &kind,
            )
            .without_managed_fields(),
        ),
        provider: Arc::new(KubeCluster::new(
            provider.engine_client.clone(),
            provider.limiter.clone(),
            &kind,
        )),
        namespaces: provider.namespaces.clone(),
        problems: supervisor.problems.clone(),
        referrers,
        fence: Arc::new(move || fenced.write_time(&leader)),
        breaker,
        definition: Arc::new(Installed {
            crds: supervisor.crds.clone(),
            name: schema::name(resource),
        }),
        metrics: measured.clone(),
    };
    let handle = sync::start(config, ports, &provider.shutdown.token);
    measured.follow(handle.subscribe());
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
            let work = async {
                loop {
                    let told = counts.borrow_and_update().clone();
                    // The engine tells at once of what matters at once; the numbers are looked at.
                    while *counts.borrow() == told {
                        match tokio::time::timeout(tally::PAUSE, counts.changed()).await {
                            Ok(Ok(())) => break,
                            Ok(Err(_)) => return wake.binding(&binding),
                            Err(_) => {}
                        }
                    }
                    wake.binding(&binding);
                }
            };
            stop.run_until_cancelled(work).await;
        });
}
