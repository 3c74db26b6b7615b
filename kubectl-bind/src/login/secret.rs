//! What proves that the plugin which redeems a code is the one that asked for it. Random, no IO.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The secrets of one login.
pub struct Secrets {
    /// Names the login in the callback; a page that does not know it is not listened to.
    pub session_id: String,
    /// Never leaves the plugin before the code is redeemed (RFC 7636).
    pub verifier: String,
}

impl Secrets {
    /// Fresh ones.
    pub fn new() -> Self {
        let random = || URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        Self {
            session_id: random(),
            verifier: random(),
        }
    }

    /// The S256 challenge of the verifier.
    pub fn challenge(&self) -> String {
        challenge(&self.verifier)
    }
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn secrets_are_long_enough_and_never_the_same() {
        let (one, two) = (Secrets::new(), Secrets::new());
        assert_eq!(one.verifier.len(), 43);
        assert_ne!(one.verifier, two.verifier);
        assert_ne!(one.session_id, one.verifier);
    }
}
