//! Keeps containers as they should be: restarts, health, exits.
