//! An API server in memory, for tests: one resource, with the semantics that the engine relies on
//! (preconditions, server-side apply with ownership, finalizers, versions).

mod apply;
pub(super) mod legible;
mod server;
mod store;

pub(super) use server::FakeCluster;
pub(super) use store::{Snapshot, Store, is_terminating};
