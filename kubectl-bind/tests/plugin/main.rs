//! The real binary against a scripted provider and a scripted browser: a file per command, and one for what stops a bind.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod apiservice;
mod bind;
mod catalogue;
mod consumer;
mod harness;
mod help;
mod login;
mod refusals;
