//! The engine against a simulated world, for as many seeds as one likes: each draws a mode of
//! binding, what people, operators and accidents do, how requests and watches behave, and when
//! konnectors crash. `docs/ARCHITECTURE.md` has a section about it.

mod accidents;
mod connection;
mod delivery;
mod invariants;
mod mode;
mod namespaces;
mod operators;
mod rest;
mod run;
mod runner;
mod stream;
mod trace;
mod users;
mod world;

use run::play;

/// What `make test` runs.
const SEEDS: u64 = 300;

#[test]
fn whatever_happens_both_sides_agree_in_the_end() {
    runner::run(SEEDS);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(play(seed, true), play(seed, true), "seed {seed}");
    }
}

#[test]
fn different_seeds_are_different_runs() {
    assert_ne!(play(1, false).hash, play(2, false).hash);
}
