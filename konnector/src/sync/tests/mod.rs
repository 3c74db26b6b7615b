//! The whole engine between two API servers in memory, with the requests counted.

mod basics;
mod chaos;
mod fights;
mod kinds;
mod refused;
mod restore;
mod rivals;
mod simulation;
mod switches;
mod trouble;
mod turns;
mod unreadable;
mod vanishing;
mod watches;
mod world;
