//! The whole engine between two API servers in memory, with the requests counted.

mod basics;
mod chaos;
mod trouble;
mod watches;
mod world;
