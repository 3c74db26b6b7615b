//! The konnector: installs bound APIs in the consumer cluster and syncs their objects with their
//! providers.
//!
//! [`app`] is the process, [`install`] its own CRDs, `alive` its health, [`supervisor`] what runs while
//! it leads; `fenced` lets its clients write only then. [`binding`] looks after each
//! `APIServiceBinding`, [`bundles`] makes bindings of all that a provider exports, [`provider`] connects
//! to providers and watches them, [`consumer`] watches the consumer cluster (both with [`watch`]),
//! [`heartbeat`] reports to providers, [`namespaces`] maps namespaces, [`claims`] brings related
//! objects, and [`sync`] moves the objects themselves. `recorded` is what a binding still knows of all that
//! after a crash.

mod alive;
pub mod app;
pub mod args;
pub mod binding;
pub mod bundles;
pub mod claims;
pub mod consumer;
pub mod context;
pub mod fault;
mod fenced;
pub mod heartbeat;
pub mod install;
pub mod metrics;
pub mod names;
pub mod namespaces;
mod patience;
pub mod problems;
pub mod provider;
mod recorded;
pub mod supervisor;
pub mod sync;
pub mod wait_queue;
mod wake;
pub mod watch;

#[cfg(test)]
mod test_support;
