//! The provider's side of kube-bind: login, catalogue, binding (HTTP), and the controllers.

pub mod config;
