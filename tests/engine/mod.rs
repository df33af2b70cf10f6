//! Against real engines.

mod docker;
mod quickstart;
