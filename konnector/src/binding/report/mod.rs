//! Says how a binding is doing: its status, an event when it becomes usable or stops being usable,
//! and the provider's objects. What to write is decided purely; IO: patches, only when they differ.

mod claims;
mod news;
mod provider;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceBindingStatus, APIServiceExport, Condition,
};
use kube_bind_crds::conditions::{self, New, Severity, types};
use kube_bind_crds::schema;
use kube_bind_runtime::apply;
use serde_json::json;

use super::Error;
use super::decide;
use super::facts::{Facts, KindState};
use super::reconcile::Observed;
use super::subtree::Subtree;
use crate::context::{Context, binding_ref};
use crate::fault;
use crate::names::{
    EVENT_ACCEPTANCE_PENDING, EVENT_NOT_READY, EVENT_READY, EVENT_UNBINDING, MANAGER_BINDING,
    REASON_INTERNAL_ERROR, REASON_SYNCING, REASON_WAITING,
};
use crate::supervisor::Supervisor;
pub(super) use claims::claims;
use news::{News, news, offer};
pub(super) use provider::provider;

/// The status that follows from the facts.
fn status(
    old: &APIServiceBindingStatus,
    facts: &Facts,
    export: Option<&APIServiceExport>,
    pretty_name: Option<String>,
    settled: bool,
    manual: bool,
    now: Timestamp,
) -> APIServiceBindingStatus {
    let mut new = old.clone();
    for condition in decide::conditions(facts) {
        let mut said = Vec::new();
        conditions::set(&mut said, condition.clone(), now);
        // After a restart nothing is known at first. For a while that is no reason to take back what was true.
        let is_news = settled || !said.iter().any(is_beginning);
        if is_news
            || !said
                .iter()
                .any(|c| conditions::is_true(&old.conditions, &c.type_))
        {
            conditions::set(&mut new.conditions, condition, now);
        }
    }
    conditions::summarize(&mut new.conditions, now);
    if let Some(export) = export {
        let gone: Vec<_> = facts.recalled.iter().chain(&facts.taken_back).collect();
        let in_force = &export.spec.permission_claims;
        new.permission_claims = claims(&old.permission_claims, in_force, &gone);
        for resource in export.spec.resources.iter().map(|r| &r.group_resource) {
            let known = facts
                .kinds
                .iter()
                .any(|kind| kind.name == schema::name(resource) && has_schema(&kind.state));
            // Who accepts by hand has accepted what is in force, whether it is there yet or not.
            if (known || manual) && !new.bound_schemas.contains(resource) {
                new.bound_schemas.push(resource.clone());
            }
        }
    }
    if let Some(name) = pretty_name.filter(|name| !name.is_empty()) {
        new.provider_pretty_name = Some(name);
    }
    new
}

/// Whether a condition says only that somebody is on the way to find out.
fn is_beginning(condition: &Condition) -> bool {
    condition.severity.as_deref() == Some(Severity::Info.as_str())
        && matches!(
            condition.reason.as_deref(),
            Some(REASON_WAITING | REASON_SYNCING)
        )
}

fn has_schema(state: &KindState) -> bool {
    !matches!(state, KindState::NoSchema | KindState::Unusable(_))
}

/// Writes the status of the binding if it differs, and publishes what is new.
pub(super) async fn binding(
    supervisor: &Supervisor,
    binding: &APIServiceBinding,
    observed: &Observed,
    facts: &Facts,
    subtree: &mut Subtree,
    manual: bool,
) -> Result<(), Error> {
    let ctx = &supervisor.ctx;
    let old = binding.status.clone().unwrap_or_default();
    let pretty_name = observed
        .provider()
        .and_then(|provider| provider.stores.cluster_binding())
        .map(|cluster_binding| cluster_binding.spec.provider_pretty_name.clone());
    let new = status(
        &old,
        facts,
        observed.export.as_deref(),
        pretty_name,
        subtree.beginning(ctx.clock.monotonic()).is_none(),
        manual,
        ctx.clock.now(),
    );
    subtree.settled |= decide::is_ready(facts);
    let ready = conditions::is_true(&new.conditions, types::READY);
    ctx.metrics.binding_is(&binding.name_any(), ready);
    if new == old {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"uid": binding.uid(), "resourceVersion": binding.resource_version()},
        "status": new,
    });
    let params = PatchParams {
        field_manager: Some(MANAGER_BINDING.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<APIServiceBinding> = Api::all(ctx.client.clone());
    let name = binding.name_any();
    match apply::timed(api.patch_status(&name, &params, &Patch::Merge(&patch))).await {
        Ok(_) => {}
        // The event of what is newer brings the next look.
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => return Ok(()),
        Err(source) => {
            return Err(Error::Consumer {
                step: "write the status of the binding",
                source,
            });
        }
    }
    let reference = binding_ref(binding);
    if let Some(offer) = offer(&old.conditions, &new.conditions) {
        ctx.events
            .normal(&reference, EVENT_ACCEPTANCE_PENDING, offer)
            .await;
    }
    match news(&old.conditions, &new.conditions) {
        Some(News::Ready) => {
            tracing::info!(binding.name = %name, "APIServiceBinding {name} is ready");
            ctx.events
                .normal(&reference, EVENT_READY, "the API can be used")
                .await;
        }
        Some(News::NotReady(words)) => {
            tracing::warn!(binding.name = %name, "APIServiceBinding {name} is not ready: {words}");
            ctx.events.warning(&reference, EVENT_NOT_READY, words).await;
        }
        Some(News::Unbinding(words)) => {
            tracing::info!(binding.name = %name, "APIServiceBinding {name} is being unbound: {words}");
            ctx.events.normal(&reference, EVENT_UNBINDING, words).await;
        }
        None => {}
    }
    Ok(())
}

/// What a binding says of itself when a look at it panicked, until one does not.
fn after_panic(old: &APIServiceBindingStatus, now: Timestamp) -> APIServiceBindingStatus {
    let mut new = old.clone();
    let message = "a bug of the konnector: its log has the message; it tries again";
    let condition = New::false_(
        types::READY,
        Severity::Error,
        REASON_INTERNAL_ERROR,
        message,
    );
    conditions::set(&mut new.conditions, condition, now);
    new
}

/// Says on a binding that a look at it panicked. A failure is only logged: the next look may tell.
pub(super) async fn panicked(ctx: &Context, binding: &APIServiceBinding) {
    let old = binding.status.clone().unwrap_or_default();
    let new = after_panic(&old, ctx.clock.now());
    let name = binding.name_any();
    ctx.metrics.binding_is(&name, false);
    if new == old {
        return;
    }
    let patch = json!({
        "metadata": {"uid": binding.uid(), "resourceVersion": binding.resource_version()},
        "status": new,
    });
    let params = PatchParams {
        field_manager: Some(MANAGER_BINDING.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<APIServiceBinding> = Api::all(ctx.client.clone());
    let patched = apply::timed(api.patch_status(&name, &params, &Patch::Merge(&patch))).await;
    if let Err(error) = patched {
        tracing::warn!(
            error = fault::describe(&error),
            binding.name = %name,
            "failed to say on APIServiceBinding {name} that a look at it panicked"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{ExportFacts, ProviderFacts, Switches, Unbinding};
    use super::news::{News, news, tests::ready};
    use super::*;
    use crate::heartbeat::HeartbeatState;
    use crate::provider::{LinkState, SecretState};

    fn facts(link: LinkState, synced: bool) -> Facts {
        Facts {
            secret: SecretState::Valid,
            problem: None,
            provider: Some(ProviderFacts {
                link,
                synced,
                trouble: None,
                heartbeat: HeartbeatState::Beating,
                export: ExportFacts::Found,
            }),
            kinds: Vec::new(),
            claims: Vec::new(),
            taken_back: Vec::new(),
            recalled: Vec::new(),
            namespaces: Default::default(),
            switches: Switches::default(),
            waiting: None,
            failing: None,
            unbinding: None,
        }
    }

    #[test]
    fn a_restart_takes_nothing_back_but_a_failure_does() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |old: &APIServiceBindingStatus, facts: &Facts, settled| {
            status(old, facts, None, None, settled, false, now)
        };
        let is_ready =
            |s: &APIServiceBindingStatus| conditions::is_true(&s.conditions, types::READY);
        let beginning = facts(LinkState::Up, false);
        assert!(!is_ready(&after(
            &APIServiceBindingStatus::default(),
            &beginning,
            false
        )));
        let good = after(
            &APIServiceBindingStatus::default(),
            &facts(LinkState::Up, true),
            false,
        );
        assert!(is_ready(&good));
        assert_eq!(after(&good, &beginning, false), good);
        assert!(!is_ready(&after(&good, &beginning, true)));
        let down = facts(LinkState::Unreachable("refused".into()), false);
        assert!(!is_ready(&after(&good, &down, false)));
    }

    #[test]
    fn an_unbinding_is_no_trouble_unless_it_meets_some() {
        let after = |link| {
            let mut facts = facts(link, true);
            facts.unbinding = Some(Unbinding::going(
                "3 objects are being deleted on both sides".into(),
            ));
            status(
                &APIServiceBindingStatus::default(),
                &facts,
                None,
                None,
                true,
                false,
                Timestamp::UNIX_EPOCH,
            )
            .conditions
        };
        let good = ready(New::true_("Connected"));
        let going = after(LinkState::Up);
        let words = "3 objects are being deleted on both sides".to_owned();
        assert_eq!(news(&good, &going), Some(News::Unbinding(words)));
        assert_eq!(news(&going, &going), None);
        let stuck = after(LinkState::Unreachable("refused".into()));
        let Some(News::NotReady(words)) = news(&going, &stuck) else {
            panic!("an unreachable provider is trouble");
        };
        assert!(words.contains("refused"), "{words}");
    }

    #[test]
    fn a_panic_is_said_until_a_look_ends_well() {
        let mut old = APIServiceBindingStatus::default();
        let link = facts(LinkState::Up, true);
        let now = Timestamp::UNIX_EPOCH;
        old = status(&old, &link, None, None, true, false, now);
        let told = after_panic(&old, now);
        let ready = conditions::get(&told.conditions, types::READY).unwrap();
        assert_eq!(ready.reason.as_deref(), Some(REASON_INTERNAL_ERROR));
        assert_eq!(after_panic(&told, now), told, "said once");
        let after = status(&told, &link, None, None, true, false, now);
        assert_eq!(after.conditions, old.conditions);
    }
}
