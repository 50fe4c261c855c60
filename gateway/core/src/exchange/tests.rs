//! The exchange with invented time: a [`world::World`] plays the edge, the store and both factors.

mod appended;
mod chap;
mod deadlines;
mod first_leg;
mod prompts;
mod proofs;
mod rounds;
mod second_leg;
mod world;
