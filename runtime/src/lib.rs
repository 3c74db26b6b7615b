//! Process plumbing that the servers and the plugin share: TLS, time, logging, shutdown, health,
//! Kubernetes clients and the small helpers around them.
//!
//! Nothing in here knows what a binding or an export is.

pub mod apply;
pub mod backoff;
mod bounded;
pub mod client;
pub mod clock;
pub mod events;
pub mod go_duration;
pub mod health;
pub mod kubeconfig;
pub mod lease;
pub mod logging;
pub mod proxy;
pub mod shutdown;
pub mod text;
pub mod tls;
pub mod transport;
