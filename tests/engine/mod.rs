//! Against real engines.

mod quickstart;
