//! Access tokens: short, signed, for this backend only. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::User;
use crate::keys::{Error, KeyRing, random_id};

/// Audience of the access tokens.
pub const AUDIENCE: &str = "kube-bind";

/// Claims of an access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    /// Issuer that vouched for `sub`.
    idp: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    jti: String,
    iat: i64,
    exp: i64,
}

/// A verified access token.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who logged in.
    pub user: User,
    /// Id of the token, for logout.
    pub id: String,
    /// When the token ends.
    pub expires: Timestamp,
}

/// Makes an access token for `user`; `issuer` is the backend's public URL.
pub fn issue(
    keys: &KeyRing,
    issuer: &str,
    user: User,
    now: Timestamp,
    life: Duration,
) -> Result<String, Error> {
    let now = now.as_second();
    let life = i64::try_from(life.as_secs()).map_err(|_| Error::Make("sign"))?;
    keys.sign(&Claims {
        iss: issuer.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: user.subject,
        idp: user.issuer,
        groups: user.groups,
        jti: random_id(),
        iat: now,
        exp: now + life,
    })
}

/// Checks an access token: signature, issuer, audience and time. Revocation is the caller's matter.
pub fn verify(keys: &KeyRing, issuer: &str, token: &str, now: Timestamp) -> Result<Session, Error> {
    let claims: Claims = keys.verify(token, issuer, AUDIENCE)?;
    if claims.sub.is_empty() || claims.idp.is_empty() || claims.jti.is_empty() {
        return Err(Error::NotOurs);
    }
    if now.as_second() >= claims.exp {
        return Err(Error::Expired);
    }
    Ok(Session {
        user: User {
            subject: claims.sub,
            issuer: claims.idp,
            groups: claims.groups,
        },
        id: claims.jti,
        expires: Timestamp::from_second(claims.exp).map_err(|_| Error::NotOurs)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://provider.example";

    fn keys() -> KeyRing {
        KeyRing::new([("k".to_owned(), [7; 64].as_slice())]).unwrap()
    }

    fn user() -> User {
        User {
            subject: "ada".into(),
            issuer: "https://idp.example".into(),
            groups: vec!["ops".into()],
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_holds_until_its_last_second() {
        let token = issue(&keys(), ISSUER, user(), at(1000), Duration::from_secs(60)).unwrap();
        assert_eq!(
            verify(&keys(), ISSUER, &token, at(1059)).unwrap().user,
            user()
        );
        assert!(matches!(
            verify(&keys(), ISSUER, &token, at(1060)),
            Err(Error::Expired)
        ));
    }

    #[test]
    fn a_token_of_another_backend_or_key_is_foreign() {
        let token = issue(&keys(), ISSUER, user(), at(1000), Duration::from_secs(60)).unwrap();
        let other = verify(&keys(), "https://other.example", &token, at(1001));
        assert!(matches!(other, Err(Error::NotOurs)));
        let other_keys = KeyRing::new([("k".to_owned(), [8; 64].as_slice())]).unwrap();
        assert!(matches!(
            verify(&other_keys, ISSUER, &token, at(1001)),
            Err(Error::NotOurs)
        ));
    }

    #[test]
    fn a_sealed_text_is_no_token() {
        let sealed = keys()
            .seal(crate::keys::Purpose::LoginCode, &user(), at(2000))
            .unwrap();
        assert!(matches!(
            verify(&keys(), ISSUER, &sealed, at(1001)),
            Err(Error::NotOurs)
        ));
    }
}
