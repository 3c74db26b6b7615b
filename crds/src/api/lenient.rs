//! Reading of fields that consumers write on the provider. One value that we cannot read would fail
//! the list of all consumers' objects, and an API server accepts more as `date-time` than a calendar
//! knows, such as an offset of 99 hours. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Deserializer};

/// A time, or the epoch if it is none.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    Ok(optional_time(deserializer)?.unwrap_or(Time(Timestamp::UNIX_EPOCH)))
}

/// A time, or nothing if it is none.
pub(super) fn optional_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Time>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()).map(Time))
}

#[cfg(test)]
mod tests {
    use crate::api::{ClusterBindingStatus, Condition};
    use serde_json::json;

    #[test]
    fn a_time_that_no_calendar_knows_does_not_fail_the_object() {
        let status: ClusterBindingStatus =
            serde_json::from_value(json!({ "lastHeartbeatTime": "2026-01-02T03:04:05+99:99" }))
                .unwrap();
        assert_eq!(status.last_heartbeat_time, None);

        let condition: Condition = serde_json::from_value(json!({
            "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05+99:99",
        }))
        .unwrap();
        assert_eq!(condition.last_transition_time.0.as_second(), 0);
    }

    #[test]
    fn a_time_is_read() {
        let status: ClusterBindingStatus =
            serde_json::from_value(json!({ "lastHeartbeatTime": "2026-01-02T03:04:05Z" })).unwrap();
        assert_eq!(
            status.last_heartbeat_time.unwrap().0.to_string(),
            "2026-01-02T03:04:05Z"
        );
    }
}
