//! The credential of a consumer: a service account token bound to a Secret made for that purpose, in a
//! kubeconfig, in a Secret of the cluster namespace. `decide` says whether it is good; this does the IO.
//!
//! Deleting the bound Secret revokes all tokens at once, and for good: the kubeconfig is withdrawn, and
//! only a bind, which takes a login, makes another. A renewal leaves that Secret in place, so that the
//! former token works until its own end.

mod decide;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{
    BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus,
};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
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

/// What became of the credential of a consumer that nobody is logged in for.
#[derive(Clone, PartialEq, Eq)]
pub enum Renewal {
    /// It is good, or there is a new one.
    Good(Credential),
    /// It was revoked, and has just been taken away.
    Withdrawn,
    /// There is none until somebody binds.
    None,
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

    /// Returns the credential in `secret` for somebody who has logged in; makes a new one if there is
    /// none or if it is not good any more. It ends with `owner`.
    pub async fn ensure(
        &self,
        namespace: &str,
        secret: &SecretKey,
        owner: &OwnerReference,
    ) -> Result<Credential, Error> {
        let known = self.look(namespace, secret, owner).await?;
        match known.decision {
            Decision::Keep {
                kubeconfig,
                renew_at,
            } => Ok(kept(kubeconfig, renew_at)),
            Decision::Issue(reason) => {
                let target = Target {
                    namespace,
                    secret,
                    owner,
                };
                self.issue(target, known, reason).await
            }
        }
    }

    /// Renews the credential in `secret` when it is time; takes it away when it was revoked.
    pub async fn renew(
        &self,
        namespace: &str,
        secret: &SecretKey,
        owner: &OwnerReference,
    ) -> Result<Renewal, Error> {
        let known = self.look(namespace, secret, owner).await?;
        let reason = match known.decision {
            Decision::Keep {
                kubeconfig,
                renew_at,
            } => return Ok(Renewal::Good(kept(kubeconfig, renew_at))),
            Decision::Issue(reason) => reason,
        };
        if decide::is_renewal(reason, known.bound.is_some()) {
            let target = Target {
                namespace,
                secret,
                owner,
            };
            let credential = self.issue(target, known, reason).await?;
            return Ok(Renewal::Good(credential));
        }
        let holds = |current: &Secret| {
            let data = current.data.as_ref();
            data.is_some_and(|data| data.contains_key(&secret.key))
        };
        match known.current.filter(holds) {
            Some(current) => {
                self.withdraw(namespace, &current, &secret.key).await?;
                Ok(Renewal::Withdrawn)
            }
            None => Ok(Renewal::None),
        }
    }

    async fn look(
        &self,
        namespace: &str,
        secret: &SecretKey,
        owner: &OwnerReference,
    ) -> Result<Known, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let current = timed(api.get_opt(&secret.name))
            .await
            .map_err(request("read the kubeconfig secret"))?;
        let bound = self.bound_secret(&api, owner).await?;
        let now = self.clock.now();
        let bound_uid = bound
            .as_ref()
            .and_then(|secret| secret.metadata.uid.as_deref());
        let decision = decide::decide(
            current.as_ref(),
            &secret.key,
            bound_uid,
            &self.settings,
            now,
        );
        Ok(Known {
            current,
            bound,
            decision,
            now,
        })
    }

    /// The Secret that tokens are bound to, unless it is gone or going; one that belongs to a former
    /// `owner` is as good as gone.
    async fn bound_secret(
        &self,
        api: &Api<Secret>,
        owner: &OwnerReference,
    ) -> Result<Option<Secret>, Error> {
        let found = timed(api.get_opt(TOKEN_SECRET))
            .await
            .map_err(request("read the token secret"))?;
        Ok(found.filter(|secret| {
            secret.metadata.deletion_timestamp.is_none() && !is_of_former(secret, owner)
        }))
    }

    async fn make_bound_secret(
        &self,
        api: &Api<Secret>,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Result<Secret, Error> {
        let found = timed(api.get_opt(TOKEN_SECRET))
            .await
            .map_err(request("read the token secret"))?;
        if let Some(former) = found.filter(|secret| is_of_former(secret, owner)) {
            delete(api, &former)
                .await
                .map_err(request("delete the former token secret"))?;
        }
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(TOKEN_SECRET.to_owned()),
                labels: Some(
                    [(LABEL_COMPONENT.to_owned(), COMPONENT_CREDENTIAL.to_owned())].into(),
                ),
                owner_references: Some(vec![owner.clone()]),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        create(api, &secret, MANAGER)
            .await
            .map_err(request("create the token secret"))?;
        self.bound_secret(api, owner)
            .await?
            .ok_or_else(|| Error::Unbound {
                namespace: namespace.to_owned(),
            })
    }

    async fn issue(
        &self,
        target: Target<'_>,
        known: Known,
        reason: Reason,
    ) -> Result<Credential, Error> {
        let Target {
            namespace,
            secret,
            owner,
        } = target;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let now = known.now;
        let bound = match known.bound {
            Some(bound) => bound,
            None => self.make_bound_secret(&api, namespace, owner).await?,
        };
        let TokenRequestStatus {
            expiration_timestamp,
            token,
        } = self.token(namespace, &bound).await?;
        let expires = expiration_timestamp.0;
        if expires <= now {
            tracing::warn!(
                namespace.name = namespace,
                credential.expires = %expires,
                "the API server issued a credential for {namespace} that has ended already: the clocks differ"
            );
        }
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
                "ownerReferences": [owner],
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

    /// Takes the kubeconfig out of the Secret. What it was bound to stays written there, which is how a
    /// revocation is known from a consumer that never had a credential.
    async fn withdraw(&self, namespace: &str, current: &Secret, key: &str) -> Result<(), Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // With the version: a bind may be issuing a new one at this moment.
        let patch = json!({
            "metadata": { "uid": current.uid(), "resourceVersion": current.resource_version() },
            "data": { key: null },
        });
        timed(api.patch(&current.name_any(), &params, &Patch::Merge(patch)))
            .await
            .map_err(request("withdraw the revoked kubeconfig"))?;
        tracing::info!(
            namespace.name = namespace,
            "withdrew the revoked credential for {namespace}"
        );
        Ok(())
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

/// Where a credential goes.
struct Target<'a> {
    namespace: &'a str,
    secret: &'a SecretKey,
    owner: &'a OwnerReference,
}

/// What there is of a credential.
struct Known {
    current: Option<Secret>,
    bound: Option<Secret>,
    decision: Decision,
    now: Timestamp,
}

fn kept(kubeconfig: String, renew_at: Timestamp) -> Credential {
    Credential {
        kubeconfig,
        renew_at,
        issued: None,
    }
}

/// Whether the Secret belongs to a predecessor of `owner`, with which it is about to go.
fn is_of_former(secret: &Secret, owner: &OwnerReference) -> bool {
    let mut owners = secret.owner_references().iter();
    owners.any(|other| other.kind == owner.kind && other.uid != owner.uid)
}

#[cfg(test)]
mod tests;
