//! The backend as an OpenID Connect relying party. All checks of tokens are made by the
//! `openidconnect` crate, except `azp`, which it leaves to its users. Talks to the identity provider.

mod discovery;
mod http_client;
mod provider;
mod relying_party;

pub use http_client::{HttpClient, HttpError};
pub use relying_party::{Begun, Callback, Error, RelyingParty, Settings};
