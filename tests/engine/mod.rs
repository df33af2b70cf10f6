//! Against real engines.

mod alternation;
mod builtin;
mod docker;
mod quickstart;
mod refusal;
