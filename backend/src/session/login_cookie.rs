//! Attributes of the cookie that holds a login under way. Pure.

use axum_extra::extract::cookie::{Cookie, SameSite};

use super::login::LIFE;

/// The cookie.
pub fn new(name: String, sealed: String, is_https: bool) -> Cookie<'static> {
    let mut cookie = Cookie::new(name, sealed);
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.set_secure(is_https);
    // The identity provider sends the browser back by a top-level navigation, which Lax lets through.
    cookie.set_same_site(SameSite::Lax);
    cookie.set_max_age(Some(LIFE.try_into().expect("ten minutes fit")));
    cookie
}

/// The cookie that makes the browser forget it. A `__Host-` cookie is taken only with all attributes.
pub fn removal(name: String, is_https: bool) -> Cookie<'static> {
    let mut cookie = new(name, String::new(), is_https);
    cookie.make_removal();
    cookie
}
