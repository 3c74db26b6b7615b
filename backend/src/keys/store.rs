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
        if !fresh.is_same(&self.get()) {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::extract::State;
    use axum::response::{IntoResponse, Response};
    use axum::routing::get;
    use axum::{Json, Router};
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::Purpose;

    /// A namespace with at most one Secret; a creation meets `appears`, made by somebody else meanwhile.
    #[derive(Clone, Default)]
    struct Api {
        secret: Arc<Mutex<Option<Value>>>,
        appears: Option<Value>,
    }

    fn status(code: StatusCode, reason: &str) -> Response {
        let body = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure",
            "reason": reason, "code": code.as_u16(), "message": reason,
        });
        (code, Json(body)).into_response()
    }

    impl Api {
        fn client(&self) -> kube::Client {
            let read = |State(api): State<Self>| async move {
                match api.secret.lock().unwrap().clone() {
                    Some(secret) => Json(secret).into_response(),
                    None => status(StatusCode::NOT_FOUND, "NotFound"),
                }
            };
            let create = |State(api): State<Self>, Json(secret): Json<Value>| async move {
                let mut stored = api.secret.lock().unwrap();
                if let Some(appears) = api.appears {
                    *stored = Some(appears);
                    return status(StatusCode::CONFLICT, "AlreadyExists");
                }
                *stored = Some(secret.clone());
                (StatusCode::CREATED, Json(secret)).into_response()
            };
            let router = Router::new()
                .route("/api/v1/namespaces/ns/secrets", axum::routing::post(create))
                .route(
                    "/api/v1/namespaces/ns/secrets/kube-bind-backend-keys",
                    get(read),
                )
                .with_state(self.clone());
            kube::Client::new(router, "ns")
        }
    }

    fn ids(keys: &Keys) -> Vec<String> {
        keys.get().ids().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn the_first_start_makes_a_key_and_later_ones_find_it() {
        let api = Api::default();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let first = Keys::load(api.client(), "ns", now).await.unwrap();
        assert_eq!(ids(&first), ["k1700000000"]);
        let later = Timestamp::from_second(1_800_000_000).unwrap();
        let second = Keys::load(api.client(), "ns", later).await.unwrap();
        assert_eq!(ids(&second), ["k1700000000"]);
    }

    #[test]
    fn a_key_that_is_overwritten_under_its_id_is_taken_over() {
        let ring = |byte: u8| KeyRing::new([("k".to_owned(), [byte; 64].as_slice())]).unwrap();
        let keys = Keys::fixed(ring(1));
        let before = keys.get();
        keys.replace(ring(1));
        assert!(Arc::ptr_eq(&before, &keys.get()), "nothing has changed");

        keys.replace(ring(2));
        let expires = Timestamp::from_second(100).unwrap();
        let seal = |ring: &KeyRing| ring.seal(Purpose::LoginCode, &1, expires).unwrap();
        let open = |text: &str| {
            let ring = keys.get();
            ring.open::<i32>(Purpose::LoginCode, text, Timestamp::UNIX_EPOCH)
        };
        assert!(open(&seal(&before)).is_err(), "the overwritten key is gone");
        assert_eq!(open(&seal(&ring(2))).unwrap(), 1);
    }

    #[tokio::test]
    async fn of_two_replicas_that_start_at_once_one_takes_the_others_key() {
        let master = STANDARD.encode([9; MASTER_BYTES]);
        let other = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET },
            "data": { "of-the-other-one": master },
        });
        let api = Api {
            appears: Some(other),
            ..Api::default()
        };
        let keys = Keys::load(api.client(), "ns", Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
        assert_eq!(ids(&keys), ["of-the-other-one"]);
    }

    #[tokio::test]
    async fn a_secret_without_usable_keys_is_an_error_not_a_new_key() {
        let api = Api::default();
        *api.secret.lock().unwrap() = Some(
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": { "k": "AAAA" } }),
        );
        let err = Keys::load(api.client(), "ns", Timestamp::UNIX_EPOCH)
            .await
            .unwrap_err();
        assert!(matches!(err, Error::Unusable(_)), "{err}");
    }
}
