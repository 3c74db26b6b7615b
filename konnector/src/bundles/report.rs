//! Says how a bundle is doing: its conditions, and an event when something needs a person. What to
//! write is decided purely; IO: one patch of the status, only when it differs.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use kube_bind_crds::api::{APIServiceBindingBundle, APIServiceBindingBundleStatus, Condition};
use kube_bind_crds::conditions::{self, New, Severity, reasons, types};
use kube_bind_crds::switches::ACCEPT;
use kube_bind_runtime::apply;
use serde_json::json;

use super::Error;
use super::decide::{Plan, Waiting};
use crate::context::Context;
use crate::fault::{self, shorten};
use crate::names::{
    MANAGER_BUNDLE, REASON_ACCEPTANCE_PENDING, REASON_INVALID_SWITCH, REASON_OTHER_PROVIDER,
    REASON_REMOVALS_HELD, REASON_WAITING,
};
use crate::provider::{ConnectProblem, LinkState, SecretState};

/// Names in one message.
const MOST_NAMES: usize = 10;

/// What a look found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The connection is not made yet, or says itself what is wrong.
    Waiting,
    /// The provider's exports cannot be listed: why.
    NoExports(String),
    /// The consumer's bindings cannot be listed.
    NoBindings,
    /// A switch has a value that means nothing.
    Invalid(String),
    /// This was to be done, and these parts failed.
    Planned(Box<Plan>, Vec<String>),
}

/// All that decides about the conditions of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The kubeconfig Secret.
    pub secret: SecretState,
    /// Why the kubeconfig does not connect.
    pub problem: Option<ConnectProblem>,
    /// Whether the provider answers, once connected.
    pub link: Option<LinkState>,
    /// What the look found.
    pub outcome: Outcome,
}

impl Facts {
    fn link(&self) -> Option<&LinkState> {
        match &self.problem {
            Some(ConnectProblem::Link(state)) => Some(state),
            Some(ConnectProblem::Unusable(_)) => None,
            None => self.link.as_ref(),
        }
    }
}

fn error(type_: &str, reason: &str, message: &str) -> New {
    New::false_(type_, Severity::Error, reason, shorten(message))
}

fn warning(type_: &str, reason: &str, message: &str) -> New {
    New::false_(type_, Severity::Warning, reason, shorten(message))
}

fn secret_valid(facts: &Facts) -> New {
    let type_ = types::SECRET_VALID;
    let invalid = reasons::KUBECONFIG_SECRET_INVALID;
    match &facts.secret {
        SecretState::Unread => New::false_(
            type_,
            Severity::Info,
            REASON_WAITING,
            "the kubeconfig secret has not been read yet",
        ),
        SecretState::Unreadable(why) => error(type_, reasons::KUBECONFIG_SECRET_NOT_FOUND, why),
        SecretState::Missing => error(
            type_,
            reasons::KUBECONFIG_SECRET_NOT_FOUND,
            "the kubeconfig secret does not exist",
        ),
        SecretState::Invalid(why) => error(type_, invalid, why),
        SecretState::Valid => match (&facts.problem, facts.link()) {
            (Some(ConnectProblem::Unusable(why)), _) => error(type_, invalid, why),
            (_, Some(LinkState::Unauthorized(why))) => error(
                type_,
                reasons::CREDENTIAL_EXPIRED,
                &format!("the provider does not accept the credential any more ({why})"),
            ),
            (_, Some(LinkState::OtherProvider(why))) => error(type_, REASON_OTHER_PROVIDER, why),
            _ => New::true_(type_),
        },
    }
}

fn synced(facts: &Facts, bundle: &str) -> New {
    let type_ = types::SYNCED;
    match (&facts.outcome, facts.link()) {
        (Outcome::Invalid(why), _) => error(type_, REASON_INVALID_SWITCH, why),
        (Outcome::NoBindings, _) => error(
            type_,
            reasons::LIST_BINDINGS_FAILED,
            "the bindings of this cluster cannot be listed",
        ),
        (Outcome::NoExports(why), _) => error(type_, reasons::LIST_EXPORTS_FAILED, why),
        (Outcome::Planned(plan, failures), _) => planned(plan, failures, bundle),
        (Outcome::Waiting, Some(LinkState::Unreachable(why) | LinkState::Unauthorized(why))) => {
            error(type_, reasons::LIST_EXPORTS_FAILED, why)
        }
        (Outcome::Waiting, Some(LinkState::OtherProvider(_))) => error(
            type_,
            reasons::PROVIDER_CLIENT_ERROR,
            "the kubeconfig leads to another provider",
        ),
        (Outcome::Waiting, _)
            if matches!(facts.secret, SecretState::Valid | SecretState::Unread)
                && facts.problem.is_none() =>
        {
            New::false_(
                type_,
                Severity::Info,
                REASON_WAITING,
                "listing the provider's exports",
            )
        }
        (Outcome::Waiting, _) => error(
            type_,
            reasons::PROVIDER_CLIENT_ERROR,
            "there is no usable kubeconfig",
        ),
    }
}

fn planned(plan: &Plan, failures: &[String], bundle: &str) -> New {
    let type_ = types::SYNCED;
    if let Some(other) = &plan.other_provider {
        let message = format!(
            "the kubeconfig leads to another provider than before (uid {}); to use it: {}",
            some(&other.what),
            command(bundle, other)
        );
        return error(type_, REASON_OTHER_PROVIDER, &message);
    }
    let mut wrong: Vec<String> = Vec::new();
    if !failures.is_empty() {
        wrong.push(format!("failed: {}", some(failures)));
    }
    if !plan.foreign.is_empty() {
        wrong.push(format!(
            "bindings of the same name exist and are not this bundle's: {}",
            some(&plan.foreign)
        ));
    }
    if !wrong.is_empty() {
        return warning(type_, reasons::SYNC_ERRORS, &wrong.join("; "));
    }
    if !plan.held.is_empty() {
        let message = format!(
            "the provider does not export most of what is bound any more, so these bindings are \
             kept: {}; to unbind one, delete it",
            some(&plan.held)
        );
        return warning(type_, REASON_REMOVALS_HELD, &message);
    }
    match &plan.waiting {
        None => New::true_(type_),
        // In order as far as it goes: somebody else's offer must not make a bundle unready.
        Some(waiting) => New::true_(type_).with_reason(
            REASON_ACCEPTANCE_PENDING,
            format!(
                "to accept new exports: {}; they are: {}",
                command(bundle, waiting),
                shorten(&some(&waiting.what))
            ),
        ),
    }
}

/// What a person types to accept.
fn command(bundle: &str, waiting: &Waiting) -> String {
    format!(
        "kubectl annotate apiservicebindingbundle {bundle} {ACCEPT}={} --overwrite",
        waiting.digest
    )
}

/// The first few of them.
fn some(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(MOST_NAMES)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The conditions that follow from the facts.
fn conditions_of(old: &[Condition], facts: &Facts, bundle: &str, now: Timestamp) -> Vec<Condition> {
    let mut new = old.to_vec();
    for condition in [secret_valid(facts), synced(facts, bundle)] {
        let mut said = Vec::new();
        conditions::set(&mut said, condition.clone(), now);
        // After a restart nothing is known at first. That is no reason to take back what was true.
        let beginning = said.iter().any(|c| {
            c.reason.as_deref() == Some(REASON_WAITING) && conditions::is_true(old, &c.type_)
        });
        if !beginning {
            conditions::set(&mut new, condition, now);
        }
    }
    conditions::summarize(&mut new, now);
    new
}

/// What is worth an event: the reason, the message, and whether it means trouble.
fn news(old: &[Condition], new: &[Condition]) -> Option<(String, String, bool)> {
    let said = |all: &[Condition]| {
        let synced = conditions::get(all, types::SYNCED)?;
        let trouble = matches!(synced.severity.as_deref(), Some("Error" | "Warning"));
        let reason = synced.reason.clone()?;
        let waits = reason == REASON_ACCEPTANCE_PENDING;
        (trouble || waits).then(|| (reason, synced.message.clone().unwrap_or_default(), trouble))
    };
    let now = said(new)?;
    (said(old).as_ref() != Some(&now)).then_some(now)
}

/// Writes what is new.
pub(super) async fn report(
    ctx: &Context,
    bundle: &APIServiceBindingBundle,
    facts: &Facts,
) -> Result<(), Error> {
    let name = bundle.name_any();
    let old = bundle.status.clone().unwrap_or_default().conditions;
    let new = conditions_of(&old, facts, &name, ctx.clock.now());
    if new == old {
        return Ok(());
    }
    let status = APIServiceBindingBundleStatus {
        conditions: new.clone(),
    };
    // A merge patch replaces the list, so it must be the list that was read.
    let patch = json!({
        "metadata": {"uid": bundle.uid(), "resourceVersion": bundle.resource_version()},
        "status": status,
    });
    let params = PatchParams {
        field_manager: Some(MANAGER_BUNDLE.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<APIServiceBindingBundle> = Api::all(ctx.client.clone());
    match apply::timed(api.patch_status(&name, &params, &Patch::Merge(&patch))).await {
        Ok(_) => {}
        // The event of what is newer brings the next look.
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => {
            return Ok(());
        }
        Err(source) => {
            return Err(Error::Consumer {
                step: "write the status of the bundle",
                source,
            });
        }
    }
    if let Some((reason, note, trouble)) = news(&old, &new) {
        let regarding = bundle.object_ref(&());
        if trouble {
            ctx.events.warning(&regarding, &reason, note).await;
        } else {
            ctx.events.normal(&regarding, &reason, note).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn facts(outcome: Outcome) -> Facts {
        Facts {
            secret: SecretState::Valid,
            problem: None,
            link: Some(LinkState::Up),
            outcome,
        }
    }

    fn shown(facts: &Facts) -> Vec<(String, String, String)> {
        conditions_of(&[], facts, "all", NOW)
            .into_iter()
            .map(|c| (c.type_, c.status, c.reason.unwrap_or_default()))
            .collect()
    }

    fn row(type_: &str, status: &str, reason: &str) -> (String, String, String) {
        (type_.to_owned(), status.to_owned(), reason.to_owned())
    }

    #[test]
    fn each_failure_has_the_contracts_reason() {
        let mut missing = facts(Outcome::Waiting);
        missing.secret = SecretState::Missing;
        let mut expired = facts(Outcome::Waiting);
        expired.link = Some(LinkState::Unauthorized("no".into()));
        let mut away = facts(Outcome::Waiting);
        away.link = Some(LinkState::Unreachable("refused".into()));
        let foreign = Plan {
            foreign: vec!["a".into()],
            ..Plan::default()
        };
        let held = Plan {
            held: vec!["a".into()],
            ..Plan::default()
        };
        for (facts, secret, synced) in [
            (missing, "KubeconfigSecretNotFound", "ProviderClientError"),
            (expired, "CredentialExpired", "ListExportsFailed"),
            (away, "", "ListExportsFailed"),
            (
                facts(Outcome::NoExports("x".into())),
                "",
                "ListExportsFailed",
            ),
            (facts(Outcome::NoBindings), "", "ListBindingsFailed"),
            (facts(Outcome::Invalid("x".into())), "", "InvalidSwitch"),
            (
                facts(Outcome::Planned(Box::new(foreign), vec![])),
                "",
                "SyncErrors",
            ),
            (
                facts(Outcome::Planned(Box::default(), vec!["a: denied".into()])),
                "",
                "SyncErrors",
            ),
            (
                facts(Outcome::Planned(Box::new(held), vec![])),
                "",
                "RemovalsHeld",
            ),
        ] {
            let shown = shown(&facts);
            let status = if secret.is_empty() { "True" } else { "False" };
            assert_eq!(shown[1], row("SecretValid", status, secret));
            assert_eq!(shown[2], row("Synced", "False", synced));
            assert_eq!(shown[0].1, "False", "{shown:?}");
        }
    }

    #[test]
    fn what_waits_is_shown_with_the_command_and_leaves_the_bundle_ready() {
        let plan = Plan {
            waiting: Some(Waiting {
                what: (0..30)
                    .map(|n| format!("export-{n} (x.example.org)"))
                    .collect(),
                digest: "abc123".into(),
            }),
            ..Plan::default()
        };
        let facts = facts(Outcome::Planned(Box::new(plan), vec![]));
        assert_eq!(shown(&facts)[0], row("Ready", "True", ""));
        let new = conditions_of(&[], &facts, "all", NOW);
        let (reason, note, trouble) = news(&[], &new).unwrap();
        assert_eq!((&*reason, trouble), ("AcceptancePending", false));
        assert!(
            note.contains(
                "kubectl annotate apiservicebindingbundle all kube-bind.io/accept=abc123"
            ),
            "{note}"
        );
        assert!(
            note.contains("export-0") && note.contains("and 20 more"),
            "{note}"
        );
        assert_eq!(news(&new, &new), None);
    }

    #[test]
    fn a_restart_takes_nothing_back() {
        let ready = conditions_of(
            &[],
            &facts(Outcome::Planned(Box::default(), vec![])),
            "all",
            NOW,
        );
        let mut unread = facts(Outcome::Waiting);
        (unread.secret, unread.link) = (SecretState::Unread, None);
        assert_eq!(conditions_of(&ready, &unread, "all", NOW), ready);
        assert_eq!(shown(&unread)[0].1, "False");
    }
}
