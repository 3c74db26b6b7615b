//! Brings one bound kind as far as possible: its rights, its CRD. IO: reads and one apply.

use std::time::{Duration, Instant};

use kube_bind_crds::api::{BoundSchema, GroupResource};
use kube_bind_crds::consumer_rights::binding_rules;
use kube_bind_crds::schema;

use super::crds::{self, Applied, Outcome, Step};
use super::facts::{KindState, SyncState};
use super::hold::{self, Change};
use super::look::{Look, RIGHTS};
use super::subtree::Subtree;
use super::{Error, foreign_api};
use crate::consumer::CrdView;
use crate::fault;

/// When a CRD is looked at again that changed under our hands.
const SOON: Duration = Duration::from_millis(100);
/// When an API of the same name is looked for again.
const FOREIGN: Duration = Duration::from_secs(5);
/// When a definition is sent again that was refused: what refuses it may have changed. Doubles from the
/// first to the second, because all objects may have to be compared with it before.
const REFUSED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));

/// A definition that the consumer does not accept.
pub struct Refusal {
    /// Hash of its schema.
    hash: String,
    /// Uid of the CRD that it would have changed.
    uid: Option<String>,
    /// Why, in words.
    why: String,
    at: Instant,
    /// When it is sent again.
    pause: Duration,
}

impl Refusal {
    /// For how much longer the same is not sent again.
    fn holds(&self, hash: &str, uid: Option<&str>, now: Instant) -> Option<Duration> {
        let left = self
            .pause
            .saturating_sub(now.saturating_duration_since(self.at));
        (self.is_of(hash, uid) && !left.is_zero()).then_some(left)
    }

    fn is_of(&self, hash: &str, uid: Option<&str>) -> bool {
        self.hash == hash && self.uid.as_deref() == uid
    }

    fn state(&self) -> KindState {
        match self.uid {
            Some(_) => KindState::UpdateFailed(self.why.clone(), SyncState::Listing),
            None => KindState::CreateFailed(self.why.clone()),
        }
    }
}

impl Look<'_> {
    /// Brings one CRD as far as possible. `Installed` comes with a state to be filled in.
    pub(super) async fn kind(
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
        let missing = self.missing(&rules, None, subtree).await;
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
        let now = self.now();
        if step != Step::Keep
            && let Some(refusal) = subtree.refused.get(resource)
            && let Some(left) = refusal.holds(&hash, uid, now)
        {
            self.again = self.again.min(left);
            return Ok(refusal.state());
        }
        if let (Step::Update { .. }, Some(installed)) = (&step, &found) {
            let change = Change {
                client: &self.supervisor.ctx.client,
                resource,
                installed,
                wanted: &wanted,
                hash: &hash,
                now: self.now(),
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
                    subtree.refused.remove(resource);
                    Some(view)
                }
                Outcome::Stale => {
                    self.again = SOON;
                    found
                }
                Outcome::Refused(why) => {
                    let before = subtree.refused.get(resource);
                    let pause = before.filter(|before| before.is_of(&hash, uid));
                    let pause = pause.map_or(REFUSED.0, |before| (before.pause * 2).min(REFUSED.1));
                    let refusal = Refusal {
                        hash,
                        uid: uid.map(str::to_owned),
                        why,
                        at: now,
                        pause,
                    };
                    let state = refusal.state();
                    self.again = self.again.min(pause);
                    subtree.refused.insert(resource.clone(), refusal);
                    return Ok(state);
                }
                Outcome::Denied(why) => return Ok(self.denied(why, subtree)),
            }
        };
        Ok(as_it_is(view.as_deref()))
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
