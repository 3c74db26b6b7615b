//! An API server in memory, for tests: one resource, with the semantics that the engine relies on
//! (preconditions, server-side apply with ownership, finalizers, versions) and a count of requests.

mod apply;
mod server;

pub(super) use server::FakeCluster;
