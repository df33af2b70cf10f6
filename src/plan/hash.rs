//! Hashes of configurations, as docker compose writes them into labels (behaviours.md B131-B133, B150).

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::{self, Network, Service, Volume};

/// Hash of a service.
#[must_use]
pub(super) fn service_hash(service: &Service) -> String {
    model::config_hash(service)
}

/// Hash of a network: over its JSON, with the engine's name of it.
#[must_use]
pub fn network_hash(network: &Network) -> String {
    let mut plain = network.clone();
    plain.extensions.clear();
    plain.ipam.extensions.clear();
    plain.driver_opts.sort_keys();
    plain.labels.sort_keys();
    plain.ipam.options.sort_keys();
    for pool in &mut plain.ipam.config {
        pool.extensions.clear();
        pool.aux_addresses.sort_keys();
    }
    sha256(&plain)
}

/// Hash of a volume; no driver is the local one.
#[must_use]
pub fn volume_hash(volume: &Volume) -> String {
    let mut plain = volume.clone();
    plain.extensions.clear();
    plain.driver_opts.sort_keys();
    plain.labels.sort_keys();
    if plain.driver.is_empty() {
        "local".clone_into(&mut plain.driver);
    }
    sha256(&plain)
}

/// SHA-256 of compact JSON with Go's escapes for HTML.
fn sha256(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    let escaped = json
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e");
    hex::encode(Sha256::digest(escaped.as_bytes()))
}
