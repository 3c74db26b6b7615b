//! The credential of a consumer: a service account token bound to a Secret made for that purpose, in a
//! kubeconfig, in a Secret of the cluster namespace. `decide` says whether it is good; this does the IO.
//!
//! Deleting the bound Secret revokes all tokens at once. A renewal leaves it in place, so that the
//! former token works until its own end.

mod decide;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{
    BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus,
};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use kube_bind_crds::names::BINDER;
use kube_bind_runtime::apply::{apply, timed};
use kube_bind_runtime::clock::SharedClock;
use kube_bind_runtime::kubeconfig;
use serde_json::json;

pub use decide::{Decision, Reason};

use crate::provision::Settings;
use crate::provision::ensure::{create, delete};
use crate::provision::names::{
    ANNOTATION_BOUND_TO, ANNOTATION_DIGEST, ANNOTATION_ENDPOINT, ANNOTATION_EXPIRES,
    ANNOTATION_ISSUED, COMPONENT_CREDENTIAL, LABEL_COMPONENT, TOKEN_SECRET,
};
use crate::provision::plan::SecretKey;

/// Field manager of the credential's Secrets.
pub const MANAGER: &str = "kube-bind-backend/credentials";

/// Type of the Secrets that the original kept tokens in.
const LEGACY_TYPE: &str = "kubernetes.io/service-account-token";

/// Failure of a step of issuing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the provider's API server failed.
    #[error("failed to {step}")]
    Request {
        /// What was being done.
        step: &'static str,
        /// The answer.
        source: kube::Error,
    },
    /// The Secret that tokens are bound to vanishes as soon as it is made, or is being deleted.
    #[error("secret {TOKEN_SECRET} in namespace {namespace} is being deleted")]
    Unbound {
        /// The cluster namespace.
        namespace: String,
    },
    /// The API server answered a token request without a token.
    #[error("the API server returned no token")]
    NoToken,
}

fn request(step: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Request { step, source }
}

/// A credential that is good now.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Kubeconfig, YAML. Secret.
    pub kubeconfig: String,
    /// When it has to be renewed.
    pub renew_at: Timestamp,
    /// Why it was made, if it is new.
    pub issued: Option<Reason>,
}

/// Issues credentials.
#[derive(Clone)]
pub struct Credentials {
    client: Client,
    settings: Arc<Settings>,
    clock: SharedClock,
}

impl Credentials {
    /// Credentials for the cluster of `client`.
    pub fn new(client: Client, settings: Arc<Settings>, clock: SharedClock) -> Self {
        Self {
            client,
            settings,
            clock,
        }
    }

    /// Returns the credential in `secret`; makes a new one if there is none or if it is not good any more.
    pub async fn ensure(&self, namespace: &str, secret: &SecretKey) -> Result<Credential, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let current = timed(api.get_opt(&secret.name))
            .await
            .map_err(request("read the kubeconfig secret"))?;
        let bound = self.bound_secret(&api).await?;
        let now = self.clock.now();
        let bound_uid = bound
            .as_ref()
            .and_then(|secret| secret.metadata.uid.as_deref());
        let decided = decide::decide(
            current.as_ref(),
            &secret.key,
            bound_uid,
            &self.settings,
            now,
        );
        match decided {
            Decision::Keep {
                kubeconfig,
                renew_at,
            } => Ok(Credential {
                kubeconfig,
                renew_at,
                issued: None,
            }),
            Decision::Issue(reason) => {
                let bound = match bound {
                    Some(bound) => bound,
                    None => self.make_bound_secret(&api, namespace).await?,
                };
                self.issue(namespace, secret, &bound, reason, now).await
            }
        }
    }

    /// The Secret that tokens are bound to, unless it is gone or going.
    async fn bound_secret(&self, api: &Api<Secret>) -> Result<Option<Secret>, Error> {
        let found = timed(api.get_opt(TOKEN_SECRET))
            .await
            .map_err(request("read the token secret"))?;
        Ok(found.filter(|secret| secret.metadata.deletion_timestamp.is_none()))
    }

    async fn make_bound_secret(&self, api: &Api<Secret>, namespace: &str) -> Result<Secret, Error> {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(TOKEN_SECRET.to_owned()),
                labels: Some(
                    [(LABEL_COMPONENT.to_owned(), COMPONENT_CREDENTIAL.to_owned())].into(),
                ),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        create(api, &secret, MANAGER)
            .await
            .map_err(request("create the token secret"))?;
        self.bound_secret(api).await?.ok_or_else(|| Error::Unbound {
            namespace: namespace.to_owned(),
        })
    }

    async fn issue(
        &self,
        namespace: &str,
        secret: &SecretKey,
        bound: &Secret,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Credential, Error> {
        let TokenRequestStatus {
            expiration_timestamp,
            token,
        } = self.token(namespace, bound).await?;
        let expires = expiration_timestamp.0;
        let settings = &self.settings;
        let ca = settings.external_ca.as_deref().map(String::from_utf8_lossy);
        let kubeconfig = kubeconfig::render(
            &settings.external_address,
            ca.as_deref(),
            settings.external_server_name.as_deref(),
            namespace,
            &token,
        );
        let body = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret.name,
                "labels": { LABEL_COMPONENT: COMPONENT_CREDENTIAL },
                "annotations": {
                    ANNOTATION_ISSUED: now.to_string(),
                    ANNOTATION_EXPIRES: expires.to_string(),
                    ANNOTATION_BOUND_TO: bound.uid(),
                    ANNOTATION_DIGEST: decide::digest(&kubeconfig),
                    ANNOTATION_ENDPOINT: decide::endpoint(settings),
                },
            },
            "data": { &secret.key: ByteString(kubeconfig.clone().into_bytes()) },
        });
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        apply(&api, &secret.name, MANAGER, &body)
            .await
            .map_err(request("write the kubeconfig secret"))?;
        tracing::info!(namespace.name = namespace, credential.expires = %expires, %reason, "issued a credential for {namespace}");
        let renew_at = decide::renew_at(now, expires, settings.credential_renew_after);
        Ok(Credential {
            kubeconfig,
            renew_at,
            issued: Some(reason),
        })
    }

    /// Deletes the token without an end that the original made for a consumer; says whether there was
    /// one. The time to call it is when the consumer has had our credential for long enough.
    pub async fn retire_legacy(&self, namespace: &str) -> Result<bool, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = timed(api.get_opt(BINDER))
            .await
            .map_err(request("read the original's token"))?;
        let legacy = found.filter(|secret| secret.type_.as_deref() == Some(LEGACY_TYPE));
        let Some(legacy) = legacy else {
            return Ok(false);
        };
        delete(&api, &legacy)
            .await
            .map_err(request("delete the original's token"))?;
        Ok(true)
    }

    async fn token(&self, namespace: &str, bound: &Secret) -> Result<TokenRequestStatus, Error> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let life = i64::try_from(self.settings.credential_ttl.as_secs()).unwrap_or(i64::MAX);
        let wanted = TokenRequest {
            spec: TokenRequestSpec {
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Secret".to_owned()),
                    name: Some(TOKEN_SECRET.to_owned()),
                    uid: bound.uid(),
                }),
                expiration_seconds: Some(life),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = timed(api.create_token_request(BINDER, &PostParams::default(), &wanted))
            .await
            .map_err(request("request a token"))?;
        answer
            .status
            .filter(|status| !status.token.is_empty())
            .ok_or(Error::NoToken)
    }
}

#[cfg(test)]
mod tests;
