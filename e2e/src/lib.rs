//! The test bed: real etcd, API servers, operators and identity providers as processes, our own
//! binaries beside them, and the helpers with which end-to-end tests, the demo and the benchmarks
//! drive them. Everything in here does IO; nothing in here is shipped. Errors are `anyhow`, because
//! the only reader of an error is the person in front of a failed test.

pub mod bindings;
pub mod browser;
pub mod claims;
pub mod cluster;
pub mod consumer;
pub mod foreign;
pub mod idp;
pub mod landing;
pub mod latency;
pub mod manifests;
pub mod objects;
pub mod original;
pub mod ports;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod rundir;
pub mod runtime;
pub mod sides;
mod spawner;
pub mod tls;
pub mod toolchain;
pub mod usage;
pub mod wait;
pub mod widgets;
pub mod world;

pub use cluster::{ControlPlane, Options, User};
pub use runtime::run;
pub use wait::{eventually, wait_for};
