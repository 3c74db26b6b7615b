//! Fuzz targets: each reads bytes as one kind of foreign input and checks what must hold for all of
//! them. Whatever panics, hangs or grows is found by the fuzzer itself. No IO.
//!
//! An input is either a document as it would come, which is what a corpus holds, or (its first byte has
//! the high bit set, as no text begins) a recipe from which a document is cooked with a target's
//! vocabulary, so that random bytes get behind the first check of a parser too.

mod digests;
mod document;
mod kubeconfigs;
mod paths;
mod pattern;
mod schemas;

pub use digests::{digests, managed_fields};
pub use kubeconfigs::kubeconfigs;
pub use paths::paths;
pub use schemas::schemas;
