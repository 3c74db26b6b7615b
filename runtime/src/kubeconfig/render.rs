//! Writes the kubeconfig that a provider hands to a consumer (contract section 3.3). No IO.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The name of the one cluster, context and user.
const NAME: &str = "default";

/// A kubeconfig as YAML: `ca` is PEM, none leaves it to the reader's trust store.
#[must_use]
pub fn render(
    server: &str,
    ca: Option<&str>,
    tls_server_name: Option<&str>,
    namespace: &str,
    token: &str,
) -> String {
    let mut cluster = json!({ "server": server });
    if let Some(ca) = ca {
        cluster["certificate-authority-data"] = STANDARD.encode(ca).into();
    }
    if let Some(name) = tls_server_name {
        cluster["tls-server-name"] = name.into();
    }
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": NAME, "cluster": cluster }],
        "contexts": [{ "name": NAME, "context": { "cluster": NAME, "namespace": namespace, "user": NAME } }],
        "current-context": NAME,
        "users": [{ "name": NAME, "user": { "token": token } }],
    });
    serde_saphyr::to_string(&document).expect("JSON values without floats are always YAML")
}
