//! Objects of the tests: what users create, and how to look at them on both sides.

use std::fmt::Debug;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PostParams,
};
use kube::{Client, ResourceExt};
use kube_bind_crds::names;
use serde_json::{Value, json};

use crate::cluster::{ControlPlane, client_of};
use crate::provider::{ISSUER, is_ready};
use crate::wait::wait_for;

/// Any namespaced kind.
pub fn api(client: Client, gvk: (&str, &str, &str), namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(gvk.0, gvk.1, gvk.2));
    if namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, namespace, &resource)
    }
}

/// Certificates of cert-manager.
pub fn certificates(plane: &ControlPlane, namespace: &str) -> Api<DynamicObject> {
    api(
        plane.client(),
        ("cert-manager.io", "v1", "Certificate"),
        namespace,
    )
}

/// Secrets.
pub fn secrets(plane: &ControlPlane, namespace: &str) -> Api<Secret> {
    Api::namespaced(plane.client(), namespace)
}

/// A certificate as a user would write it; the key goes into Secret `<name>-tls`.
pub fn certificate(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": name, "labels": {"team": "shop"}},
        "spec": {
            "secretName": format!("{name}-tls"),
            "dnsNames": [host],
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "issuerRef": {"name": ISSUER, "kind": "ClusterIssuer", "group": "cert-manager.io"},
        },
    })
}

/// Makes a namespace, as a user of the cluster.
pub async fn create_namespace(plane: &ControlPlane, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(plane.client());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        ..Default::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("failed to create {name}"))?;
    Ok(())
}

/// Creates an object, as a user of the cluster.
pub async fn create(api: &Api<DynamicObject>, object: &Value) -> Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(object.clone()).context("not an object")?;
    api.create(&PostParams::default(), &object)
        .await
        .with_context(|| format!("failed to create {}", object.name_any()))
}

/// Waits until the object says `Ready=True` of itself.
pub async fn wait_ready(api: &Api<DynamicObject>, name: &str) -> Result<DynamicObject> {
    wait_for(&format!("{name} to be ready"), || async {
        let object = api.get(name).await?;
        if is_ready(&object.data) {
            Ok(object)
        } else {
            Err(anyhow!("its status is {}", object.data["status"]))
        }
    })
    .await
}

/// Waits until the object is as `expected` says.
pub async fn wait_until<K, F>(api: &Api<K>, name: &str, what: &str, expected: F) -> Result<K>
where
    K: Clone + serde::de::DeserializeOwned + Debug,
    F: Fn(&K) -> bool,
{
    wait_for(&format!("{name}: {what}"), || async {
        let object = api.get(name).await?;
        if expected(&object) {
            Ok(object)
        } else {
            Err(anyhow!("it is {object:?}"))
        }
    })
    .await
}

/// Waits until the object is gone.
pub async fn wait_gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Clone + serde::de::DeserializeOwned + Debug,
{
    wait_for(&format!("{name} to be gone"), || async {
        match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(anyhow!("it is {object:?}")),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Waits for an Event on an object of this name whose reason is `reason`, and gives its note.
pub async fn wait_event(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    reason: &str,
) -> Result<String> {
    let events: Api<Event> = Api::namespaced(plane.client(), namespace);
    wait_for(&format!("event {reason} on {name}"), || async {
        let all = events.list(&ListParams::default()).await?;
        let of_object: Vec<_> = all
            .items
            .into_iter()
            .filter(|e| e.involved_object.name.as_deref() == Some(name))
            .collect();
        match of_object
            .iter()
            .find(|event| event.reason.as_deref() == Some(reason))
        {
            Some(event) => Ok(event.message.clone().unwrap_or_default()),
            None => Err(anyhow!(
                "there are {:?}",
                of_object.iter().map(|e| &e.reason).collect::<Vec<_>>()
            )),
        }
    })
    .await
}

/// Status, reason and message of a condition in the contract's style.
pub fn condition(object: &DynamicObject, kind: &str) -> Option<(String, String, String)> {
    let all = object.data.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|condition| condition["type"] == kind)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// What the konnector of a consumer uses to talk to the provider: the Secret that the plugin wrote.
pub async fn provider_credential(plane: &ControlPlane) -> Result<Secret> {
    let selector = format!("{}=true", names::LABEL_PROVIDER_KUBECONFIG);
    let found = secrets(plane, names::KONNECTOR_NAMESPACE)
        .list(&ListParams::default().labels(&selector))
        .await?;
    let count = found.items.len();
    match found.items.into_iter().next() {
        Some(secret) if count == 1 => Ok(secret),
        _ => bail!("{count} Secrets hold a provider kubeconfig, expected one"),
    }
}

/// A client with the credential that a consumer was given, and the cluster namespace that it names.
pub async fn as_consumer(plane: &ControlPlane) -> Result<(Client, String)> {
    let (path, namespace) = credential_file(plane).await?;
    Ok((client_of(&path).await?, namespace))
}

/// The same credential as a file.
pub async fn credential_file(plane: &ControlPlane) -> Result<(PathBuf, String)> {
    let secret = provider_credential(plane).await?;
    let data = secret.data.unwrap_or_default();
    let bytes = &data
        .get(names::KUBECONFIG_KEY)
        .context("the Secret has no kubeconfig")?
        .0;
    let path = plane.dir().join("credential-of-consumer.kubeconfig");
    std::fs::write(&path, bytes).context("failed to write the credential")?;
    let parsed = kube::config::Kubeconfig::read_from(&path)?;
    let context = parsed
        .contexts
        .into_iter()
        .next()
        .and_then(|named| named.context);
    let namespace = context
        .and_then(|context| context.namespace)
        .context("the kubeconfig names no namespace")?;
    Ok((path, namespace))
}

/// The service namespace of a consumer namespace, once published.
pub async fn service_namespace(
    provider: &ControlPlane,
    cluster_namespace: &str,
    namespace: &str,
) -> Result<String> {
    let mappings = api(
        provider.client(),
        ("kube-bind.io", "v1alpha2", "APIServiceNamespace"),
        cluster_namespace,
    );
    wait_for(&format!("the service namespace of {namespace}"), || async {
        let mapping = mappings.get(namespace).await?;
        mapping
            .data
            .pointer("/status/namespace")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .context("not published")
    })
    .await
}
