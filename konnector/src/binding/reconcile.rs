//! One look at one binding: read, decide, act, report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceExport, BoundSchema, GroupResource, PermissionClaim, Phase,
};
use kube_bind_crds::claims::is_claimable;
use kube_bind_crds::consumer_rights::binding_rules;
use kube_bind_crds::schema;

use super::Error;
use super::crds::{self, Applied, Outcome, Owner, Step};
use super::facts::{
    ClaimFacts, ClaimState, ExportFacts, Facts, KindFacts, KindState, ProviderFacts,
};
use super::report;
use super::rights;
use super::subtree::{ActiveClaim, Subtree, references_to};
use super::unbind;
use crate::claims::Origin;
use crate::fault;
use crate::provider::{ConnectProblem, Connection, LinkState, Provider, SecretState};
use crate::supervisor::Supervisor;

/// When a binding is looked at again although nothing happened: events can be missed.
const AGAIN: Duration = Duration::from_secs(600);
/// When a CRD is looked at again that changed under our hands.
const SOON: Duration = Duration::from_millis(100);
/// Rights cannot be watched: how often they are asked for at most.
const RIGHTS: Duration = Duration::from_secs(2);

/// What was read.
pub(super) struct Observed {
    pub(super) connection: Connection,
    pub(super) export: Option<Arc<APIServiceExport>>,
    export_facts: ExportFacts,
}

impl Observed {
    /// The provider if its kube-bind objects are known.
    pub(super) fn provider(&self) -> Option<&Arc<Provider>> {
        let provider = self.connection.provider.as_ref();
        provider.filter(|provider| provider.stores.synced())
    }

    /// What can be said before anything is done.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            secret: self.connection.secret.clone(),
            problem: self.connection.problem.clone(),
            provider: self.connection.provider.as_ref().map(|p| ProviderFacts {
                link: p.link.state(),
                synced: p.stores.synced(),
                heartbeat: p.heartbeat.borrow().clone(),
                export: self.export_facts.clone(),
            }),
            kinds: Vec::new(),
            claims: Vec::new(),
            unbinding: None,
        }
    }
}

/// Looks at a binding.
pub(super) async fn reconcile(
    binding: Arc<APIServiceBinding>,
    supervisor: Arc<Supervisor>,
) -> Result<Action, Error> {
    let name = binding.name_any();
    let subtree = supervisor.subtrees.get(&name);
    let mut subtree = subtree.lock().await;
    let observed = observe(&supervisor, &binding, &subtree);
    if binding.metadata.deletion_timestamp.is_some() {
        return unbind::unbind(&supervisor, &binding, &mut subtree, &observed).await;
    }
    if unbind::add_finalizer(&supervisor.ctx, &binding).await? {
        // The event of that change brings the next look.
        return Ok(Action::await_change());
    }
    let mut look = Look {
        supervisor: &supervisor,
        binding: &binding,
        owner: Owner {
            name: name.clone(),
            uid: binding.uid().unwrap_or_default(),
        },
        again: AGAIN,
    };
    let mut facts = observed.facts();
    if let (Some(provider), Some(export)) = (observed.provider(), &observed.export) {
        subtree.provider = Some(provider.clone());
        let (claims, active) = look.claims(provider, export, &mut subtree).await?;
        facts.claims = claims;
        facts.kinds = look.kinds(provider, export, &active, &mut subtree).await?;
    } else if observed.export_is_gone() {
        subtree.stop_all().await;
    }
    report::binding(&supervisor, &binding, &observed, &facts, &mut subtree).await?;
    report::provider(&supervisor, &binding, &observed, &facts).await?;
    tracing::debug!(binding.name = %name, "looked at APIServiceBinding {name}: {facts:?}");
    supervisor.backoff.reset(&name);
    if !rights_are_missing(&facts) {
        supervisor.rights.reset(&name);
    }
    Ok(Action::requeue(look.again))
}

fn observe(supervisor: &Supervisor, binding: &APIServiceBinding, subtree: &Subtree) -> Observed {
    let name = binding.name_any();
    let mut connection = supervisor
        .connections
        .get(&binding.spec.kubeconfig_secret_ref);
    if let (Some(old), Some(new)) = (&subtree.provider, &connection.provider)
        && old.uid != new.uid
    {
        let words = format!(
            "the kubeconfig leads to another provider than the objects of this binding belong to \
             (uid {}, was {}); to use it, unbind and bind again",
            new.uid, old.uid
        );
        connection = Connection {
            secret: SecretState::Valid,
            problem: Some(ConnectProblem::Link(LinkState::OtherProvider(words))),
            provider: None,
        };
    }
    let stores = connection
        .provider
        .as_ref()
        .map(|provider| &provider.stores);
    let export = stores.and_then(|stores| stores.export(&name));
    let refused = stores
        .and_then(|stores| stores.request(&name))
        .and_then(|request| request.status.clone())
        .filter(|status| status.phase == Phase::Failed);
    let export_facts = match (&export, refused) {
        (Some(_), _) => ExportFacts::Found,
        (None, Some(status)) => ExportFacts::Failed(
            status
                .terminal_message
                .unwrap_or_else(|| "the provider refused the request".to_owned()),
        ),
        (None, None) => ExportFacts::Missing,
    };
    Observed {
        connection,
        export,
        export_facts,
    }
}

impl Observed {
    /// The provider answers, and says that there is no export of this name.
    fn export_is_gone(&self) -> bool {
        self.export.is_none()
            && self
                .provider()
                .is_some_and(|provider| provider.link.state() == LinkState::Up)
    }
}

fn rights_are_missing(facts: &Facts) -> bool {
    let claims = facts.claims.iter();
    let kinds = facts.kinds.iter();
    claims
        .map(|c| matches!(c.state, ClaimState::MissingRights(_)))
        .chain(kinds.map(|k| matches!(k.state, KindState::MissingRights(_))))
        .any(|missing| missing)
}

struct Look<'a> {
    supervisor: &'a Arc<Supervisor>,
    binding: &'a APIServiceBinding,
    owner: Owner,
    again: Duration,
}

impl Look<'_> {
    /// Rights that are missing. What was granted is not asked for again until something is denied.
    async fn missing(
        &mut self,
        rules: &[PolicyRule],
        subtree: &mut Subtree,
    ) -> Result<Vec<String>, Error> {
        let key = serde_json::to_string(rules).expect("rules have only string keys");
        if subtree.granted.contains(&key) {
            return Ok(Vec::new());
        }
        let missing = rights::missing(&self.supervisor.ctx.client, rules)
            .await
            .map_err(|source| Error::Consumer {
                step: "review the konnector's rights",
                source,
            })?;
        if missing.is_empty() {
            subtree.granted.insert(key);
        } else {
            let pause = self.supervisor.rights.next(&self.binding.name_any());
            self.again = self.again.min(pause.max(RIGHTS));
        }
        Ok(missing)
    }

    /// Sets the claims up, before the engines that feed them.
    async fn claims(
        &mut self,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        subtree: &mut Subtree,
    ) -> Result<(Vec<ClaimFacts>, Vec<ActiveClaim>), Error> {
        let (mut facts, mut active) = (Vec::new(), Vec::new());
        for claim in &export.spec.permission_claims {
            let (state, engine) = self.claim(provider, export, claim, subtree).await?;
            facts.push(ClaimFacts {
                name: schema::name(&claim.group_resource)
                    .trim_end_matches(".core")
                    .to_owned(),
                state,
            });
            active.extend(engine);
        }
        let name = self.binding.name_any();
        for engine in provider.running_claims().await {
            let used = active.iter().any(|a| Arc::ptr_eq(&a.engine, &engine));
            if !used && engine.knows(&name) {
                engine.forget(&name);
            }
        }
        Ok((facts, active))
    }

    async fn claim(
        &mut self,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        claim: &PermissionClaim,
        subtree: &mut Subtree,
    ) -> Result<(ClaimState, Option<ActiveClaim>), Error> {
        let selector = &claim.selector;
        let by_reference_only =
            selector.label_selector.is_none() && selector.named_resources.is_empty();
        if !is_claimable(&claim.group_resource) || selector.references.is_empty() {
            return Ok((ClaimState::Unsupported, None));
        }
        let missing = self
            .missing(&binding_rules(&[], std::slice::from_ref(claim)), subtree)
            .await?;
        if !missing.is_empty() {
            return Ok((ClaimState::MissingRights(missing), None));
        }
        let ctx = &self.supervisor.ctx;
        let Some(engine) = provider.claims(ctx, &claim.group_resource).await else {
            return Ok((ClaimState::Unsupported, None));
        };
        for resource in &export.spec.resources {
            let origin = Origin {
                binding: self.binding.name_any(),
                resource: resource.group_resource.clone(),
            };
            let refers = !references_to(claim, &resource.group_resource, export).is_empty();
            if refers && !engine.expects(&origin) {
                engine.expect(&origin);
            }
        }
        let state = match (by_reference_only, engine.listed()) {
            (false, _) => ClaimState::Unsupported,
            (true, true) => ClaimState::Running,
            (true, false) => ClaimState::Listing,
        };
        let active = ActiveClaim {
            claim: claim.clone(),
            engine,
        };
        Ok((state, Some(active)))
    }

    /// Brings all bound kinds as far as possible, and stops engines of kinds that are not bound.
    async fn kinds(
        &mut self,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        claims: &[ActiveClaim],
        subtree: &mut Subtree,
    ) -> Result<Vec<KindFacts>, Error> {
        let mut facts = Vec::new();
        let mut kept = BTreeSet::new();
        for resource in &export.spec.resources {
            let resource = &resource.group_resource;
            let bound = provider.stores.schema(resource);
            let mut state = match &bound {
                Some(bound) => self.kind(resource, bound, subtree).await?,
                None => KindState::NoSchema,
            };
            if let (Some(bound), KindState::Installed(sync)) = (&bound, &mut state) {
                let ensured = subtree
                    .ensure(self.supervisor, provider, export, bound, resource, claims)
                    .await;
                match ensured {
                    Some(ensured) => *sync = ensured,
                    None => state = KindState::Unusable("it has no served version".into()),
                }
            }
            // A kind in trouble keeps the engine that it has, if the CRD is still ours.
            let keep = matches!(
                state,
                KindState::Installed(_)
                    | KindState::UpdateFailed(_)
                    | KindState::NotEstablished
                    | KindState::Terminating
                    | KindState::MissingRights(_)
            );
            if keep {
                kept.insert(resource.clone());
            }
            facts.push(KindFacts {
                name: schema::name(resource),
                state,
            });
        }
        for resource in subtree.running() {
            if !kept.contains(&resource) {
                subtree.stop(&resource).await;
            }
        }
        Ok(facts)
    }

    /// Brings one CRD as far as possible. `Installed` comes with a state to be filled in.
    async fn kind(
        &mut self,
        resource: &GroupResource,
        bound: &BoundSchema,
        subtree: &mut Subtree,
    ) -> Result<KindState, Error> {
        let wanted = match schema::crd_from_bound_schema(bound) {
            Ok(wanted) => wanted,
            Err(error) => return Ok(KindState::Unusable(error.to_string())),
        };
        let name = format!("{}.{}", resource.resource, resource.group);
        let hash = schema::hash(&bound.spec);
        let rules = binding_rules(std::slice::from_ref(resource), &[]);
        let missing = self.missing(&rules, subtree).await?;
        if !missing.is_empty() {
            return Ok(KindState::MissingRights(missing));
        }
        let found = match self.supervisor.crds.get(&name).await {
            Ok(found) => found,
            Err(error) if fault::code(&error) == Some(403) => {
                return Ok(self.denied(fault::describe(&error), subtree));
            }
            Err(source) => {
                return Err(Error::Consumer {
                    step: "read a custom resource definition",
                    source,
                });
            }
        };
        let step = crds::plan(
            found.as_deref(),
            &self.owner,
            &hash,
            subtree.applied.get(&name),
        );
        let uid = match &step {
            Step::Foreign(why) => {
                return Ok(KindState::Foreign(format!(
                    "custom resource definition {name} exists and is not this binding's: {why}"
                )));
            }
            Step::WaitGone => return Ok(KindState::Terminating),
            Step::Keep => None,
            Step::Create => None,
            Step::Update { uid } => Some(uid.as_str()),
        };
        let view = if step == Step::Keep {
            found
        } else {
            let client = &self.supervisor.ctx.client;
            let outcome = crds::write(client, &name, wanted, &self.owner, uid)
                .await
                .map_err(|source| Error::Consumer {
                    step: "apply a custom resource definition",
                    source,
                })?;
            match outcome {
                Outcome::Written(crd) => {
                    let view = self.supervisor.crds.remember(*crd);
                    let applied = Applied {
                        hash,
                        generation: view.generation,
                        uid: view.uid.clone(),
                    };
                    subtree.applied.insert(name, applied);
                    Some(view)
                }
                Outcome::Stale => {
                    self.again = SOON;
                    found
                }
                Outcome::Refused(why) if uid.is_some() => {
                    return Ok(KindState::UpdateFailed(why));
                }
                Outcome::Refused(why) => return Ok(KindState::CreateFailed(why)),
                Outcome::Denied(why) => return Ok(self.denied(why, subtree)),
            }
        };
        Ok(match view {
            Some(crd) if crd.established() => {
                KindState::Installed(super::facts::SyncState::Listing)
            }
            _ => KindState::NotEstablished,
        })
    }

    /// A right that was granted before is not any more.
    fn denied(&mut self, why: String, subtree: &mut Subtree) -> KindState {
        subtree.granted.clear();
        self.again = self.again.min(RIGHTS);
        KindState::MissingRights(vec![why])
    }
}
