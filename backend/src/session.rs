//! What a login is made of: who the user is, the access token, the state of a login under way, the
//! one-time code, and the markers that make single use and logout hold on every replica.

pub mod code;
pub mod login;
pub mod login_cookie;
pub mod markers;
pub mod token;

use serde::{Deserialize, Serialize};

/// A user of the identity provider, as verified at login.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct User {
    /// `sub`.
    pub subject: String,
    /// `iss`.
    pub issuer: String,
    /// `groups`.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl User {
    /// The user in one string, as the contract names them.
    pub fn id(&self) -> String {
        format!("{}/{}", self.issuer, self.subject)
    }
}
