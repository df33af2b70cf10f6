//! The Docker Engine API as a server, onto `runtime`.
