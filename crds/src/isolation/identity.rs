//! Name of a consumer's cluster namespace (contract section 3.2). Pure.

use sha2::{Digest, Sha224};

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Base 36 of the first eight bytes of SHA-224 of the identity, with one more leading `0` for every
/// leading zero byte, as the original computes it: a running installation is found again by name.
pub fn identity_hash(identity: &str) -> String {
    let digest = Sha224::digest(identity.as_bytes());
    let mut value = 0_u64;
    for byte in &digest[..8] {
        value = value << 8 | u64::from(*byte);
    }
    let leading_zero_bytes = digest[..8].iter().take_while(|byte| **byte == 0).count();
    let mut digits = Vec::with_capacity(13 + leading_zero_bytes);
    while value > 0 {
        digits.push(char::from(DIGITS[(value % 36) as usize]));
        value /= 36;
    }
    digits.extend(std::iter::repeat_n('0', leading_zero_bytes));
    digits.into_iter().rev().collect()
}

/// Name of the cluster namespace: the configured prefix, verbatim, and the hash. The hash has no
/// dash, so no cluster namespace of one prefix is the beginning of another one's names.
pub fn cluster_namespace(prefix: &str, identity: &str) -> String {
    format!("{prefix}{}", identity_hash(identity))
}
