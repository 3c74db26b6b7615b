//! The consumer side: installs bound APIs and syncs their objects.

pub mod sync;
