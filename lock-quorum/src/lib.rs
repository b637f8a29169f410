#![doc = include_str!("../README.md")]

mod campaign;
mod inspect;
mod lock;
#[cfg(test)]
mod model;
mod node;
mod quorum;
mod shared;
mod voters;

pub use quorum::Quorum;
