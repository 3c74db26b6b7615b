//! The embedded identity provider's key (ES256), made anew in every process. Pure but for randomness.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::keys::{Error, random_id};

/// A key pair with its id.
pub struct Signer {
    kid: String,
    signing: EncodingKey,
    verifying: DecodingKey,
    x: String,
    y: String,
}

impl Signer {
    /// A new key pair.
    pub fn generate() -> Result<Self, Error> {
        let failed = Error::Make("make a key pair");
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let Ok(document) = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()) else {
            return Err(failed);
        };
        let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()) else {
            return Err(failed);
        };
        // An uncompressed point: 4, then two coordinates of 32 bytes.
        let Some((x, y)) = pair
            .public_key()
            .as_ref()
            .get(1..)
            .and_then(|point| point.split_at_checked(32))
        else {
            return Err(failed);
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let Ok(verifying) = DecodingKey::from_ec_components(&x, &y) else {
            return Err(failed);
        };
        Ok(Self {
            kid: random_id(),
            signing: EncodingKey::from_ec_der(document.as_ref()),
            verifying,
            x,
            y,
        })
    }

    /// The public key as a JSON web key set.
    pub fn key_set(&self) -> Value {
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
            "kid": self.kid, "x": self.x, "y": self.y,
        }] })
    }

    /// A signed token.
    pub fn sign(&self, claims: &Value) -> Result<String, Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|_| Error::Make("sign"))
    }

    /// The claims of a token of ours for this audience; times are the caller's matter.
    pub fn verify(&self, token: &str, audience: &str) -> Option<Value> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.set_audience(&[audience]);
        jsonwebtoken::decode(token, &self.verifying, &validation)
            .ok()
            .map(|token| token.claims)
    }
}
