//! The small process that is the parent of all containers.
