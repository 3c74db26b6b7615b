//! Brings the kinds and the claims of one binding as far as possible, and says how far that is. IO:
//! access reviews, applies of CRDs; starts and stops engines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::ResourceExt;
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceExport, BoundSchema, GroupResource, PermissionClaim,
};
use kube_bind_crds::claims::is_claimable;
use kube_bind_crds::consumer_rights::binding_rules;
use kube_bind_crds::schema;

use super::Error;
use super::crds::{self, Applied, Outcome, Owner, Step};
use super::facts::{ClaimFacts, ClaimState, KindFacts, KindState};
use super::rights;
use super::subtree::{ActiveClaim, Subtree, references_to};
use crate::claims::Origin;
use crate::fault;
use crate::provider::Provider;
use crate::supervisor::Supervisor;

/// When a CRD is looked at again that changed under our hands.
const SOON: Duration = Duration::from_millis(100);
/// Rights cannot be watched: how often they are asked for at most.
const RIGHTS: Duration = Duration::from_secs(2);

/// One look at one binding.
pub(super) struct Look<'a> {
    pub(super) supervisor: &'a Arc<Supervisor>,
    pub(super) binding: &'a APIServiceBinding,
    pub(super) owner: Owner,
    /// When to look again if nothing happens.
    pub(super) again: Duration,
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
    pub(super) async fn claims(
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
    pub(super) async fn kinds(
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
                    Some(ensured) => {
                        *sync = ensured.state;
                        self.again = ensured.again.map_or(self.again, |a| self.again.min(a));
                    }
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
