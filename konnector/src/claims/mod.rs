//! Claimed objects: those that a provider wants to read or write beside the bound kinds (contract
//! section 5.9), selected by what bound objects refer to.
//!
//! One engine per claimed kind of one provider, shared by all bindings to it. `index` knows what is
//! referred to, `copy` what both sides have (never the bodies), `plan` decides purely, `write` does.
//!
//! What a provider may do here is kept small on purpose: it can fill names that the consumer's own
//! objects refer to, and it can never touch an object that is not its own copy.

mod copy;
mod engine;
mod index;
mod plan;
mod sink;
mod state;
mod watches;
mod write;

pub use engine::ClaimsEngine;
pub use index::Origin;
pub use sink::{ClaimSink, Target};
pub use write::reference_to;
