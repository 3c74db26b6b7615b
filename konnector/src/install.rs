//! The konnector's own two CRDs, installed when it starts. IO: apply, then read until they are
//! established.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::consumer_rights::OWN_CRDS;
use kube_bind_crds::manifests;
use kube_bind_runtime::apply;
use kube_bind_runtime::backoff::Backoff;
use serde_json::Value;

use crate::consumer::CrdView;
use crate::fault;
use crate::names::MANAGER_CRD;

/// Why a CRD is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("failed to install custom resource definition {name}")]
    Apply {
        /// The CRD.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// It is there but not served yet.
    #[error("custom resource definition {name} is not established yet")]
    NotEstablished {
        /// The CRD.
        name: String,
    },
    /// It is neither there nor may it be installed.
    #[error(
        "custom resource definition {name} is missing, and this konnector may not install it; \
         grant create and patch on it, or install it"
    )]
    Denied {
        /// The CRD.
        name: String,
        /// What the API server says.
        source: kube::Error,
    },
}

/// Installs the CRDs; comes back only when they can be used.
pub async fn own_crds(client: &Client, tell: impl Fn(Result<(), String>)) {
    let backoff = Backoff::between(Duration::from_millis(100), Duration::from_secs(30));
    loop {
        match install(client).await {
            Ok(()) => return tell(Ok(())),
            Err(error) => {
                let pause = backoff.next(&());
                let cause = match &error {
                    Error::Apply { source, .. } | Error::Denied { source, .. } => {
                        fault::describe(source)
                    }
                    Error::NotEstablished { .. } => String::new(),
                };
                if !matches!(error, Error::NotEstablished { .. }) {
                    tracing::warn!(
                        error = %error,
                        cause,
                        "trying again in {pause:?}"
                    );
                }
                tell(Err(error.to_string()));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn install(client: &Client) -> Result<(), Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for manifest in manifests::all() {
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        if OWN_CRDS.contains(&name) {
            install_one(&api, name, &manifest).await?;
        }
    }
    Ok(())
}

async fn install_one(
    api: &Api<CustomResourceDefinition>,
    name: &str,
    manifest: &Value,
) -> Result<(), Error> {
    let crd = match apply::apply(api, name, MANAGER_CRD, manifest).await {
        Ok(crd) => crd,
        Err(denied) if fault::code(&denied) == Some(403) => {
            match apply::timed(api.get_opt(name)).await {
                Ok(Some(crd)) => {
                    tracing::info!(
                        crd.name = %name,
                        "custom resource definition {} is used as it is: {}",
                        crd.name_any(),
                        fault::describe(&denied)
                    );
                    crd
                }
                Ok(None) | Err(_) => {
                    return Err(Error::Denied {
                        name: name.to_owned(),
                        source: denied,
                    });
                }
            }
        }
        Err(source) => {
            return Err(Error::Apply {
                name: name.to_owned(),
                source,
            });
        }
    };
    if CrdView::of(crd).established() {
        Ok(())
    } else {
        Err(Error::NotEstablished {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{answering, failure};
    use serde_json::json;

    fn established(name: &str) -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {"group": "kube-bind.io", "scope": "Cluster", "versions": [],
                "names": {"plural": "x", "kind": "X"}},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        })
    }

    #[tokio::test]
    async fn exactly_the_two_crds_of_the_consumer_are_applied() {
        let client = answering(|asked| {
            assert_eq!(asked.method, "PATCH");
            let name = asked.body["metadata"]["name"].as_str().unwrap();
            assert!(OWN_CRDS.contains(&name), "{name}");
            (200, established(name))
        });
        install(&client).await.unwrap();
    }

    #[tokio::test]
    async fn without_the_right_an_existing_crd_is_good_enough() {
        let client = answering(|asked| match asked.method.as_str() {
            "PATCH" => failure(403, "Forbidden"),
            _ => (200, established("x")),
        });
        install(&client).await.unwrap();
        let client = answering(|asked| match asked.method.as_str() {
            "PATCH" => failure(403, "Forbidden"),
            _ => failure(404, "NotFound"),
        });
        assert!(matches!(install(&client).await, Err(Error::Denied { .. })));
    }
}
