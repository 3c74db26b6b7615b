//! Real faults under a burst of changes. After each, both sides are equal and nothing foreign was
//! touched.

mod bed;
mod clock;
mod kills;
mod network;
mod restore;
