//! Claimed objects: those that a provider wants to read or write beside the bound kinds (contract
//! section 5.9), selected by label, by name, or by what bound objects refer to.
//!
//! One engine per claimed kind of one provider, shared by all bindings to it. `rules` knows what is
//! claimed, `index` what is referred to, `copy` what both sides have (never the bodies); `look` puts
//! that together for one name, `plan` decides purely, `write` does. What no claim can select any more is
//! looked up by itself (`outside`, `recall`), what bindings may claim that have not been heard is left to them
//! (`unheard`), and what keeps all of it from being synced is remembered (`failing`).
//!
//! Whose object is the source follows from labels (the table of the contract), but a label alone lets
//! nobody write: only what carries our marks is ever changed or deleted.

mod body;
mod copy;
mod engine;
mod failing;
mod index;
mod look;
mod outside;
mod plan;
mod recall;
mod report;
mod rules;
mod sink;
mod state;
mod unheard;
mod vanished;
mod watches;
mod work;
mod write;

pub use engine::ClaimsEngine;
pub use index::Origin;
pub use rules::{Ending, Rule};
pub use sink::{ClaimSink, Target};
pub use write::reference_to;
