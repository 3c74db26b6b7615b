//! The sync engine: one per bound resource of one binding, between two sides.
//!
//! It keeps no bodies, decides by digests in a pure function, and talks to the two sides through
//! the trait [`Cluster`]. Time is tokio's, so that a paused clock drives it in tests.
//!
//! The way of one object: [`cluster`] tells an event, `state` files it as an `entry` and queues
//! its key, `plan` says which steps are missing, `execute` performs them.

mod adopt;
mod bodies;
mod breaker;
mod class;
pub mod cluster;
pub mod concurrency;
mod config;
mod counts;
mod drift;
mod engine;
mod entry;
mod execute;
#[cfg(test)]
mod fake;
mod form;
mod kube_cluster;
mod mapping;
mod maps;
mod metrics;
mod pair;
mod plan;
mod ports;
mod purpose;
pub(crate) mod queue;
mod skip_keys;
mod state;
#[cfg(test)]
mod tests;

pub use breaker::{Breaker, BreakerConfig, Member, Share};
pub use cluster::{Cluster, Error, Key, WatchEvent, WatchScope};
pub use concurrency::Limiter;
pub use config::{EngineConfig, Fence, Ports, Resource};
pub use counts::Counts;
pub use engine::{EngineHandle, start};
pub use kube_cluster::{EngineClient, KubeCluster};
pub use metrics::{EngineMetrics, NoMetrics, Side, Verb, WriteResult};
pub use ports::{
    Definition, Namespaces, ObjectRef, Problem, ProblemKind, ProblemSink, ReferrerSink,
};
pub use skip_keys::{DEFAULT_SKIP_KEYS, InvalidSkipKey, SkipKeys};
