//! The end of a binding. With policy `Delete` its CRDs are deleted while the engines still run, so that
//! every object is deleted on the provider first and its finalizer released; then the claimed copies
//! go. With `Orphan` everything stays and only what is ours on it goes (`orphan`). Last goes our
//! finalizer. What is next is decided purely; IO: one step per look, so that a crash loses nothing.

mod copies;
mod next;
mod orphan;
mod sweep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube_bind_crds::api::{APIServiceBinding, GroupResource};
use kube_bind_crds::names::FINALIZER_BINDING;
use kube_bind_crds::schema;
use kube_bind_crds::switches::{self, DeletionPolicy, SUSPEND};

use super::Error;
use super::crds::{self, Owner};
use super::facts::{SyncState, Unbinding as Message};
use super::reconcile::Observed;
use super::subtree::{ActiveClaim, Subtree};
use super::{mark, report};
use crate::consumer::CrdView;
use crate::fault;
use crate::provider::LinkState;
use crate::recorded;
use crate::supervisor::Supervisor;
use copies::waiting_for;
use next::{Kind, Next, next};
use orphan::{Letting, Outcome};
use sweep::Field;

/// When it is while something was just done whose end nobody tells.
const SOON: Duration = Duration::from_secs(1);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(3);
/// When an unbinding is looked at again although nothing happened.
const AGAIN: Duration = Duration::from_secs(30);

/// Goes one step further with a binding that is being deleted.
pub(super) async fn unbind(
    supervisor: &Arc<Supervisor>,
    binding: &Arc<APIServiceBinding>,
    subtree: &mut Subtree,
    observed: &Observed,
) -> Result<Action, Error> {
    if !binding.finalizers().iter().any(|f| f == FINALIZER_BINDING) {
        return Ok(Action::await_change());
    }
    let owner = Owner {
        name: binding.name_any(),
        uid: binding.uid().unwrap_or_default(),
    };
    let provider = provider(observed);
    let mut look = Unbinding {
        supervisor,
        binding,
        subtree,
        observed,
        owner,
        again: AGAIN,
    };
    let began = supervisor.ctx.clock.monotonic();
    let step = match look.policy() {
        Err(why) => Ok(Some(Message::blocked(why))),
        Ok(DeletionPolicy::Delete) => look.delete(provider).await,
        Ok(DeletionPolicy::Orphan) => look.orphan(provider).await,
    };
    let step = match step {
        Ok(None) => look.release().await.map(|()| None),
        step => step,
    };
    let again = look.again;
    let (message, failed) = match step {
        Ok(None) => return Ok(Action::await_change()),
        Ok(Some(message)) => {
            subtree.patience.works();
            (message, None)
        }
        Err(error) => {
            let now = supervisor.ctx.clock.monotonic();
            if subtree.patience.failed(began, now).is_some() {
                return Err(error);
            }
            (Message::blocked(error.in_words()), Some(error))
        }
    };
    let mut facts = observed.facts();
    facts.unbinding = Some(message);
    report::binding(supervisor, binding, observed, &facts, subtree, false).await?;
    match failed {
        Some(error) => Err(error),
        None => Ok(Action::requeue(again)),
    }
}

/// One look at a binding that is being deleted.
struct Unbinding<'a> {
    supervisor: &'a Arc<Supervisor>,
    binding: &'a Arc<APIServiceBinding>,
    subtree: &'a mut Subtree,
    observed: &'a Observed,
    owner: Owner,
    again: Duration,
}

/// A CRD of the binding that is still there.
type Installed = (GroupResource, Arc<CrdView>);

impl Unbinding<'_> {
    /// What a person wants to become of everything, if anything may be written at all.
    fn policy(&self) -> Result<DeletionPolicy, String> {
        let annotations = self.binding.annotations();
        match switches::suspended(annotations) {
            Ok(false) => {}
            Ok(true) => return Err(format!("it is suspended; take off {SUSPEND} to go on")),
            Err(invalid) => return Err(invalid.to_string()),
        }
        switches::deletion_policy(annotations).map_err(|invalid| invalid.to_string())
    }

    async fn release(&mut self) -> Result<(), Error> {
        self.subtree.stop_all().await;
        mark::release(&self.supervisor.ctx, self.binding).await
    }

    /// The CRD of a kind if it is ours, or why that cannot be known.
    async fn crd(
        &self,
        resource: &GroupResource,
    ) -> Result<Result<Option<Arc<CrdView>>, String>, Error> {
        let crds = &self.supervisor.crds;
        let name = schema::name(resource);
        match crds.get(&name).await {
            Ok(crd) => Ok(Ok(crd.filter(|crd| self.owner.owns(crd)))),
            // Enough to know that there is nothing of ours; otherwise the rights are needed.
            Err(error) if fault::code(&error) == Some(403) => {
                let ours = crds.is_owned(&name, |owners| self.owner.is_among(owners));
                Ok(if ours {
                    let why = fault::describe(&error);
                    Err(format!("the konnector lacks rights: {why}"))
                } else {
                    Ok(None)
                })
            }
            Err(source) => Err(Error::Consumer {
                step: "read a custom resource definition",
                source,
            }),
        }
    }

    /// Leaves everything where it is; `None` when nothing of ours is left.
    async fn orphan(&mut self, provider: Result<(), String>) -> Result<Option<Message>, Error> {
        let mut installed: Vec<Installed> = Vec::new();
        for resource in resources(self.binding, self.observed) {
            match self.crd(&resource).await? {
                Ok(Some(crd)) => installed.push((resource, crd)),
                Ok(None) => {}
                Err(why) => return Ok(Some(Message::blocked(why))),
            }
        }
        let letting = Letting {
            supervisor: self.supervisor,
            binding: self.binding,
            observed: self.observed,
            owner: &self.owner,
            provider: self.observed.provider().filter(|_| provider.is_ok()),
        };
        Ok(match letting.go(self.subtree, &installed).await? {
            Outcome::Done => None,
            Outcome::More(words) => {
                self.again = Duration::ZERO;
                Some(Message::going(words))
            }
            // Whoever is waited for wakes us, or there was no need to hurry.
            Outcome::Wait(words) => {
                self.again = PROGRESS;
                Some(Message::going(words))
            }
            Outcome::Blocked(words) => Some(Message::blocked(words)),
        })
    }

    /// Deletes everything, on the provider first; `None` when nothing is left.
    async fn delete(&mut self, provider: Result<(), String>) -> Result<Option<Message>, Error> {
        self.subtree.unbind();
        let mut kinds = Vec::new();
        let mut installed: BTreeMap<String, Installed> = BTreeMap::new();
        for resource in resources(self.binding, self.observed) {
            let name = schema::name(&resource);
            let crd = match self.crd(&resource).await? {
                Ok(crd) => crd,
                Err(why) => return Ok(Some(Message::blocked(why))),
            };
            let withdrawn = is_withdrawn(&resource, self.observed);
            let (objects, failing) = if withdrawn {
                self.subtree.stop(&resource).await;
                (None, None)
            } else {
                self.run_engine(&resource, crd.as_deref()).await
            };
            kinds.push(Kind {
                name: name.clone(),
                withdrawn,
                terminating: crd.as_ref().is_some_and(|crd| crd.terminating),
                crd: crd.is_some(),
                objects,
                failing,
            });
            if let Some(crd) = crd {
                installed.insert(name, (resource, crd));
            }
        }
        let copies = self.copies(&kinds).await;
        Ok(Some(match next(&kinds, provider, copies.left) {
            Next::Release => return Ok(None),
            Next::Wait(_) | Next::Copies(_) if copies.denied.is_some() => {
                Message::blocked(format!(
                    "copies of claimed objects cannot be taken back: {}; {}",
                    copies.denied.unwrap_or_default(),
                    next::remedy()
                ))
            }
            Next::Wait(why) => {
                self.again = if installed.is_empty() {
                    AGAIN
                } else {
                    PROGRESS
                };
                Message::going(why)
            }
            Next::Blocked(why) => Message::blocked(why),
            Next::Copies(left) => Message::going(format!(
                "{left} copies of claimed objects are being deleted{}",
                waiting_for(&copies.unheard)
            )),
            Next::Drain(names) => self.drain(&names, &installed).await?,
            Next::Delete(names) => self.delete_crds(&names, &installed).await?,
        }))
    }

    async fn drain(
        &mut self,
        names: &[String],
        installed: &BTreeMap<String, Installed>,
    ) -> Result<Message, Error> {
        self.again = SOON;
        let mut released = 0;
        for (_, (resource, crd)) in installed.iter().filter(|(name, _)| names.contains(name)) {
            released += drain(self.supervisor, resource, crd).await?;
        }
        if released > 0 {
            tracing::info!(
                binding.name = %self.owner.name,
                "unbinding {}: released {released} objects of kinds that the provider does not \
                 export any more",
                self.owner.name
            );
        }
        Ok(Message::going(format!(
            "releasing the objects of {}, which the provider does not export any more",
            names.join(", ")
        )))
    }

    async fn delete_crds(
        &mut self,
        names: &[String],
        installed: &BTreeMap<String, Installed>,
    ) -> Result<Message, Error> {
        self.again = SOON;
        for (name, (_, crd)) in installed.iter().filter(|(name, _)| names.contains(name)) {
            tracing::info!(
                binding.name = %self.owner.name,
                crd.name = %name,
                "unbinding {}: deleting custom resource definition {name}",
                self.owner.name
            );
            crds::delete(&self.supervisor.ctx.client, name, &crd.uid)
                .await
                .map_err(|source| Error::Consumer {
                    step: "delete a custom resource definition",
                    source,
                })?;
        }
        Ok(Message::going(format!("deleting {}", names.join(", "))))
    }

    /// Keeps the engine of a kind running while its CRD is there, and stops it afterwards. Says how
    /// many objects are left, and why it gets nowhere.
    async fn run_engine(
        &mut self,
        resource: &GroupResource,
        crd: Option<&CrdView>,
    ) -> (Option<(usize, usize)>, Option<String>) {
        let Some(crd) = crd else {
            self.subtree.stop(resource).await;
            return (Some((0, 0)), None);
        };
        let mut failing = None;
        if crd.established()
            && let (Some(provider), Some(export)) = (self.observed.provider(), &self.observed.export)
            && let Some(bound) = provider.stores.schema(resource)
            // A provider must not have another kind drained, such as Secrets, under this one's name.
            && schema::crd_from_bound_schema(&bound).is_ok()
        {
            self.subtree.provider = Some(provider.clone());
            // Claims end with the binding, so the engine feeds none.
            let claims: &[ActiveClaim] = &[];
            let ensured = self
                .subtree
                .ensure(self.supervisor, provider, export, &bound, resource, claims)
                .await;
            if let Some(ensured) = ensured
                && let SyncState::Failing(why) = ensured.state
            {
                failing = Some(why);
            }
        }
        let counts = self.subtree.counts(resource);
        (counts.map(|c| (c.objects, c.orphans)), failing)
    }
}

/// Releases the objects of a kind that are being deleted while no engine may serve it: nobody can
/// tell any more whether their copies are gone, and the provider said itself that they are not
/// wanted. Says how many those were.
pub(super) async fn drain(
    supervisor: &Supervisor,
    resource: &GroupResource,
    crd: &CrdView,
) -> Result<usize, Error> {
    let Some(kind) = sweep::kind_of(resource, crd) else {
        return Ok(0);
    };
    let field = Field {
        client: &supervisor.ctx.client,
        kind: &kind,
        namespace: None,
        labels: None,
    };
    let clock = &supervisor.ctx.clock;
    let until = clock.monotonic() + PROGRESS;
    let swept = sweep::sweep(&field, until, || clock.monotonic(), sweep::of_terminating).await;
    swept
        .map(|swept| swept.released)
        .map_err(|source| Error::Consumer {
            step: "release the objects of a withdrawn kind",
            source,
        })
}

/// All kinds that the binding may have installed.
fn resources(binding: &APIServiceBinding, observed: &Observed) -> Vec<GroupResource> {
    let mut all = recorded::bound(binding);
    if let Some(export) = &observed.export {
        all.extend(
            export
                .spec
                .resources
                .iter()
                .map(|r| r.group_resource.clone()),
        );
    }
    all.sort();
    all.dedup();
    all
}

fn provider(observed: &Observed) -> Result<(), String> {
    let Some(provider) = observed.provider() else {
        return Err(observed.why_not());
    };
    match provider.link.state() {
        LinkState::Up => {}
        LinkState::Unreachable(why)
        | LinkState::Unauthorized(why)
        | LinkState::OtherProvider(why) => return Err(why),
    }
    Ok(())
}

/// The provider answers and has no export with this kind any more.
fn is_withdrawn(resource: &GroupResource, observed: &Observed) -> bool {
    let exported = observed.export.iter().flat_map(|e| &e.spec.resources);
    provider(observed).is_ok() && !exported.map(|r| &r.group_resource).any(|r| r == resource)
}
