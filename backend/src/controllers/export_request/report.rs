//! Says what became of a request (IO, on change only), and deletes it when it is old.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::{APIServiceExportRequest, APIServiceExportRequestStatus, Phase};
use kube_bind_crds::conditions::{self, New, Severity, types};

use super::decide::{Grant, Problem};
use crate::controllers::driver::Scoped;
use crate::controllers::error::Error;
use crate::controllers::sources::Sources;
use crate::controllers::status;
use crate::provision::ensure;

/// Age at which a finished request is deleted, and at which one that still waits fails.
const KEEP: Duration = Duration::from_secs(10 * 60);
/// What a request waits for is watched; this is for what was missed.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Writes phase and conditions, with an event when they changed.
pub async fn report(
    request: &APIServiceExportRequest,
    decision: &Result<Grant, Problem>,
    scoped: &Scoped<Sources>,
) -> Result<Action, Error> {
    let now = scoped.context.clock.now();
    let current = request.status.clone().unwrap_or_default();
    let decision = &give_up(request, decision.clone(), now);
    let wanted = wanted_status(&current, decision, now);
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<APIServiceExportRequest> =
        Api::namespaced(scoped.context.client.clone(), &namespace);
    let changed = status::report(&api, request, &current, &wanted, &scoped.manager())
        .await
        .map_err(Error::request("write the status"))?;
    let (events, object) = (&scoped.context.events, request.object_ref(&()));
    match decision {
        Ok(_) => {
            if changed {
                events
                    .normal(&object, "Exported", "the export has been made")
                    .await;
            }
            Ok(Action::requeue(left(request, now).unwrap_or_default()))
        }
        Err(Problem {
            reason,
            message,
            is_final,
            ..
        }) => {
            if changed {
                events.warning(&object, reason, message.clone()).await;
            }
            Ok(Action::requeue(if *is_final { KEEP } else { LOOK_AGAIN }))
        }
    }
}

/// Ends the waiting: a request that is as old as finished ones get fails with what it waited for.
fn give_up(
    request: &APIServiceExportRequest,
    decision: Result<Grant, Problem>,
    now: Timestamp,
) -> Result<Grant, Problem> {
    decision.map_err(|problem| Problem {
        is_final: problem.is_final || age(request, now).is_some_and(|age| age >= KEEP),
        ..problem
    })
}

fn wanted_status(
    current: &APIServiceExportRequestStatus,
    decision: &Result<Grant, Problem>,
    now: Timestamp,
) -> APIServiceExportRequestStatus {
    let mut wanted = current.clone();
    let all = &mut wanted.conditions;
    match decision {
        Ok(grant) => {
            conditions::set(all, New::true_(types::PERMISSION_CLAIM), now);
            let ready = New::true_(types::EXPORTS_READY);
            let ready = match &grant.left_out {
                Some(what) => ready.with_reason("VersionsLeftOut", what),
                None => ready,
            };
            conditions::set(all, ready, now);
            wanted.phase = Phase::Succeeded;
        }
        Err(Problem {
            condition,
            reason,
            message,
            is_final,
        }) => {
            // The claims are checked first, so any other problem means that they are fine.
            if *condition != types::PERMISSION_CLAIM {
                conditions::set(all, New::true_(types::PERMISSION_CLAIM), now);
            }
            let failed = New::false_(*condition, Severity::Error, *reason, message.clone());
            conditions::set(all, failed, now);
            if *is_final {
                wanted.phase = Phase::Failed;
                wanted.terminal_message = Some(message.clone());
            }
        }
    }
    conditions::summarize(&mut wanted.conditions, now);
    wanted
}

/// Deletes a finished request when its time has come.
pub async fn finish(
    request: &APIServiceExportRequest,
    scoped: &Scoped<Sources>,
) -> Result<Action, Error> {
    if let Some(left) = left(request, scoped.context.clock.now()) {
        return Ok(Action::requeue(left));
    }
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<APIServiceExportRequest> =
        Api::namespaced(scoped.context.client.clone(), &namespace);
    ensure::delete(&api, request)
        .await
        .map_err(Error::request("delete the finished request"))?;
    Ok(Action::await_change())
}

/// How long a finished request stays, if it still does. One that failed late stays as long after that,
/// so that somebody can read why.
fn left(request: &APIServiceExportRequest, now: Timestamp) -> Option<Duration> {
    let created = request.metadata.creation_timestamp.as_ref()?.0;
    let status = request.status.as_ref();
    let failed = status
        .filter(|status| status.phase == Phase::Failed)
        .and_then(|status| conditions::get(&status.conditions, types::READY))
        .map(|ready| ready.last_transition_time.0);
    let since = failed.map_or(created, |failed| failed.max(created));
    let age = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    KEEP.checked_sub(age).filter(|left| !left.is_zero())
}

fn age(request: &APIServiceExportRequest, now: Timestamp) -> Option<Duration> {
    let created = request.metadata.creation_timestamp.as_ref()?.0;
    Duration::try_from(now.duration_since(created)).ok()
}

#[cfg(test)]
mod tests;
