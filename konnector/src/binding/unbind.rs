//! The end of a binding: its CRDs are deleted while the engines still run, so that every object is
//! deleted on the provider first and its finalizer released; then the claimed copies go, and last
//! our finalizer. What is next is decided purely; IO: one step per look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube_bind_crds::api::{APIServiceBinding, GroupResource};
use kube_bind_crds::names::{FINALIZER_BINDING, FINALIZER_SYNCER};
use kube_bind_crds::schema;

use super::Error;
use super::crds::{self, Owner};
use super::reconcile::Observed;
use super::subtree::{ActiveClaim, Subtree};
use super::{drain, mark, report};
use crate::consumer::CrdView;
use crate::fault;
use crate::provider::LinkState;
use crate::supervisor::Supervisor;

/// When it is while something was just done whose end nobody tells.
const SOON: Duration = Duration::from_secs(1);
/// When an unbinding is looked at again although nothing happened.
const AGAIN: Duration = Duration::from_secs(30);

/// One of the binding's kinds, as the unbinding sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    /// Name of the CRD.
    name: String,
    /// The CRD is ours and still there.
    crd: bool,
    /// Its deletion has begun.
    terminating: bool,
    /// The provider answers and does not export it any more: no engine can run.
    withdrawn: bool,
    /// Objects on the consumer and copies without one, once an engine has listed them.
    objects: Option<(usize, usize)>,
}

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing can be done: why.
    Wait(String),
    /// These CRDs can go now.
    Delete(Vec<String>),
    /// These CRDs are going, and nobody but us can release their objects.
    Drain(Vec<String>),
    /// All CRDs are gone; these many copies of claimed objects are left.
    Copies(usize),
    /// Nothing is left.
    Release,
}

/// `provider` is whether the provider answers; `copies` how many claimed copies are left, `None`
/// while that is not known.
fn next(kinds: &[Kind], provider: Result<(), String>, copies: Option<usize>) -> Next {
    let there: Vec<&Kind> = kinds.iter().filter(|kind| kind.crd).collect();
    if there.is_empty() {
        return match copies {
            Some(0) => Next::Release,
            Some(left) => Next::Copies(left),
            None => Next::Wait(match provider {
                Ok(()) => "waiting for the list of claimed objects".into(),
                Err(why) => format!("copies of claimed objects are left: {why}"),
            }),
        };
    }
    if let Err(why) = provider {
        return Next::Wait(format!(
            "objects can be deleted only while the provider answers: {why}. If it is gone for good, \
             delete the objects and take the finalizer {FINALIZER_SYNCER} off them"
        ));
    }
    let unknown = |kind: &&&Kind| !kind.withdrawn && kind.objects.is_none();
    if let Some(kind) = there.iter().find(unknown) {
        return Next::Wait(format!("waiting for the sync of {} to start", kind.name));
    }
    // Whoever unbinds means everything; afterwards nobody is left to delete them.
    let orphans: usize = there.iter().filter_map(|k| k.objects).map(|o| o.1).sum();
    if orphans > 0 {
        return Next::Wait(format!(
            "{orphans} copies of objects that vanished are being deleted on the provider"
        ));
    }
    let ready: Vec<String> = there
        .iter()
        .filter(|kind| !kind.terminating)
        .map(|kind| kind.name.clone())
        .collect();
    if !ready.is_empty() {
        return Next::Delete(ready);
    }
    let withdrawn: Vec<String> = there
        .iter()
        .filter(|kind| kind.withdrawn)
        .map(|kind| kind.name.clone())
        .collect();
    if !withdrawn.is_empty() {
        return Next::Drain(withdrawn);
    }
    let left: usize = there.iter().filter_map(|k| k.objects).map(|o| o.0).sum();
    Next::Wait(match left {
        0 => "waiting for the custom resource definitions to go".into(),
        left => format!("{left} objects are being deleted on both sides"),
    })
}

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
    let mut kinds = Vec::new();
    let mut installed = BTreeMap::new();
    let mut denied = None;
    for resource in resources(binding, observed) {
        let name = format!("{}.{}", resource.resource, resource.group);
        let crd = match supervisor.crds.get(&name).await {
            Ok(crd) => crd.filter(|crd| owner.owns(crd)),
            // Enough to know that there is nothing of ours; otherwise the rights are needed.
            Err(error) if fault::code(&error) == Some(403) => {
                if supervisor
                    .crds
                    .is_owned(&name, |owners| owner.is_among(owners))
                {
                    denied = Some(fault::describe(&error));
                }
                None
            }
            Err(source) => {
                return Err(Error::Consumer {
                    step: "read a custom resource definition",
                    source,
                });
            }
        };
        let withdrawn = is_withdrawn(&resource, observed);
        let objects = if withdrawn {
            subtree.stop(&resource).await;
            None
        } else {
            run_engine(supervisor, subtree, observed, &resource, crd.as_deref()).await
        };
        if let Some(crd) = &crd {
            installed.insert(name.clone(), (resource.clone(), crd.clone()));
        }
        kinds.push(Kind {
            name,
            withdrawn,
            terminating: crd.as_ref().is_some_and(|crd| crd.terminating),
            crd: crd.is_some(),
            objects,
        });
    }
    let copies = copies(supervisor, binding, subtree, observed, &kinds).await;
    let next = match denied {
        Some(why) => Next::Wait(format!("the konnector lacks rights: {why}")),
        None => next(&kinds, provider(observed), copies),
    };
    let mut again = AGAIN;
    let message = match next {
        Next::Release => {
            subtree.stop_all().await;
            mark::release(&supervisor.ctx, binding).await?;
            return Ok(Action::await_change());
        }
        Next::Wait(why) => why,
        Next::Copies(left) => format!("{left} copies of claimed objects are being deleted"),
        Next::Drain(names) => {
            again = SOON;
            let mut released = 0;
            for (_, (resource, crd)) in installed.iter().filter(|(name, _)| names.contains(name)) {
                released += drain::release(&supervisor.ctx.client, resource, crd)
                    .await
                    .map_err(|source| Error::Consumer {
                        step: "release the objects of a withdrawn kind",
                        source,
                    })?;
            }
            if released > 0 {
                tracing::info!(
                    binding.name = %owner.name,
                    "unbinding {}: released {released} objects of kinds that the provider does not \
                     export any more",
                    owner.name
                );
            }
            format!(
                "releasing the objects of {}, which the provider does not export any more",
                names.join(", ")
            )
        }
        Next::Delete(names) => {
            again = SOON;
            for (name, (_, crd)) in installed.iter().filter(|(name, _)| names.contains(name)) {
                tracing::info!(
                    binding.name = %owner.name,
                    crd.name = %name,
                    "unbinding {}: deleting custom resource definition {name}",
                    owner.name
                );
                crds::delete(&supervisor.ctx.client, name, &crd.uid)
                    .await
                    .map_err(|source| Error::Consumer {
                        step: "delete a custom resource definition",
                        source,
                    })?;
            }
            format!("deleting {}", names.join(", "))
        }
    };
    let mut facts = observed.facts();
    facts.unbinding = Some(message);
    report::binding(supervisor, binding, observed, &facts, subtree).await?;
    Ok(Action::requeue(again))
}

/// All kinds that the binding may have installed.
fn resources(binding: &APIServiceBinding, observed: &Observed) -> Vec<GroupResource> {
    let mut all: Vec<GroupResource> = binding
        .status
        .iter()
        .flat_map(|status| status.bound_schemas.clone())
        .collect();
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

/// Keeps the engine of a kind running while its CRD is there, and stops it afterwards. Says how many
/// objects are left.
async fn run_engine(
    supervisor: &Arc<Supervisor>,
    subtree: &mut Subtree,
    observed: &Observed,
    resource: &GroupResource,
    crd: Option<&CrdView>,
) -> Option<(usize, usize)> {
    let Some(crd) = crd else {
        subtree.stop(resource).await;
        return Some((0, 0));
    };
    if subtree.counts(resource).is_none()
        && crd.established()
        && let (Some(provider), Some(export)) = (observed.provider(), &observed.export)
        && let Some(bound) = provider.stores.schema(resource)
        // A provider must not have another kind drained, such as Secrets, under this one's name.
        && schema::crd_from_bound_schema(&bound).is_ok()
    {
        subtree.provider = Some(provider.clone());
        // Claims end with the binding, so the engine feeds none.
        let claims: &[ActiveClaim] = &[];
        subtree
            .ensure(supervisor, provider, export, &bound, resource, claims)
            .await;
    }
    let counts = subtree.counts(resource)?;
    Some((counts.objects, counts.orphans))
}

fn provider(observed: &Observed) -> Result<(), String> {
    let Some(provider) = observed.provider() else {
        return Err("there is no connection".into());
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

/// Takes the claims back once the objects that made them are gone; says how many copies are left.
async fn copies(
    supervisor: &Arc<Supervisor>,
    binding: &APIServiceBinding,
    subtree: &Subtree,
    observed: &Observed,
    kinds: &[Kind],
) -> Option<usize> {
    if kinds.iter().any(|kind| kind.crd) {
        return None;
    }
    let name = binding.name_any();
    let claims = binding
        .status
        .iter()
        .flat_map(|status| &status.permission_claims);
    let mut left = Some(0);
    for claim in claims {
        let provider = observed.provider().or(subtree.provider.as_ref());
        // Without it nothing tells whose copies there are.
        let provider = provider?;
        let ctx = &supervisor.ctx;
        if let Some(engine) = provider.claims(ctx, &claim.group_resource).await {
            engine.forget(&name);
            left = left.zip(engine.copies_of(&name)).map(|(a, b)| a + b);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(crd: bool, terminating: bool, objects: Option<(usize, usize)>) -> Kind {
        Kind {
            name: "widgets.example.org".into(),
            crd,
            terminating,
            withdrawn: false,
            objects,
        }
    }

    #[test]
    fn crds_are_deleted_only_while_their_objects_are_synced() {
        let up = || Ok(());
        assert!(matches!(
            next(&[kind(true, false, None)], up(), None),
            Next::Wait(_)
        ));
        assert_eq!(
            next(&[kind(true, false, Some((2, 0)))], up(), None),
            Next::Delete(vec!["widgets.example.org".into()])
        );
    }

    #[test]
    fn an_unreachable_provider_is_waited_for_and_named() {
        let next = next(
            &[kind(true, false, Some((2, 0)))],
            Err("connection refused".into()),
            None,
        );
        let Next::Wait(why) = next else {
            panic!("expected to wait, got {next:?}");
        };
        assert!(why.contains("connection refused"), "{why}");
    }

    #[test]
    fn copies_without_an_object_go_before_the_crds() {
        let held = next(&[kind(true, false, Some((0, 20)))], Ok(()), None);
        let Next::Wait(why) = held else {
            panic!("expected to wait, got {held:?}");
        };
        assert!(why.contains("20"), "{why}");
    }

    #[test]
    fn a_kind_that_the_provider_withdrew_is_drained_without_it() {
        let withdrawn = |terminating| Kind {
            withdrawn: true,
            ..kind(true, terminating, None)
        };
        let name = || vec!["widgets.example.org".to_owned()];
        assert_eq!(
            next(&[withdrawn(false)], Ok(()), None),
            Next::Delete(name())
        );
        assert_eq!(next(&[withdrawn(true)], Ok(()), None), Next::Drain(name()));
        let away = next(&[withdrawn(true)], Err("refused".into()), None);
        assert!(matches!(away, Next::Wait(_)), "{away:?}");
    }

    #[test]
    fn objects_that_drain_are_counted() {
        let Next::Wait(why) = next(&[kind(true, true, Some((2, 0)))], Ok(()), None) else {
            panic!("expected to wait");
        };
        assert!(why.contains('2'), "{why}");
    }

    #[test]
    fn claimed_copies_go_before_the_finalizer() {
        let gone = [kind(false, false, Some((0, 0)))];
        assert_eq!(next(&gone, Ok(()), Some(3)), Next::Copies(3));
        assert!(matches!(next(&gone, Ok(()), None), Next::Wait(_)));
        assert_eq!(next(&gone, Ok(()), Some(0)), Next::Release);
    }

    #[test]
    fn a_binding_that_installed_nothing_is_released_without_its_provider() {
        assert_eq!(
            next(&[], Err("no connection".into()), Some(0)),
            Next::Release
        );
    }
}
