//! Where the keys come from: the Secret `kube-bind-backend-keys`, made on the first start, or the
//! deprecated flags. Reads and creates that Secret.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use kube_bind_runtime::apply::timed;
use kube_bind_runtime::shutdown::Shutdown;
use tracing::{info, warn};

use super::{KeyRing, MASTER_BYTES};
use crate::config::Config;

/// Name of the Secret. Each entry is a key of 64 random bytes; the last name in order writes.
pub const SECRET: &str = "kube-bind-backend-keys";
const REFRESH: Duration = Duration::from_secs(60);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server does not let us.
    #[error("failed to {action} secret {namespace}/{SECRET}")]
    Secret {
        /// What was tried.
        action: &'static str,
        /// The backend's namespace.
        namespace: String,
        /// Why it failed.
        source: kube::Error,
    },
    /// It holds nothing usable.
    #[error("failed to use the keys of the backend")]
    Unusable(#[from] super::Error),
}

/// The current keys; clones share them.
#[derive(Clone, Debug)]
pub struct Keys(Arc<ArcSwap<KeyRing>>);

impl Keys {
    /// Keys that stay as they are.
    pub fn fixed(ring: KeyRing) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(ring)))
    }

    /// Keys from the deprecated flags, which [`Config::validate`] has checked.
    pub fn from_flags(config: &Config) -> Result<Option<Self>, Error> {
        let Some(signing) = &config.cookie_signing_key else {
            return Ok(None);
        };
        let mut master = STANDARD.decode(signing.expose()).unwrap_or_default();
        if let Some(encryption) = &config.cookie_encryption_key {
            master.extend(STANDARD.decode(encryption.expose()).unwrap_or_default());
        }
        let ring = KeyRing::new([("flag".to_owned(), master.as_slice())])?;
        Ok(Some(Self::fixed(ring)))
    }

    /// Reads the Secret, creating it if there is none.
    pub async fn load(
        client: kube::Client,
        namespace: &str,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let api = Api::namespaced(client, namespace);
        let secret = match get(&api, namespace).await? {
            Some(secret) => secret,
            None => create(&api, namespace, now).await?,
        };
        Ok(Self::fixed(ring(&secret)?))
    }

    /// Reads the Secret again every minute, so that keys can be added and removed without a restart.
    pub async fn keep_fresh(self, client: kube::Client, namespace: String, shutdown: Shutdown) {
        let api = Api::namespaced(client, &namespace);
        while shutdown
            .token
            .run_until_cancelled(tokio::time::sleep(REFRESH))
            .await
            .is_some()
        {
            let fresh = match get(&api, &namespace).await {
                Ok(Some(secret)) => ring(&secret),
                Ok(None) => {
                    warn!("secret {namespace}/{SECRET} is gone; the keys read before stay in use");
                    continue;
                }
                Err(err) => Err(err),
            };
            match fresh {
                Ok(fresh) => self.replace(fresh),
                Err(err) => warn!(
                    error = &err as &dyn StdError,
                    "failed to read the backend's keys again"
                ),
            }
        }
    }

    fn replace(&self, fresh: KeyRing) {
        if !fresh.ids().eq(self.get().ids()) {
            info!(keys = ?fresh, "the backend's keys have changed");
            self.0.store(Arc::new(fresh));
        }
    }

    /// The current keys.
    pub fn get(&self) -> Arc<KeyRing> {
        self.0.load_full()
    }
}

async fn get(api: &Api<Secret>, namespace: &str) -> Result<Option<Secret>, Error> {
    timed(api.get_opt(SECRET))
        .await
        .map_err(|source| Error::Secret {
            action: "read",
            namespace: namespace.to_owned(),
            source,
        })
}

async fn create(api: &Api<Secret>, namespace: &str, now: Timestamp) -> Result<Secret, Error> {
    let master = ByteString(rand::random::<[u8; MASTER_BYTES]>().to_vec());
    // The id sorts by age.
    let kid = format!("k{:010}", now.as_second());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(kid, master)])),
        ..Secret::default()
    };
    match timed(api.create(&PostParams::default(), &secret)).await {
        Ok(secret) => {
            info!("created secret {namespace}/{SECRET}");
            Ok(secret)
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => get(api, namespace)
            .await?
            .ok_or(Error::Unusable(super::Error::NoKey)),
        Err(source) => Err(Error::Secret {
            action: "create",
            namespace: namespace.to_owned(),
            source,
        }),
    }
}

fn ring(secret: &Secret) -> Result<KeyRing, Error> {
    let data = secret.data.iter().flatten();
    Ok(KeyRing::new(
        data.map(|(kid, master)| (kid.clone(), master.0.as_slice())),
    )?)
}
