//! The backend's own keys: sealing of what passes through browsers, signing of access tokens.
//! Pure but for randomness; [`store`] does the IO.

pub mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Random bytes that a key is derived from.
pub const MASTER_BYTES: usize = 64;
/// Fewer than these are no key.
const MASTER_BYTES_MIN: usize = 32;
const NONCE_BYTES: usize = 12;

/// Why a text is not one of ours, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret holds nothing usable.
    #[error("no key of at least {MASTER_BYTES_MIN} bytes")]
    NoKey,
    /// Altered, made for another purpose, or made with a key that is gone.
    #[error("not sealed by this backend")]
    NotOurs,
    /// Too late.
    #[error("expired")]
    Expired,
    /// Sealing or signing failed, which is a bug or a lack of randomness.
    #[error("failed to {0}")]
    Make(&'static str),
}

/// What a sealed text is for; a text made for one purpose cannot be opened for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// State of a login under way, in the browser's cookie.
    LoginCookie,
    /// One-time code for the plugin.
    LoginCode,
    /// Consent form of the embedded identity provider.
    EmbeddedConsent,
    /// Authorization code of the embedded identity provider.
    EmbeddedCode,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::LoginCookie => "login-cookie",
            Self::LoginCode => "login-code",
            Self::EmbeddedConsent => "embedded-consent",
            Self::EmbeddedCode => "embedded-code",
        }
    }
}

/// One generation of keys.
struct Key {
    sealing: RandomizedNonceKey,
    signing: EncodingKey,
    verifying: DecodingKey,
    /// Tells keys apart without giving them away.
    fingerprint: [u8; 32],
}

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

impl Key {
    fn derive(master: &[u8]) -> Result<Self, Error> {
        let prk = Salt::new(HKDF_SHA256, b"kube-bind-backend").extract(master);
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &expand(&prk, "seal")?)
            .map_err(|_| Error::Make("make a sealing key"))?;
        let signing = expand(&prk, "sign")?;
        Ok(Self {
            sealing,
            signing: EncodingKey::from_secret(&signing),
            verifying: DecodingKey::from_secret(&signing),
            fingerprint: expand(&prk, "fingerprint")?,
        })
    }
}

fn expand(prk: &Prk, use_: &'static str) -> Result<[u8; 32], Error> {
    let mut out = [0; 32];
    prk.expand(&[use_.as_bytes()], Length32)
        .and_then(|okm| okm.fill(&mut out))
        .map_err(|_| Error::Make("derive a key"))?;
    Ok(out)
}

/// All generations, by id; the last one in the order of ids writes, all of them read.
pub struct KeyRing {
    keys: BTreeMap<String, Key>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    exp: i64,
    body: T,
}

impl KeyRing {
    /// Keys from master secrets by id; too short ones are ignored.
    pub fn new<'a>(masters: impl IntoIterator<Item = (String, &'a [u8])>) -> Result<Self, Error> {
        let keys = masters
            .into_iter()
            .filter(|(_, master)| master.len() >= MASTER_BYTES_MIN)
            .map(|(kid, master)| Ok((kid, Key::derive(master)?)))
            .collect::<Result<BTreeMap<_, _>, Error>>()?;
        if keys.is_empty() {
            return Err(Error::NoKey);
        }
        Ok(Self { keys })
    }

    /// Ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Whether both hold the same keys under the same ids.
    pub fn is_same(&self, other: &Self) -> bool {
        let keys = |ring: &Self| -> Vec<(String, [u8; 32])> {
            let keys = ring.keys.iter();
            keys.map(|(kid, key)| (kid.clone(), key.fingerprint))
                .collect()
        };
        keys(self) == keys(other)
    }

    fn newest(&self) -> (&str, &Key) {
        let (kid, key) = self
            .keys
            .last_key_value()
            .expect("new refuses an empty ring");
        (kid, key)
    }

    /// Encrypts and authenticates `body`, to be opened for the same purpose until `expires`.
    pub fn seal(
        &self,
        purpose: Purpose,
        body: &impl Serialize,
        expires: Timestamp,
    ) -> Result<String, Error> {
        let (kid, key) = self.newest();
        let envelope = Envelope {
            exp: expires.as_second(),
            body,
        };
        let mut text = serde_json::to_vec(&envelope).map_err(|_| Error::Make("serialize"))?;
        let nonce = key
            .sealing
            .seal_in_place_append_tag(context(purpose, kid), &mut text)
            .map_err(|_| Error::Make("seal"))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(format!("{kid}.{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// The body of a sealed text.
    pub fn open<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        text: &str,
        now: Timestamp,
    ) -> Result<T, Error> {
        let (kid, sealed) = text.rsplit_once('.').ok_or(Error::NotOurs)?;
        let key = self.keys.get(kid).ok_or(Error::NotOurs)?;
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Error::NotOurs)?;
        let (nonce, sealed) = sealed
            .split_at_mut_checked(NONCE_BYTES)
            .ok_or(Error::NotOurs)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::NotOurs)?;
        let text = key
            .sealing
            .open_in_place(nonce, context(purpose, kid), sealed)
            .map_err(|_| Error::NotOurs)?;
        let envelope: Envelope<T> = serde_json::from_slice(text).map_err(|_| Error::NotOurs)?;
        if now.as_second() >= envelope.exp {
            return Err(Error::Expired);
        }
        Ok(envelope.body)
    }

    /// A signed token (JWT, HS256) with the id of its key.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, Error> {
        let (kid, key) = self.newest();
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, &key.signing).map_err(|_| Error::Make("sign"))
    }

    /// The claims of a token of ours. The caller checks times: its clock is not the library's.
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: &str,
        issuer: &str,
        audience: &str,
    ) -> Result<T, Error> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::NotOurs)?;
        let kid = header.kid.ok_or(Error::NotOurs)?;
        let key = self.keys.get(&kid).ok_or(Error::NotOurs)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        jsonwebtoken::decode(token, &key.verifying, &validation)
            .map(|token| token.claims)
            .map_err(|_| Error::NotOurs)
    }
}

fn context(purpose: Purpose, kid: &str) -> Aad<String> {
    Aad::from(format!("{}\n{kid}", purpose.name()))
}

/// A random identifier of 256 bits, fit for URLs.
pub fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
