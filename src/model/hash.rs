//! The hashes that docker compose writes into labels, bit for bit (behaviours.md B131, B150).
//!
//! They are taken over the text that Go's JSON encoder makes of a resource: fields in the order of the model, keys of
//! maps sorted (the loader sorts them), `<`, `>` and `&` escaped.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};
use sha2::{Digest, Sha256};

use super::{Network, Service, Volume};

/// Returns the configuration hash of a service: build, scale, dependencies, profiles and pull policy do not count.
#[must_use]
pub fn config_hash(service: &Service) -> String {
    let mut bare = Service {
        build: None,
        pull_policy: String::new(),
        scale: None,
        depends_on: indexmap::IndexMap::new(),
        profiles: Vec::new(),
        ..service.clone()
    };
    if let Some(deploy) = &mut bare.deploy {
        deploy.replicas = None;
    }
    digest(&bare)
}

/// Returns the configuration hash of a network.
#[must_use]
pub fn network_hash(network: &Network) -> String {
    digest(network)
}

/// Returns the configuration hash of a volume; without a driver it is `local`.
#[must_use]
pub fn volume_hash(volume: &Volume) -> String {
    if volume.driver.is_empty() {
        return digest(&Volume {
            driver: "local".to_owned(),
            ..volume.clone()
        });
    }
    digest(volume)
}

fn digest(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, GoFormatter::default());
    value
        .serialize(&mut serializer)
        .expect("the model serializes, and memory takes every byte");
    hex::encode(Sha256::digest(&text))
}

/// Writes compact JSON as Go's encoder does.
#[derive(Debug, Default)]
struct GoFormatter(CompactFormatter);

impl Formatter for GoFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let Some(special) = rest[at..].chars().next() else {
                break;
            };
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        self.0.write_char_escape(writer, escape)
    }
}
