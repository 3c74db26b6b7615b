//! Keeps what every connected consumer needs in its cluster namespace: service account, rights, and a
//! credential that is renewed in time, made anew when it was damaged, and withdrawn when it was revoked.
//!
//! Only consumers whose `ClusterBinding` exists are served. It owns the binding of the rights and the
//! Secrets of the credential, so deleting it ends a consumer until somebody who may bind does so again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::ClusterBinding;
use kube_bind_crds::names::CLUSTER_BINDING_NAME;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Scoped};
use super::error::{Error, RESYNC};
use super::{Context, seen};
use crate::credentials::{Credentials, Reason, Renewal};
use crate::provision::names::{COMPONENT_CREDENTIAL, LABEL_COMPONENT};
use crate::provision::{Provisioner, ensure, plan};

const NAME: &str = "consumer";
const CONCURRENCY: u16 = 4;
/// Time from the start until quotas are made. Kubernetes notices only after a while that there are kinds
/// to count, and a quota that it cannot count yet forbids everything.
const QUOTA_AFTER: Duration = Duration::from_secs(120);

struct State {
    started: Instant,
    provisioner: Provisioner,
    credentials: Credentials,
}

/// Serves all consumers until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    let client = context.client.clone();
    let (settings, clock) = (Arc::clone(&context.settings), context.clock.clone());
    let state = State {
        started: clock.monotonic(),
        provisioner: Provisioner::new(client.clone(), Arc::clone(&settings), clock.clone()),
        credentials: Credentials::new(client, settings, clock),
    };
    let ours =
        watcher::Config::default().labels(&format!("{LABEL_COMPONENT}={COMPONENT_CREDENTIAL}"));
    Driver::<ClusterBinding>::new(context, NAME, seen::without_status)
        .watches::<Secret>(ours, seen::everything, |secret| {
            let namespace = secret.namespace().unwrap_or_default();
            vec![ObjectRef::new(CLUSTER_BINDING_NAME).within(&namespace)]
        })
        .run(state, CONCURRENCY, stop, reconcile)
        .await;
}

async fn reconcile(
    binding: Arc<ClusterBinding>,
    scoped: Arc<Scoped<State>>,
) -> Result<Action, Error> {
    if binding.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = binding.namespace().unwrap_or_default();
    let State {
        provisioner,
        credentials,
        started,
    } = &scoped.state;
    let Some(owner) = binding.owner_ref(&()) else {
        return Ok(Action::await_change());
    };
    provisioner.rights(&namespace, &owner).await?;
    let clock = &scoped.context.clock;
    let running = clock.monotonic().saturating_duration_since(*started);
    let mut look_again = RESYNC;
    if running >= QUOTA_AFTER {
        let quota = plan::quota(&namespace, &owner, &scoped.context.settings);
        ensure::ensure(&scoped.context.client, &quota, &scoped.manager())
            .await
            .map_err(Error::request("apply the ResourceQuota"))?;
    } else {
        look_again = QUOTA_AFTER.saturating_sub(running);
    }
    let renewal = credentials
        .renew(&namespace, &plan::secret_of(Some(&binding)), &owner)
        .await?;
    let credential = match renewal {
        Renewal::Good(credential) => credential,
        Renewal::None => return Ok(Action::requeue(look_again)),
        Renewal::Withdrawn => {
            let note = "the credential was revoked; the next bind of this consumer issues another";
            scoped
                .context
                .events
                .warning(&binding.object_ref(&()), "CredentialWithdrawn", note)
                .await;
            return Ok(Action::requeue(look_again));
        }
    };
    if let Some(reason) = credential.issued {
        let object = binding.object_ref(&());
        let note = format!("issued a new credential, because {reason}");
        match reason {
            Reason::Missing | Reason::Due => {
                scoped
                    .context
                    .events
                    .normal(&object, "CredentialIssued", note)
                    .await;
            }
            Reason::Damaged | Reason::Revoked | Reason::EndpointChanged => {
                scoped
                    .context
                    .events
                    .warning(&object, "CredentialReplaced", note)
                    .await;
            }
        }
    }
    // Our first credential has served its time, so the konnector has had it for long.
    if credential.issued == Some(Reason::Due) && credentials.retire_legacy(&namespace).await? {
        let note = "deleted the token without an end that this consumer had before";
        scoped
            .context
            .events
            .normal(&binding.object_ref(&()), "LegacyTokenDeleted", note)
            .await;
    }
    let renewal = until(credential.renew_at, clock.now());
    Ok(Action::requeue(renewal.min(look_again)))
}

/// Time until the renewal, but never longer than until the next regular look.
fn until(renew_at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(renew_at.duration_since(now))
        .unwrap_or(Duration::ZERO)
        .min(RESYNC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_waited_for_and_a_missed_one_is_due_now() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(
            until(at("2026-01-01T12:10:00Z"), now),
            Duration::from_secs(600)
        );
        assert_eq!(until(at("2026-01-01T11:00:00Z"), now), Duration::ZERO);
        assert_eq!(until(at("2026-01-09T12:00:00Z"), now), RESYNC);
    }
}
