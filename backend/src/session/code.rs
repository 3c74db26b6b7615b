//! The one-time code that the plugin redeems for its access token. Pure; single use is the matter
//! of [`super::markers`].

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::User;
use super::login::challenge_of;
use crate::keys::{self, KeyRing, Purpose, random_id};

/// How long a code can be redeemed.
pub const LIFE: Duration = Duration::from_secs(60);
/// Lengths of a PKCE verifier (RFC 7636).
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;

/// What a code stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Grant {
    id: String,
    user: User,
    challenge: String,
    redirect_url: String,
}

/// A code that may be redeemed, once.
#[derive(Clone, Debug)]
pub struct Redeemable {
    /// Identifies the code for the marker.
    pub id: String,
    /// Who logged in.
    pub user: User,
}

/// Why a code is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Altered, foreign or too late.
    #[error("the code is not valid (any more): log in again")]
    Code(#[source] keys::Error),
    /// Not the client that began the login.
    #[error("the code was made for another client")]
    Client,
}

/// Makes a code for the client with this challenge and redirect URL.
pub fn issue(
    keys: &KeyRing,
    user: User,
    challenge: String,
    redirect_url: String,
    now: Timestamp,
) -> Result<String, keys::Error> {
    let grant = Grant {
        id: random_id(),
        user,
        challenge,
        redirect_url,
    };
    keys.seal(Purpose::LoginCode, &grant, expiry(now))
}

/// When a code made now ends.
pub fn expiry(now: Timestamp) -> Timestamp {
    let life = SignedDuration::from_secs(LIFE.as_secs().cast_signed());
    now.saturating_add(life)
        .expect("a duration without calendar units can be added")
}

/// Checks that this code may be redeemed by whoever knows the verifier.
pub fn redeem(
    keys: &KeyRing,
    code: &str,
    verifier: &str,
    redirect_url: &str,
    now: Timestamp,
) -> Result<Redeemable, Refused> {
    let grant: Grant = keys
        .open(Purpose::LoginCode, code, now)
        .map_err(Refused::Code)?;
    let is_client = VERIFIER_CHARS.contains(&verifier.len())
        && challenge_of(verifier) == grant.challenge
        && redirect_url == grant.redirect_url;
    if !is_client {
        return Err(Refused::Client);
    }
    Ok(Redeemable {
        id: grant.id,
        user: grant.user,
    })
}
