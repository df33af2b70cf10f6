//! Bridges, addresses, ports, names.
