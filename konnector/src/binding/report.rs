//! Says how a binding is doing: its status, an event when it becomes usable or stops being usable,
//! and the provider's objects. What to write is decided purely; IO: patches, only when they differ.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use kube_bind_crds::api::{
    APIServiceBinding, APIServiceBindingStatus, APIServiceExport, Condition, GroupResource,
};
use kube_bind_crds::conditions::{self, Severity, types};
use kube_bind_crds::schema;
use kube_bind_runtime::apply;
use serde_json::json;

use super::Error;
use super::crds::Owner;
use super::decide;
use super::facts::{Facts, KindState};
use super::reconcile::Observed;
use super::subtree::Subtree;
use crate::context::binding_ref;
use crate::fault;
use crate::names::{
    EVENT_NOT_READY, EVENT_READY, EVENT_UNBINDING, EVENT_WAITING_FOR_ACCEPTANCE, MANAGER_BINDING,
    REASON_SYNCING, REASON_UNBINDING, REASON_WAITING, REASON_WAITING_FOR_ACCEPTANCE,
};
use crate::provider::{LinkState, exports};
use crate::supervisor::Supervisor;

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
        // After a restart nothing is known at first. That is no reason to take back what was true.
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
        new.permission_claims = export.spec.permission_claims.clone();
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

fn is_installed(state: &KindState) -> bool {
    matches!(
        state,
        KindState::Installed(_)
            | KindState::Held(..)
            | KindState::NotEstablished
            | KindState::UpdateFailed(_)
    )
}

/// What is worth an event about a change of status.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Ready,
    NotReady(String),
    /// A person wanted it to go, and it goes.
    Unbinding(String),
}

fn news(old: &[Condition], new: &[Condition]) -> Option<News> {
    let ready = conditions::is_true(new, types::READY);
    if ready {
        return (!conditions::is_true(old, types::READY)).then_some(News::Ready);
    }
    let words = |all: &[Condition]| {
        let condition = conditions::get(all, types::READY)?;
        let severe = matches!(condition.severity.as_deref(), Some("Error" | "Warning"));
        severe.then(|| {
            format!(
                "{}: {}",
                condition.reason.as_deref().unwrap_or_default(),
                condition.message.as_deref().unwrap_or_default()
            )
        })
    };
    let now = words(new)?;
    if words(old).as_ref() == Some(&now) {
        return None;
    }
    let condition = conditions::get(new, types::READY)?;
    let is_going = |c: &Condition| c.reason.as_deref() == Some(REASON_UNBINDING);
    if !is_going(condition) {
        return Some(News::NotReady(now));
    }
    // Its progress is in the condition; one event says that it began.
    let began = conditions::get(old, types::READY).is_some_and(is_going);
    (!began).then(|| News::Unbinding(condition.message.clone().unwrap_or_default()))
}

/// What the provider offers beyond what was accepted, if that is new.
fn offer(old: &[Condition], new: &[Condition]) -> Option<String> {
    let words = |all: &[Condition]| {
        let condition = conditions::get(all, types::CONNECTED)?;
        let waits = condition.reason.as_deref() == Some(REASON_WAITING_FOR_ACCEPTANCE);
        waits.then(|| condition.message.clone().unwrap_or_default())
    };
    words(new).filter(|now| words(old).as_ref() != Some(now))
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
        subtree.settled,
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
            .normal(&reference, EVENT_WAITING_FOR_ACCEPTANCE, offer)
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

/// Writes what the provider is told about its export and its schemas, if it differs.
pub(super) async fn provider(
    supervisor: &Arc<Supervisor>,
    binding: &APIServiceBinding,
    observed: &Observed,
    facts: &Facts,
) -> Result<(), Error> {
    let (Some(provider), Some(export)) = (observed.provider(), &observed.export) else {
        return Ok(());
    };
    if provider.link.state() != LinkState::Up {
        return Ok(());
    }
    let failed = |step: &'static str| {
        move |source| {
            provider.link.check();
            Error::Provider { step, source }
        }
    };
    let now = supervisor.ctx.clock.now();
    let invalid: Vec<String> = facts
        .kinds
        .iter()
        .filter(|kind| !has_schema(&kind.state))
        .map(|kind| match &kind.state {
            KindState::Unusable(why) => format!("{}: {why}", kind.name),
            _ => format!("{}: there is no bound schema", kind.name),
        })
        .collect();
    exports::report_export(provider, export, exports::bound(binding, &invalid), now)
        .await
        .map_err(failed("report the state of the export"))?;
    let owner = Owner {
        name: binding.name_any(),
        uid: binding.uid().unwrap_or_default(),
    };
    for resource in &export.spec.resources {
        let resource: &GroupResource = &resource.group_resource;
        // Without the rights for a kind its CRD cannot be read either.
        let installed = facts
            .kinds
            .iter()
            .any(|kind| kind.name == schema::name(resource) && is_installed(&kind.state));
        if !installed {
            continue;
        }
        let name = format!("{}.{}", resource.resource, resource.group);
        let crd = supervisor
            .crds
            .get(&name)
            .await
            .map_err(|source| Error::Consumer {
                step: "read a custom resource definition",
                source,
            })?;
        if let (Some(crd), Some(bound)) = (crd, provider.stores.schema(resource))
            && owner.owns(&crd)
        {
            exports::report_schema(provider, &bound, &crd, now)
                .await
                .map_err(failed("report the state of a bound schema"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::facts::{ExportFacts, ProviderFacts, Switches, Unbinding};
    use super::*;
    use crate::heartbeat::HeartbeatState;
    use crate::provider::SecretState;
    use kube_bind_crds::conditions::New;

    fn facts(link: LinkState, synced: bool) -> Facts {
        Facts {
            secret: SecretState::Valid,
            problem: None,
            provider: Some(ProviderFacts {
                link,
                synced,
                heartbeat: HeartbeatState::Beating,
                export: ExportFacts::Found,
            }),
            kinds: Vec::new(),
            claims: Vec::new(),
            switches: Switches::default(),
            waiting: None,
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

    fn ready(condition: New) -> Vec<Condition> {
        let mut all = Vec::new();
        conditions::set(&mut all, condition, Timestamp::UNIX_EPOCH);
        conditions::summarize(&mut all, Timestamp::UNIX_EPOCH);
        all
    }

    #[test]
    fn becoming_ready_and_each_new_trouble_are_news_and_nothing_else() {
        let good = ready(New::true_("Connected"));
        let bad = ready(New::false_("Connected", Severity::Error, "Lost", "refused"));
        let worse = ready(New::false_(
            "Connected",
            Severity::Error,
            "Lost",
            "timed out",
        ));
        let pending = ready(New::false_("Connected", Severity::Info, "Waiting", "x"));
        assert_eq!(news(&[], &good), Some(News::Ready));
        assert_eq!(news(&good, &good), None);
        assert_eq!(news(&good, &pending), None);
        assert_eq!(
            news(&good, &bad),
            Some(News::NotReady("Lost: refused".into()))
        );
        assert_eq!(news(&bad, &bad), None);
        assert_eq!(
            news(&bad, &worse),
            Some(News::NotReady("Lost: timed out".into()))
        );
        assert_eq!(news(&bad, &good), Some(News::Ready));
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
}
