//! Against real engines.

mod alternation;
mod builtin;
mod docker;
mod plan;
mod quickstart;
mod refusal;
