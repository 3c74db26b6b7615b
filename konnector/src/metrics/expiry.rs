//! Until when a credential is good, as far as it says so itself. No IO.

use kube_bind_runtime::kubeconfig::Credential;
use serde_json::Value;

/// A longer token is not looked into.
const LONGEST: usize = 64 << 10;

/// Seconds since 1970 at which a token ends; none for certificates and for tokens that do not say.
/// Nothing is verified: it is for the operator to see, not to decide by.
pub fn of(credential: &Credential) -> Option<i64> {
    let Credential::Token(token) = credential else {
        return None;
    };
    if token.len() > LONGEST {
        return None;
    }
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims: Value = serde_json::from_slice(&decode(payload)?).ok()?;
    let ends = claims.get("exp")?;
    ends.as_i64().filter(|ends| *ends > 0)
}

/// Base64 of URLs, without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut known) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        known += 6;
        if known >= 8 {
            known -= 8;
            bytes.push(u8::try_from(bits >> known & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(token: &str) -> Option<i64> {
        of(&Credential::Token(token.to_owned()))
    }

    #[test]
    fn a_token_says_when_it_ends_and_nonsense_says_nothing() {
        // {"alg":"RS256"} and {"exp":1767225600,"sub":"x"}
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3NjcyMjU2MDAsInN1YiI6IngifQ.c2lnbmF0dXJl";
        assert_eq!(ends(token), Some(1_767_225_600));
        for nonsense in [
            "",
            "t0ken",
            "a.b.c",
            "a.e30.c",
            "a.!.c",
            "a.eyJleHAiOiJ4In0.c",
            "a.b.c.d",
        ] {
            assert_eq!(ends(nonsense), None, "{nonsense}");
        }
    }
}
