//! Brings the kinds of one binding as far as possible, each by itself, and says how far that is. IO: starts
//! and stops engines; the rest through `kind`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube_bind_crds::api::{APIServiceExport, BoundSchema, GroupResource};
use kube_bind_crds::schema;

use super::facts::{KindFacts, KindState, SyncState};
use super::look::Look;
use super::subtree::{ActiveClaim, Subtree};
use super::{Error, hold, unbind};
use crate::fault;
use crate::provider::Provider;

/// How often objects of a kind that left the export are looked after.
const WITHDRAWN: Duration = Duration::from_secs(30);

impl Look<'_> {
    /// Brings all bound kinds as far as possible, and stops engines of kinds that are not bound. What fails
    /// for one kind is told of that one.
    pub(super) async fn kinds(
        &mut self,
        provider: &Arc<Provider>,
        export: &APIServiceExport,
        claims: &[ActiveClaim],
        subtree: &mut Subtree,
    ) -> Vec<KindFacts> {
        let mut facts = Vec::new();
        let mut kept = BTreeSet::new();
        for resource in &export.spec.resources {
            let resource = &resource.group_resource;
            let bound = provider.stores.schema(resource);
            let mut state = match &bound {
                Some(bound) => self.try_kind(resource, bound, subtree).await,
                None => KindState::NoSchema,
            };
            let in_force = match &bound {
                Some(bound) => self.in_force(resource, bound, &state, subtree).await,
                None => None,
            };
            if let (Some(bound), Some(sync)) = (in_force, state.sync_mut()) {
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
            if state.sync().is_some() || state == KindState::NotEstablished {
                kept.insert(resource.clone());
            }
            let left_behind = bound.iter().flat_map(|bound| schema::left_behind(bound));
            facts.push(KindFacts {
                name: schema::name(resource),
                state,
                left_behind: left_behind.map(str::to_owned).collect(),
            });
        }
        facts.extend(self.withdrawn(export, subtree).await);
        for resource in subtree.running() {
            if !kept.contains(&resource) {
                subtree.stop(&resource).await;
            }
        }
        facts
    }

    /// One kind; a failure is one of that kind.
    async fn try_kind(
        &mut self,
        resource: &GroupResource,
        bound: &BoundSchema,
        subtree: &mut Subtree,
    ) -> KindState {
        let began = self.now();
        match self.kind(resource, bound, subtree).await {
            Ok(state) => {
                subtree.failing.remove(resource);
                state
            }
            Err(error) => {
                let why = self.failed(resource, &error, began, subtree);
                KindState::Failing(why, SyncState::Listing)
            }
        }
    }

    /// Remembers that something failed for a kind; what it was, once that lasts.
    fn failed(
        &mut self,
        resource: &GroupResource,
        error: &Error,
        began: Instant,
        subtree: &mut Subtree,
    ) -> Option<String> {
        self.failed = true;
        let words = error.in_words();
        let name = schema::name(resource);
        tracing::warn!(
            binding.name = %self.owner.name,
            crd.name = %name,
            "APIServiceBinding {}, {name}: {words}",
            self.owner.name
        );
        let now = self.now();
        let patience = subtree.failing.entry(resource.clone()).or_default();
        match patience.failed(began, now) {
            Some(left) => {
                self.again = self.again.min(left);
                None
            }
            None => Some(words),
        }
    }

    /// The bound schema that the sync of a kind runs with: the provider's, or while that cannot be put in
    /// force the one that is installed.
    async fn in_force(
        &self,
        resource: &GroupResource,
        bound: &Arc<BoundSchema>,
        state: &KindState,
        subtree: &Subtree,
    ) -> Option<Arc<BoundSchema>> {
        match state {
            KindState::Held(..) => {
                let hold = subtree.holds.get(resource)?;
                hold.in_force(bound).map(Arc::new)
            }
            KindState::UpdateFailed(..) | KindState::Failing(..) => {
                // An engine that runs was started with what was installed then.
                if let Some(running) = subtree.bound(resource) {
                    return Some(running);
                }
                let name = schema::name(resource);
                let crd = self.supervisor.crds.get(&name).await.ok()??;
                if !self.owner.owns(&crd) || !crd.established() {
                    return None;
                }
                let client = &self.supervisor.ctx.client;
                let installed = hold::installed(client, &name).await.ok()??;
                hold::with_versions_of(bound, &installed).map(Arc::new)
            }
            _ => Some(bound.clone()),
        }
    }

    /// Kinds that were bound and are not exported any more. Their engines are stopped, so what a person
    /// deletes of them is released here.
    async fn withdrawn(
        &mut self,
        export: &APIServiceExport,
        subtree: &mut Subtree,
    ) -> Vec<KindFacts> {
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
            let began = self.now();
            let why = match self
                .let_withdrawn_go(resource, subtree.is_suspended())
                .await
            {
                Ok(true) => {
                    subtree.failing.remove(resource);
                    None
                }
                Ok(false) => continue,
                Err(error) => self.failed(resource, &error, began, subtree),
            };
            facts.push(KindFacts {
                name,
                state: KindState::Withdrawn(why),
                left_behind: Vec::new(),
            });
        }
        facts
    }

    /// Releases what is being deleted of a kind that is not exported any more; says whether the kind is still
    /// there.
    async fn let_withdrawn_go(
        &self,
        resource: &GroupResource,
        suspended: bool,
    ) -> Result<bool, Error> {
        let name = schema::name(resource);
        match self.supervisor.crds.get(&name).await {
            Ok(Some(_)) if suspended => Ok(true),
            Ok(Some(crd)) => {
                let released = unbind::drain(self.supervisor, resource, &crd).await?;
                tracing::debug!(
                    released,
                    "looked after {name}, which is not exported any more"
                );
                Ok(true)
            }
            Ok(None) => Ok(false),
            // The rights for the kind may have gone with it.
            Err(error) if fault::code(&error) == Some(403) => Ok(true),
            Err(source) => Err(Error::Consumer {
                step: "read a custom resource definition",
                source,
            }),
        }
    }
}
