//! Runs a plan: order, concurrency, cancel, events. Decides nothing.
