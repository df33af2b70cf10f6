//! Against real engines.

mod builtin;
mod docker;
mod quickstart;
mod refusal;
