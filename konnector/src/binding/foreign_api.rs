//! Whether the consumer serves a kind already, though not by a CRD: an aggregated API server does.
//! What is synced would be its objects then. IO: reads of the discovery.

use kube::Client;
use kube_bind_runtime::apply;
use serde_json::Value;

use crate::fault;

/// The group and version in which a resource of this name is served, if it is.
pub(super) async fn served(client: &Client, crd: &Value) -> Result<Option<String>, kube::Error> {
    let group = crd["spec"]["group"].as_str().unwrap_or_default();
    let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
    let versions = crd["spec"]["versions"].as_array();
    for version in versions.into_iter().flatten() {
        let version = version["name"].as_str().unwrap_or_default();
        let group_version = format!("{group}/{version}");
        match apply::timed(client.list_api_group_resources(&group_version)).await {
            Ok(list) if list.resources.iter().any(|r| r.name == plural) => {
                return Ok(Some(group_version));
            }
            Ok(_) => {}
            Err(error) if fault::code(&error) == Some(404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{answering, failure};
    use serde_json::json;

    #[tokio::test]
    async fn a_kind_of_another_api_server_is_found() {
        let client = answering(|asked| {
            if asked.uri.contains("/apis/example.org/v2") {
                let resource = json!({"name": "widgets", "singularName": "widget", "namespaced": true,
                    "kind": "Widget", "verbs": ["get"]});
                let list = json!({"kind": "APIResourceList", "apiVersion": "v1",
                    "groupVersion": "example.org/v2", "resources": [resource]});
                (200, list)
            } else {
                failure(404, "NotFound")
            }
        });
        let crd = |plural: &str| {
            json!({"spec": {"group": "example.org", "names": {"plural": plural},
                "versions": [{"name": "v1"}, {"name": "v2"}]}})
        };
        let found = served(&client, &crd("widgets")).await.unwrap();
        assert_eq!(found.as_deref(), Some("example.org/v2"));
        assert_eq!(served(&client, &crd("gadgets")).await.unwrap(), None);
    }
}
