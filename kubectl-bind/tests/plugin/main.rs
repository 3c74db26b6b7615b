//! The real binary against a scripted provider and a scripted browser: one file per command.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod bind;
mod catalogue;
mod harness;
mod help;
mod login;
