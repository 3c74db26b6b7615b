//! Brings the kinds of one binding as far as possible, and says how far that is. IO:
//! access reviews, applies of CRDs; starts and stops engines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::ResourceExt;
use kube_bind_crds::api::{APIServiceBinding, APIServiceExport, BoundSchema, GroupResource};
use kube_bind_crds::consumer_rights::binding_rules;
use kube_bind_crds::schema;

use super::Error;
use super::crds::{self, Applied, Outcome, Owner, Step};
use super::facts::{KindFacts, KindState, NamespaceFacts, SyncState};
use super::hold::{self, Change};
use super::subtree::{ActiveClaim, Subtree};
use super::{foreign_api, grant, rights, unbind};
use crate::consumer::CrdView;
use crate::fault;
use crate::provider::Provider;
use crate::supervisor::Supervisor;

/// When a CRD is looked at again that changed under our hands.
const SOON: Duration = Duration::from_millis(100);
/// How often objects of a kind that left the export are looked after.
const WITHDRAWN: Duration = Duration::from_secs(30);
/// When an API of the same name is looked for again.
const FOREIGN: Duration = Duration::from_secs(5);
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
    /// Rights that are missing, in one namespace or in all. What was granted is not asked for again until
    /// something is denied.
    pub(super) async fn missing(
        &mut self,
        rules: &[PolicyRule],
        namespace: Option<&str>,
        subtree: &mut Subtree,
    ) -> Result<Vec<String>, Error> {
        let changes = self.supervisor.rights_changes();
        if subtree.rights != changes {
            subtree.rights = changes;
            subtree.granted.clear();
        }
        let key = serde_json::to_string(&(rules, namespace)).expect("rules have only string keys");
        if subtree.granted.contains(&key) {
            return Ok(Vec::new());
        }
        let missing = rights::missing(&self.supervisor.ctx.client, rules, namespace)
            .await
            .map_err(|source| Error::Consumer {
                step: "review the konnector's rights",
                source,
            })?;
        if missing.is_empty() {
            subtree.granted.insert(key);
            subtree.wake();
        } else {
            let pause = self.supervisor.rights.next(&self.binding.name_any());
            self.again = self.again.min(pause.max(RIGHTS));
        }
        Ok(missing)
    }

    /// The namespaces that the provider brings along, and whether those that are missing can be made.
    pub(super) async fn namespaces(
        &mut self,
        provider: &Arc<Provider>,
        subtree: &mut Subtree,
    ) -> Result<NamespaceFacts, Error> {
        let brought = provider.namespaces.brought();
        let to_make = brought.iter().filter(|(_, there)| *there == Some(false));
        let to_make: Vec<String> = to_make.map(|(name, _)| name.clone()).collect();
        let missing = match to_make.is_empty() || subtree.is_suspended() {
            true => Vec::new(),
            false => {
                let rules = grant::of_namespaces(&to_make);
                self.missing(&rules, None, subtree).await?
            }
        };
        Ok(NamespaceFacts {
            names: brought.into_iter().map(|(name, _)| name).collect(),
            missing,
        })
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
            let in_force = self.in_force(resource, bound.as_deref(), &state, subtree);
            if let (
                Some(bound),
                KindState::Installed(sync)
                | KindState::Held(_, sync)
                | KindState::Terminating(sync),
            ) = (in_force, &mut state)
            {
                let ensured = subtree
                    .ensure(self.supervisor, provider, export, &bound, resource, claims)
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
                    | KindState::Held(..)
                    | KindState::UpdateFailed(_)
                    | KindState::NotEstablished
                    | KindState::Terminating(_)
            );
            if keep {
                kept.insert(resource.clone());
            }
            let left_behind = bound.iter().flat_map(|bound| schema::left_behind(bound));
            facts.push(KindFacts {
                name: schema::name(resource),
                state,
                left_behind: left_behind.map(str::to_owned).collect(),
            });
        }
        let suspended = subtree.is_suspended();
        facts.extend(self.withdrawn(export, suspended).await?);
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
        let name = schema::name(resource);
        let hash = schema::hash(&bound.spec);
        let rules = binding_rules(std::slice::from_ref(resource), &[]);
        let missing = self.missing(&rules, None, subtree).await?;
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
            // Its objects wait for us, also after a restart.
            Step::WaitGone if found.as_ref().is_some_and(|crd| crd.established()) => {
                return Ok(KindState::Terminating(SyncState::Listing));
            }
            Step::WaitGone => return Ok(KindState::NotEstablished),
            Step::Keep => None,
            Step::Create => None,
            Step::Update { uid } => Some(uid.as_str()),
        };
        if subtree.is_suspended() && step != Step::Keep {
            return Ok(as_it_is(found.as_deref()));
        }
        if step == Step::Create
            && let Some(foreign) = self.foreign_api(&wanted).await?
        {
            return Ok(foreign);
        }
        if let (Step::Update { .. }, Some(installed)) = (&step, &found) {
            let change = Change {
                client: &self.supervisor.ctx.client,
                resource,
                installed,
                wanted: &wanted,
                hash: &hash,
                now: self.supervisor.ctx.clock.monotonic(),
            };
            let held = change.held(subtree.holds.get(resource)).await;
            let held = held.map_err(|source| Error::Consumer {
                step: "compare a changed schema with the objects",
                source,
            })?;
            match held {
                Some(hold) => {
                    self.again = self.again.min(hold::AGAIN);
                    let why = hold.why.clone();
                    subtree.holds.insert(resource.clone(), hold);
                    return Ok(KindState::Held(why, SyncState::Listing));
                }
                None => subtree.holds.remove(resource),
            };
        }
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
        Ok(as_it_is(view.as_deref()))
    }

    /// The bound schema that the sync of a kind runs with: the provider's, or while that is held the
    /// one that is installed.
    fn in_force(
        &self,
        resource: &GroupResource,
        bound: Option<&BoundSchema>,
        state: &KindState,
        subtree: &Subtree,
    ) -> Option<BoundSchema> {
        match state {
            KindState::Held(..) => subtree.holds.get(resource)?.in_force(bound?),
            _ => bound.cloned(),
        }
    }

    /// A kind that another API server brings, under a name for which there is no CRD.
    async fn foreign_api(
        &mut self,
        wanted: &serde_json::Value,
    ) -> Result<Option<KindState>, Error> {
        let client = &self.supervisor.ctx.client;
        let served = foreign_api::served(client, wanted)
            .await
            .map_err(|source| Error::Consumer {
                step: "look for an API of the same name",
                source,
            })?;
        Ok(served.map(|group_version| {
            // It may also be the rest of a definition that has just gone.
            self.again = self.again.min(FOREIGN);
            KindState::Foreign(format!(
                "this cluster serves {} {group_version} already, without a custom resource definition",
                wanted["spec"]["names"]["plural"].as_str().unwrap_or_default()
            ))
        }))
    }

    /// Kinds that were bound and are not exported any more. Their engines are stopped, so what a person
    /// deletes of them is released here.
    async fn withdrawn(
        &mut self,
        export: &APIServiceExport,
        suspended: bool,
    ) -> Result<Vec<KindFacts>, Error> {
        let exported = |kind: &GroupResource| {
            let mut all = export.spec.resources.iter();
            all.any(|resource| resource.group_resource == *kind)
        };
        let status = self.binding.status.iter();
        let gone = status
            .flat_map(|status| &status.bound_schemas)
            .filter(|kind| !exported(kind));
        let mut facts = Vec::new();
        for resource in gone {
            let name = schema::name(resource);
            let crds = &self.supervisor.crds;
            if !crds.is_owned(&name, |owners| self.owner.is_among(owners)) {
                continue;
            }
            self.again = self.again.min(WITHDRAWN);
            match crds.get(&name).await {
                Ok(Some(_)) if suspended => {}
                Ok(Some(crd)) => {
                    let released = unbind::drain(self.supervisor, resource, &crd).await?;
                    tracing::debug!(
                        released,
                        "looked after {name}, which is not exported any more"
                    );
                }
                Ok(None) => continue,
                Err(error) if fault::code(&error) == Some(403) => {}
                Err(source) => {
                    return Err(Error::Consumer {
                        step: "read a custom resource definition",
                        source,
                    });
                }
            }
            facts.push(KindFacts {
                name,
                state: KindState::Withdrawn,
                left_behind: Vec::new(),
            });
        }
        Ok(facts)
    }

    /// A right that was granted before is not any more.
    fn denied(&mut self, why: String, subtree: &mut Subtree) -> KindState {
        subtree.granted.clear();
        self.again = self.again.min(RIGHTS);
        KindState::MissingRights(vec![why])
    }
}

/// How far a kind is with the CRD that is there; its state is filled in later.
fn as_it_is(crd: Option<&CrdView>) -> KindState {
    match crd {
        Some(crd) if crd.established() => KindState::Installed(SyncState::Listing),
        _ => KindState::NotEstablished,
    }
}
