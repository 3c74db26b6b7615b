//! Sets the claims of one binding up, and says how far they are. IO: access reviews; starts engines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube_bind_crds::api::{APIServiceBinding, APIServiceExport, GroupResource, PermissionClaim};
use kube_bind_crds::claims::{MAX_REFERENCES, is_claimable};
use kube_bind_crds::consumer_rights::claim_rules;
use kube_bind_crds::schema;

use super::facts::{ClaimFacts, ClaimState, KindFacts};
use super::look::Look;
use super::subtree::{ActiveClaim, Subtree, references_to};
use crate::claims::{ClaimsEngine, Ending, Origin, Rule};
use crate::fault;
use crate::provider::Provider;
use crate::recorded;

impl Look<'_> {
    /// Sets the claims up, before the engines that feed them.
    pub(super) async fn claims(
        &mut self,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        subtree: &mut Subtree,
    ) -> (Vec<ClaimFacts>, Vec<ActiveClaim>) {
        let (mut facts, mut active, mut pending) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen: BTreeSet<&GroupResource> = BTreeSet::new();
        for claim in &export.spec.permission_claims {
            let state = if seen.insert(&claim.group_resource) {
                let (state, engine) = self.claim(provider, export, claim, subtree).await;
                active.extend(engine);
                if let ClaimState::MissingRights(_) | ClaimState::Refused(_) = &state {
                    pending.push(claim.clone());
                }
                state
            } else {
                ClaimState::Refused("it is claimed more than once".into())
            };
            facts.push(ClaimFacts {
                name: schema::name(&claim.group_resource)
                    .trim_end_matches(".core")
                    .to_owned(),
                state,
            });
        }
        provider
            .tell_claims(&self.binding.name_any(), pending)
            .await;
        (facts, active)
    }

    /// Has what claims made be looked for that were others when they were recorded. Returns the kinds of which
    /// nothing is left; of others it stays on record how they were.
    pub(super) async fn recall(
        &mut self,
        export: &APIServiceExport,
        active: &[ActiveClaim],
    ) -> Vec<GroupResource> {
        let mut recalled: BTreeMap<&GroupResource, bool> = BTreeMap::new();
        let recorded = self.binding.status.iter();
        for former in recorded.flat_map(|status| &status.permission_claims) {
            let resource = &former.group_resource;
            let claims = &export.spec.permission_claims;
            if claims.contains(former) || !claims.iter().any(|c| c.group_resource == *resource) {
                continue;
            }
            // By a claim that is not in force yet nothing can be judged.
            let active = active.iter().find(|a| a.claim.group_resource == *resource);
            let is_gone = match active {
                Some(active) => self.recall_one(&active.engine, former).await,
                None => false,
            };
            *recalled.entry(resource).or_insert(true) &= is_gone;
        }
        let recalled = recalled.into_iter().filter(|(_, all)| *all);
        recalled.map(|(resource, _)| resource.clone()).collect()
    }

    /// Has what an earlier claim made be looked for, and says whether nothing is left of it.
    async fn recall_one(&mut self, engine: &ClaimsEngine, former: &PermissionClaim) -> bool {
        let name = self.binding.name_any();
        let former_rule = ending(self.binding, former, Ending::Delete);
        match engine.recall(&name, &former_rule).await {
            Ok(is_gone) => is_gone,
            Err(error) => {
                tracing::warn!(
                    error = fault::describe(&error),
                    binding.name = %name,
                    "failed to look for what an earlier claim on {} made",
                    former.group_resource.resource
                );
                self.failed = true;
                false
            }
        }
    }

    /// Takes the claims back that the export does not make any more. Returns the kinds of which nothing is
    /// left.
    pub(super) async fn take_back(
        &mut self,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        subtree: &Subtree,
    ) -> Vec<GroupResource> {
        let name = self.binding.name_any();
        let claims = export.spec.permission_claims.iter();
        let exported: BTreeSet<&GroupResource> = claims.map(|c| &c.group_resource).collect();
        let is_leaving = |resource: &GroupResource| !exported.contains(resource);
        let engines = async || {
            let mut engines = provider.running_claims().await;
            engines.retain(|engine| is_leaving(&engine.resource()) && engine.knows(&name));
            engines
        };
        let mut gone = Vec::new();
        if subtree.is_suspended() {
            for engine in engines().await {
                engine.suspend(&name, true);
            }
            return gone;
        }
        let mut not_looked_for = BTreeSet::new();
        let status = self.binding.status.iter();
        let recorded = status.flat_map(recorded::in_force);
        for claim in recorded.filter(|claim| is_leaving(&claim.group_resource)) {
            let resource = &claim.group_resource;
            let Some(engine) = provider.claims(&self.supervisor.ctx, resource).await else {
                gone.push(resource.clone());
                continue;
            };
            engine.claim(&name, ending(self.binding, claim, Ending::Delete));
            for former in recorded::former(self.binding, resource) {
                if !self.recall_one(&engine, former).await {
                    not_looked_for.insert(resource);
                }
            }
        }
        for engine in engines().await {
            engine.end(&name);
            let is_known = !not_looked_for.contains(&engine.resource());
            if is_known && engine.copies_of(&name) == Some(0) {
                // What it watched for that must not keep anything from others.
                engine.forget(&name);
                gone.push(engine.resource());
            }
        }
        gone
    }

    /// Tells the claims of kinds that no engine serves, because there is nothing of ours to serve: nobody
    /// else does, and until all have been heard nothing is taken back for any binding.
    pub(super) async fn tell_claims(
        &self,
        export: &APIServiceExport,
        claims: &[ActiveClaim],
        kinds: &[KindFacts],
        subtree: &Subtree,
    ) {
        let running = subtree.running();
        for resource in export.spec.resources.iter().map(|r| &r.group_resource) {
            let name = schema::name(resource);
            let found = kinds.iter().find(|kind| kind.name == name);
            let Some(state) = found.map(|kind| &kind.state) else {
                continue;
            };
            if running.contains(resource) || state.may_hide_objects(false) {
                continue;
            }
            let crd = format!("{}.{}", resource.resource, resource.group);
            let installed = match self.supervisor.crds.get(&crd).await {
                Ok(found) => found.is_some_and(|crd| self.owner.owns(&crd)),
                Err(_) => true,
            };
            if state.may_hide_objects(installed) {
                continue;
            }
            let origin = Origin {
                binding: self.binding.name_any(),
                resource: resource.clone(),
            };
            for active in claims {
                active.engine.refers_nowhere(&origin);
            }
        }
    }

    async fn claim(
        &mut self,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        claim: &PermissionClaim,
        subtree: &mut Subtree,
    ) -> (ClaimState, Option<ActiveClaim>) {
        if !is_claimable(&claim.group_resource) {
            return (ClaimState::Unsupported, None);
        }
        let name = self.binding.name_any();
        if claim.selector.references.len() > MAX_REFERENCES {
            suspend(provider, claim, &name).await;
            let why = format!("it has more than {MAX_REFERENCES} references");
            return (ClaimState::Refused(why), None);
        }
        let rule = match Rule::of(self.binding, claim) {
            Ok(rule) => rule,
            Err(invalid) => {
                suspend(provider, claim, &name).await;
                return (ClaimState::Refused(invalid.to_string()), None);
            }
        };
        if let Some(engine) = running(provider, claim).await
            && engine.denied(&name).is_some()
        {
            // The rights may be what changed.
            subtree.granted.clear();
        }
        let rules = claim_rules(std::slice::from_ref(claim));
        let mut missing = Vec::new();
        for namespace in rule.reviewed() {
            missing.extend(self.missing(&rules, namespace, subtree).await);
        }
        if !missing.is_empty() {
            suspend(provider, claim, &name).await;
            return (ClaimState::MissingRights(missing), None);
        }
        let ctx = &self.supervisor.ctx;
        let Some(engine) = provider.claims(ctx, &claim.group_resource).await else {
            return (ClaimState::Unsupported, None);
        };
        for resource in &export.spec.resources {
            let origin = Origin {
                binding: name.clone(),
                resource: resource.group_resource.clone(),
            };
            let refers = !references_to(claim, &resource.group_resource, export).is_empty();
            if refers && !engine.expects(&origin) {
                engine.expect(&origin);
            }
        }
        // Only now: what is claimed by reference only would count as unclaimed.
        engine.claim(&name, rule);
        engine.watch_over(&name, subtree.breaker());
        let failing = engine.failing(&name, ctx.clock.monotonic());
        self.again = failing.again.map_or(self.again, |a| self.again.min(a));
        let state = match failing.why {
            Some(why) => ClaimState::Failing(why),
            None if engine.listed(&name) => ClaimState::Running,
            None => ClaimState::Listing,
        };
        let active = ActiveClaim {
            claim: claim.clone(),
            engine,
        };
        (state, Some(active))
    }
}

/// A claim whose time is over.
pub(super) fn ending(binding: &APIServiceBinding, claim: &PermissionClaim, how: Ending) -> Rule {
    // Whatever the annotation says now: what is marked is in those namespaces or in some.
    let rule = Rule::of(binding, claim).unwrap_or_else(|_| Rule::new(claim, None));
    rule.end(how)
}

async fn running(provider: &Provider, claim: &PermissionClaim) -> Option<Arc<ClaimsEngine>> {
    let engines = provider.running_claims().await;
    let mut engines = engines.into_iter();
    engines.find(|engine| engine.resource() == claim.group_resource)
}

/// What cannot be synced for now is left as it is.
async fn suspend(provider: &Provider, claim: &PermissionClaim, binding: &str) {
    if let Some(engine) = running(provider, claim).await {
        engine.suspend(binding, true);
    }
}
