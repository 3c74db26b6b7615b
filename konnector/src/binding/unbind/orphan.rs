//! The end of a binding that leaves everything where it is: our finalizers, marks and owner
//! references go, objects and CRDs stay on both sides. Needs no provider: without one its copies keep
//! their marks. IO: sweeps, one patch per CRD; each look goes on where the objects show it to be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use kube_bind_crds::api::{APIServiceBinding, GroupResource, PermissionClaim, ResourceScope};
use kube_bind_crds::claims::claimable;
use kube_bind_crds::isolation::Strategy;
use kube_bind_crds::names::LABEL_OWNER;
use kube_bind_crds::{schema, switches};

use super::super::Error;
use super::super::claims::ending;
use super::super::crds::{self, Owner};
use super::super::reconcile::Observed;
use super::super::subtree::Subtree;
use super::copies::waiting_for;
use super::sweep::{self, Field, Swept, sweep, sweep_where_allowed};
use crate::claims::Ending;
use crate::consumer::CrdView;
use crate::fault;
use crate::provider::Provider;
use crate::recorded;
use crate::supervisor::Supervisor;
use crate::sync::Namespaces;

/// How long one look may sweep before it says how far it is.
const SLICE: Duration = Duration::from_secs(8);

/// What a look came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something was done, and there is more: how far it is.
    More(String),
    /// Others have to do something, or somebody was in the way: what is waited for.
    Wait(String),
    /// A person has to do something: what is wrong.
    Blocked(String),
    /// Nothing of ours is left.
    Done,
}

/// One look.
pub(super) struct Letting<'a> {
    pub(super) supervisor: &'a Arc<Supervisor>,
    pub(super) binding: &'a APIServiceBinding,
    pub(super) observed: &'a Observed,
    pub(super) owner: &'a Owner,
    /// The provider, if it answers.
    pub(super) provider: Option<&'a Arc<Provider>>,
}

impl Letting<'_> {
    /// Goes on with these kinds, whose CRDs are ours, and then with the claims.
    pub(super) async fn go(
        &self,
        subtree: &mut Subtree,
        installed: &[(GroupResource, Arc<CrdView>)],
    ) -> Result<Outcome, Error> {
        // Nobody marks anything again while it is being let go.
        subtree.stop_all().await;
        let until = self.now() + SLICE;
        for (resource, crd) in installed {
            let name = schema::name(resource);
            let swept = match self.kind(resource, crd, until).await {
                Ok(swept) => swept,
                Err(error) if fault::code(&error) == Some(403) => {
                    return Ok(Outcome::Blocked(format!(
                        "{name} cannot be let go: {}",
                        fault::describe(&error)
                    )));
                }
                Err(source) => {
                    return Err(Error::Consumer {
                        step: "let the objects of a kind go",
                        source,
                    });
                }
            };
            if !swept.clean {
                let words = format!(
                    "letting the objects of {name} go, {} just now",
                    swept.released
                );
                return Ok(self.after(swept, until, words));
            }
            let swept = self.copies(resource, crd, until).await;
            if !swept.clean {
                let words = format!("letting the copies of {name} on the provider go");
                return Ok(self.after(swept, until, words));
            }
            let client = &self.supervisor.ctx.client;
            crds::disown(client, &name, crd, self.owner)
                .await
                .map_err(|source| Error::Consumer {
                    step: "let a custom resource definition go",
                    source,
                })?;
        }
        if !installed.is_empty() {
            let words = "letting the custom resource definitions go";
            return Ok(Outcome::More(words.into()));
        }
        self.claims(subtree, until).await
    }

    /// What a sweep came to that has to be repeated: at once only if that one got somewhere.
    fn after(&self, swept: Swept, until: Instant, words: String) -> Outcome {
        if swept.released > 0 || self.now() >= until {
            Outcome::More(words)
        } else {
            Outcome::Wait(words)
        }
    }

    fn now(&self) -> Instant {
        self.supervisor.ctx.clock.monotonic()
    }

    async fn kind(
        &self,
        resource: &GroupResource,
        crd: &CrdView,
        until: Instant,
    ) -> Result<Swept, kube::Error> {
        let Some(kind) = sweep::kind_of(resource, crd) else {
            // A CRD whose names were never accepted has no objects.
            return Ok(Swept {
                released: 0,
                clean: true,
            });
        };
        let field = Field {
            client: &self.supervisor.ctx.client,
            kind: &kind,
            namespace: None,
            labels: None,
        };
        sweep(&field, until, || self.now(), sweep::of_consumer).await
    }

    /// Takes the marks off the copies, as far as the provider lets us: they are its own now, and what
    /// it thinks of them must not keep the binding.
    async fn copies(&self, resource: &GroupResource, crd: &CrdView, until: Instant) -> Swept {
        let mut all = Swept {
            released: 0,
            clean: true,
        };
        let (Some(provider), Some(export)) = (self.provider, &self.observed.export) else {
            tracing::info!(
                binding.name = %self.owner.name,
                "the provider does not answer, so its copies of {} keep their marks",
                resource.resource
            );
            return all;
        };
        let Some(bound) = provider.stores.schema(resource) else {
            return all;
        };
        let Some((version, names)) =
            schema::synced_version(&bound.spec).zip(crd.accepted_names.as_ref())
        else {
            return all;
        };
        let kind = GroupVersionKind::gvk(&resource.group, &version.name, &names.kind);
        let kind = ApiResource::from_gvk_with_plural(&kind, &resource.resource);
        let strategy = Strategy::new(bound.spec.scope, export.spec.isolation);
        let scopes: Vec<Option<String>> = match (bound.spec.scope, strategy) {
            (ResourceScope::Namespaced, _) => {
                let all = provider.namespaces.provider_namespaces();
                all.into_iter().map(Some).collect()
            }
            (_, Strategy::Namespaced) => vec![Some(provider.cluster_namespace.clone())],
            _ => vec![None],
        };
        for scope in scopes {
            let field = Field {
                client: &provider.client,
                kind: &kind,
                namespace: scope.as_deref(),
                labels: None,
            };
            let (home, uid) = (&provider.cluster_namespace, &provider.uid);
            let unmark = |object: &sweep::Meta| sweep::of_provider(object, home, uid);
            match sweep(&field, until, || self.now(), unmark).await {
                Ok(swept) => {
                    all.released += swept.released;
                    all.clean &= swept.clean;
                }
                Err(error) => tracing::warn!(
                    error = fault::describe(&error),
                    binding.name = %self.owner.name,
                    "copies of {} keep their marks on the provider",
                    resource.resource
                ),
            }
        }
        all
    }

    /// Has the marks of a claim taken off on both sides, and says how many objects still carry some, and what
    /// that waits for; `None` while no provider answers to do it with, or without the right. What goes anyway,
    /// and what admission keeps marked, is not waited for: the engine tells of that.
    async fn released(
        &self,
        subtree: &Subtree,
        claim: &PermissionClaim,
    ) -> Option<(usize, String)> {
        let provider = self.observed.provider().or(subtree.provider.as_ref())?;
        let ctx = &self.supervisor.ctx;
        let engine = provider.claims(ctx, &claim.group_resource).await?;
        let name = self.binding.name_any();
        // Whether it can do it now or not: nobody marks anything again while it is being let go.
        engine.claim(&name, ending(self.binding, claim, Ending::Orphan));
        let failing = engine.failing(&name, ctx.clock.monotonic()).why;
        if self.provider.is_none() || engine.denied(&name).or(failing).is_some() {
            return None;
        }
        // Until the lists are complete there may be one more.
        let left = engine.copies_of(&name).unwrap_or(1);
        Some((left, waiting_for(&engine.unheard(&name))))
    }

    /// Claimed copies stay too; they are only not ours any more.
    async fn claims(&self, subtree: &Subtree, until: Instant) -> Result<Outcome, Error> {
        let name = self.binding.name_any();
        let namespaces = switches::claim_namespaces(self.binding.annotations());
        let namespaces = namespaces.ok().flatten().unwrap_or_default();
        for claim in &recorded::claims(self.binding) {
            let resource = &claim.group_resource;
            let Some(kind) = claimable(resource) else {
                continue;
            };
            if let Some((left, waiting)) = self.released(subtree, claim).await
                && left > 0
            {
                return Ok(Outcome::Wait(format!(
                    "letting {left} claimed {} go on both sides{waiting}",
                    resource.resource
                )));
            }
            let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
            let kind = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
            let field = Field {
                client: &self.supervisor.ctx.client,
                kind: &kind,
                namespace: None,
                labels: Some(LABEL_OWNER),
            };
            let unmark = |object: &sweep::Meta| sweep::of_claimed(object, &name);
            let swept =
                sweep_where_allowed(&field, &namespaces, until, || self.now(), unmark).await;
            match swept {
                Ok(swept) if swept.clean => {}
                Ok(swept) => {
                    let words = format!(
                        "letting copies of claimed {} go, {} just now",
                        resource.resource, swept.released
                    );
                    return Ok(self.after(swept, until, words));
                }
                // Without the right nothing was ever claimed, or somebody took it away on purpose.
                Err(error) if fault::code(&error) == Some(403) && !fault::is_refused(&error) => {
                    tracing::warn!(
                        error = fault::describe(&error),
                        binding.name = %name,
                        "copies of claimed {} keep their marks",
                        resource.resource
                    );
                }
                Err(source) => {
                    return Err(Error::Consumer {
                        step: "let claimed objects go",
                        source,
                    });
                }
            }
        }
        Ok(Outcome::Done)
    }
}
