//! `GET /api/ping`: is the login still valid?

use crate::http::auth::Authenticated;

/// `pong`, to whoever is logged in.
pub async fn handle(_session: Authenticated) -> &'static str {
    "pong"
}
