//! What a heartbeat writes. No IO.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube_bind_crds::api::{ClusterBinding, ClusterSecretKeyRef, LocalSecretRef};
use kube_bind_crds::conditions::{self, New, Severity, reasons, types};
use kube_bind_crds::version::VERSION;
use serde_json::{Value, json};

use super::secret::Source;

/// What is promised to the provider.
const INTERVAL: &str = "5m0s";
/// A heartbeat younger than this is young enough. A little less than the time between two
/// heartbeats, because times on the wire have whole seconds only.
const FRESH: SignedDuration = SignedDuration::from_secs(145);

/// The patch of `/status`, or nothing while all is said and young.
pub fn patch(
    cluster_binding: &ClusterBinding,
    secret: &Source,
    consumer_secret: Option<&ClusterSecretKeyRef>,
    now: Timestamp,
) -> Option<Value> {
    let old = cluster_binding.status.clone().unwrap_or_default();
    let mut new = old.clone();
    conditions::set(&mut new.conditions, secret_valid(secret), now);
    conditions::set(&mut new.conditions, New::true_(types::VALID_VERSION), now);
    conditions::summarize(&mut new.conditions, now);
    new.heartbeat_interval = Some(INTERVAL.to_owned());
    new.konnector_version = Some(VERSION.to_owned());
    new.consumer_secret_ref = consumer_secret.map(|secret| LocalSecretRef {
        name: secret.name.clone(),
        namespace: secret.namespace.clone(),
    });
    if is_due(old.last_heartbeat_time.as_ref(), now) {
        let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
        new.last_heartbeat_time = Some(Time(seconds));
    }
    (new != old).then(|| {
        json!({
            "metadata": {"resourceVersion": cluster_binding.resource_version()},
            "status": new,
        })
    })
}

fn is_due(last: Option<&Time>, now: Timestamp) -> bool {
    match last {
        // A time in the future is a clock that was wrong: it must not silence us.
        Some(last) => now.duration_since(last.0).abs() >= FRESH,
        None => true,
    }
}

fn secret_valid(secret: &Source) -> New {
    match secret {
        Source::Usable { .. } => New::true_(types::SECRET_VALID),
        Source::Missing(message) => New::false_(
            types::SECRET_VALID,
            Severity::Warning,
            reasons::PROVIDER_SECRET_NOT_FOUND,
            message,
        ),
        Source::Refused(message) => New::false_(
            types::SECRET_VALID,
            Severity::Warning,
            reasons::PROVIDER_SECRET_INVALID,
            message,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube_bind_crds::api::ClusterBindingSpec;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn written(old: &ClusterBinding, patch: Option<Value>) -> ClusterBinding {
        let mut new = old.clone();
        new.status = Some(serde_json::from_value(patch.unwrap()["status"].clone()).unwrap());
        new
    }

    fn usable() -> Source {
        Source::Usable {
            data: Default::default(),
        }
    }

    #[test]
    fn the_first_heartbeat_says_everything_and_the_second_only_after_half_the_interval() {
        let empty = ClusterBinding::new("cluster", ClusterBindingSpec::default());
        let first = written(&empty, patch(&empty, &usable(), None, at(1000)));
        let status = first.status.as_ref().unwrap();
        assert_eq!(status.heartbeat_interval.as_deref(), Some("5m0s"));
        assert_eq!(status.konnector_version.as_deref(), Some(VERSION));
        assert!(conditions::is_true(&status.conditions, types::READY));
        assert_eq!(patch(&first, &usable(), None, at(1100)), None);
        let second = patch(&first, &usable(), None, at(1150));
        assert_eq!(
            second.unwrap()["status"]["lastHeartbeatTime"],
            "1970-01-01T00:19:10Z"
        );
    }

    #[test]
    fn a_heartbeat_from_the_future_is_replaced() {
        assert!(is_due(Some(&Time(at(10_000))), at(1000)));
        assert!(!is_due(Some(&Time(at(1010))), at(1000)));
    }

    #[test]
    fn a_refused_secret_is_said_at_once() {
        let empty = ClusterBinding::new("cluster", ClusterBindingSpec::default());
        let first = written(&empty, patch(&empty, &usable(), None, at(1000)));
        let refused = Source::Refused("another server".into());
        let second = written(&first, patch(&first, &refused, None, at(1001)));
        let conditions = second.status.unwrap().conditions;
        let found = conditions::get(&conditions, types::SECRET_VALID).unwrap();
        assert_eq!(found.reason.as_deref(), Some("ProviderSecretInvalid"));
        assert!(!conditions::is_true(&conditions, types::READY));
    }
}
