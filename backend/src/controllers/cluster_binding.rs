//! Health of a consumer's connection: condition `Healthy` of its `ClusterBinding`, from the heartbeats
//! that its konnector writes (contract section 4.2).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube_bind_crds::api::{ClusterBinding, ClusterBindingStatus};
use kube_bind_crds::conditions::{self, New, Severity, reasons, types};
use kube_bind_runtime::go_duration;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Scoped};
use super::error::{Error, RESYNC};
use super::{Context, seen, status};
use kube::Resource;

const NAME: &str = "cluster-binding";
const CONCURRENCY: u16 = 4;
/// Clocks of two clusters may differ by this much.
const DRIFT: SignedDuration = SignedDuration::from_secs(10);

/// Watches heartbeats until `stop`.
pub async fn run(context: Context, stop: CancellationToken) {
    Driver::<ClusterBinding>::new(context, NAME, seen::everything)
        .run((), CONCURRENCY, stop, reconcile)
        .await;
}

async fn reconcile(binding: Arc<ClusterBinding>, scoped: Arc<Scoped<()>>) -> Result<Action, Error> {
    let now = scoped.context.clock.now();
    let current = binding.status.clone().unwrap_or_default();
    let Health {
        condition,
        look_again,
    } = decide(&current, now);
    let was = conditions::get(&current.conditions, types::HEALTHY).map(|c| c.status.clone());
    let mut wanted = current.clone();
    conditions::set(&mut wanted.conditions, condition, now);
    conditions::summarize(&mut wanted.conditions, now);
    let namespace = binding.namespace().unwrap_or_default();
    let api = Api::namespaced(scoped.context.client.clone(), &namespace);
    status::report(&api, &*binding, &current, &wanted, &scoped.manager())
        .await
        .map_err(Error::request("write the status"))?;
    announce(&binding, was.as_deref(), &wanted, &scoped).await;
    Ok(Action::requeue(look_again))
}

async fn announce(
    binding: &ClusterBinding,
    was: Option<&str>,
    status: &ClusterBindingStatus,
    scoped: &Scoped<()>,
) {
    let Some(healthy) = conditions::get(&status.conditions, types::HEALTHY) else {
        return;
    };
    let (events, object) = (&scoped.context.events, binding.object_ref(&()));
    let lost = healthy.reason.as_deref() == Some(reasons::HEARTBEAT_TIMEOUT);
    if was != Some(conditions::TRUE) && healthy.status == conditions::TRUE {
        events
            .normal(&object, "Connected", "the konnector reports regularly")
            .await;
    } else if was == Some(conditions::TRUE) && lost {
        let note = healthy.message.clone().unwrap_or_default();
        events
            .warning(&object, reasons::HEARTBEAT_TIMEOUT, note)
            .await;
    }
}

struct Health {
    condition: New,
    look_again: Duration,
}

fn decide(status: &ClusterBindingStatus, now: Timestamp) -> Health {
    let unhealthy =
        |severity, reason, message: String| New::false_(types::HEALTHY, severity, reason, message);
    let Some(last) = status.last_heartbeat_time.as_ref().map(|time| time.0) else {
        let message = "the konnector has not reported yet".to_owned();
        return Health {
            condition: unhealthy(Severity::Info, reasons::FIRST_HEARTBEAT_PENDING, message),
            look_again: RESYNC,
        };
    };
    let interval = status.heartbeat_interval.as_deref().map(go_duration::parse);
    let Some(Ok(interval)) = interval.filter(|parsed| parsed.as_ref().is_ok_and(|d| !d.is_zero()))
    else {
        let message = "the konnector does not say how often it reports".to_owned();
        return Health {
            condition: unhealthy(Severity::Info, reasons::HEARTBEAT_INTERVAL_MISSING, message),
            look_again: RESYNC,
        };
    };
    let limit = interval.saturating_mul(2);
    let age = now.duration_since(last);
    let limit_signed = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    if age > limit_signed {
        let message = format!(
            "the last report is from {last}, older than {}",
            go_duration::format(limit)
        );
        return Health {
            condition: unhealthy(Severity::Error, reasons::HEARTBEAT_TIMEOUT, message),
            look_again: RESYNC,
        };
    }
    // One second more, because the comparison is with "older than".
    let left = limit_signed
        .saturating_sub(age)
        .saturating_add(SignedDuration::from_secs(1));
    let look_again = Duration::try_from(left).unwrap_or(RESYNC).min(RESYNC);
    if age < -DRIFT {
        let message =
            "the last report is from the future: the clocks of consumer and provider differ"
                .to_owned();
        return Health {
            condition: unhealthy(Severity::Warning, reasons::HEARTBEAT_TIME_DRIFT, message),
            look_again,
        };
    }
    Health {
        condition: New::true_(types::HEALTHY),
        look_again,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    const NOW: &str = "2026-01-01T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn decided(last: Option<&str>, interval: Option<&str>) -> (Option<String>, Duration) {
        let status = ClusterBindingStatus {
            last_heartbeat_time: last.map(|text| Time(at(text))),
            heartbeat_interval: interval.map(str::to_owned),
            ..ClusterBindingStatus::default()
        };
        let health = decide(&status, at(NOW));
        let mut all = Vec::new();
        conditions::set(&mut all, health.condition, at(NOW));
        (all[0].reason.clone(), health.look_again)
    }

    #[test]
    fn reasons_come_in_the_order_of_the_contract() {
        let reason = |last, interval| decided(last, interval).0;
        assert_eq!(reason(None, None).as_deref(), Some("FirstHeartbeatPending"));
        assert_eq!(
            reason(Some("2026-01-01T11:59:00Z"), None).as_deref(),
            Some("HeartbeatIntervalMissing")
        );
        assert_eq!(
            reason(Some("2026-01-01T11:59:00Z"), Some("soon")).as_deref(),
            Some("HeartbeatIntervalMissing")
        );
        assert_eq!(
            reason(Some("2026-01-01T11:49:59Z"), Some("5m0s")).as_deref(),
            Some("HeartbeatTimeout")
        );
        assert_eq!(
            reason(Some("2026-01-01T12:00:11Z"), Some("5m0s")).as_deref(),
            Some("HeartbeatTimeDrift")
        );
    }

    #[test]
    fn a_fresh_heartbeat_is_healthy() {
        for last in [
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:00:09Z",
            "2026-01-01T11:50:00Z",
        ] {
            assert_eq!(decided(Some(last), Some("5m0s")).0, None, "{last}");
        }
    }

    #[test]
    fn silence_is_looked_for_when_it_would_begin() {
        let (_, again) = decided(Some("2026-01-01T11:59:00Z"), Some("5m0s"));
        assert_eq!(again, Duration::from_secs(9 * 60 + 1));
    }
}
