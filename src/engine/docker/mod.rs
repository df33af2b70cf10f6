//! Any engine behind a Docker API socket, through bollard.
