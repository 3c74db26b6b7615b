//! The provider's side of kube-bind: login, catalogue, binding (HTTP), and the controllers.

pub mod app;
pub mod catalogue;
pub mod config;
pub mod controllers;
pub mod credentials;
pub mod embedded;
mod html;
pub mod http;
pub mod keys;
mod login_permission;
pub mod metrics;
pub mod oidc;
pub mod provision;
pub mod session;
pub mod state;
pub mod user_access;
