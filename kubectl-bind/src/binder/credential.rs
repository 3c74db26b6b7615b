//! The Secret that holds the provider's kubeconfig: one per server and cluster namespace. IO.

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client};
use kube_bind_crds::api::ClusterSecretKeyRef;
use kube_bind_crds::names::{KONNECTOR_NAMESPACE, KUBECONFIG_KEY};
use kube_bind_runtime::apply::timed;
use kube_bind_runtime::kubeconfig::{Policy, SafeKubeconfig};
use rand::Rng as _;

use crate::cluster::Error;
use crate::manifests::SECRET_PREFIX;

/// Letters of generated names, as the API server takes them: none that can be mistaken or form words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Name of the Secret that already leads to the same place.
pub async fn find(consumer: &Client, new: &SafeKubeconfig) -> Result<Option<String>, Error> {
    let api: Api<Secret> = Api::namespaced(consumer.clone(), KONNECTOR_NAMESPACE);
    let list = timed(api.list(&ListParams::default()))
        .await
        .map_err(|source| Error::Read {
            what: format!("secrets in namespace {KONNECTOR_NAMESPACE}"),
            source: Box::new(source),
        })?;
    Ok(choose(&list.items, new))
}

/// A name for a new one.
pub fn fresh_name() -> String {
    let mut random = rand::rng();
    let suffix: String = (0..5)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect();
    format!("{SECRET_PREFIX}{suffix}")
}

/// Name of the Secret of an existing binding, if nothing in it could be used any more: writing a good
/// credential there is the repair. One that leads elsewhere is not touched.
pub async fn damaged(
    consumer: &Client,
    theirs: &ClusterSecretKeyRef,
) -> Result<Option<String>, Error> {
    if theirs.namespace != KONNECTOR_NAMESPACE || theirs.key != KUBECONFIG_KEY {
        return Ok(None);
    }
    let api: Api<Secret> = Api::namespaced(consumer.clone(), KONNECTOR_NAMESPACE);
    let found = timed(api.get_opt(&theirs.name))
        .await
        .map_err(|source| Error::Read {
            what: format!("secret {KONNECTOR_NAMESPACE}/{}", theirs.name),
            source: Box::new(source),
        })?;
    let usable = found.as_ref().and_then(place).is_some();
    Ok((!usable).then(|| theirs.name.clone()))
}

/// Server and namespace that a Secret leads to; none if it is no kubeconfig that may be used.
fn place(secret: &Secret) -> Option<(String, String)> {
    // Only server and namespace are looked at, so what else the policy forbids does not matter.
    let policy = Policy {
        allow_insecure_tls: true,
        allow_http: true,
    };
    let document = &secret.data.as_ref()?.get(KUBECONFIG_KEY)?.0;
    let parsed = SafeKubeconfig::parse(document, policy).ok()?;
    Some((parsed.server().to_owned(), parsed.namespace().to_owned()))
}

fn choose(secrets: &[Secret], new: &SafeKubeconfig) -> Option<String> {
    let wanted = Some((new.server().to_owned(), new.namespace().to_owned()));
    let mut names: Vec<String> = secrets
        .iter()
        .filter(|s| place(s) == wanted)
        .filter_map(|s| s.metadata.name.clone())
        .collect();
    names.sort_unstable();
    names.into_iter().next()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use kube_bind_runtime::kubeconfig::render;

    use super::*;

    fn secret(name: &str, kubeconfig: &str) -> Secret {
        let mut secret = Secret {
            data: Some([(KUBECONFIG_KEY.to_owned(), ByteString(kubeconfig.into()))].into()),
            ..Secret::default()
        };
        secret.metadata.name = Some(name.to_owned());
        secret
    }

    #[test]
    fn the_secret_of_the_same_server_and_namespace_is_used_again() {
        let document = |server: &str, namespace: &str, token: &str| {
            render(server, None, None, namespace, token)
        };
        let new = document("https://a.example", "ns-1", "new");
        let new = SafeKubeconfig::parse(new.as_bytes(), Policy::default()).unwrap();
        let secrets = [
            secret("broken", "{"),
            secret("other-server", &document("https://b.example", "ns-1", "x")),
            secret(
                "other-namespace",
                &document("https://a.example", "ns-2", "x"),
            ),
        ];
        assert_eq!(choose(&secrets, &new), None);
        let with = [
            &secrets[..],
            &[secret(
                "same",
                &document("https://a.example", "ns-1", "old"),
            )],
        ]
        .concat();
        assert_eq!(choose(&with, &new).unwrap(), "same");
    }

    #[test]
    fn fresh_names_differ() {
        assert_ne!(fresh_name(), fresh_name());
        assert_eq!(fresh_name().len(), SECRET_PREFIX.len() + 5);
    }
}
