//! What differs between a network or volume and the one that the file describes.

use bollard_stubs::models::{NetworkCreateRequest, NetworkInspect, Volume, VolumeCreateRequest};
use serde_json::{Value, json};

use super::place::{Places, Section};
use super::reading::{Entries, Values, pairs, scalar};
use crate::plan::Change;

/// Compares one attribute; `expected` are values that an engine gives by itself.
fn compare(
    section: &Section<'_>,
    attribute: &str,
    (old, new): (&Entries, &Entries),
    (values, expected): (Values, &[&str]),
) -> Vec<Change> {
    let by_engine = |key: &str, value: &str| {
        expected
            .iter()
            .any(|name| matches!(*name, "*") || *name == key || *name == value)
    };
    let keys = if new.of.is_empty() {
        old.keys
    } else {
        new.keys
    };
    let differences = old.differences(new, by_engine).into_iter();
    differences
        .map(|difference| section.change(&[attribute], difference, (keys, values)))
        .collect()
}

fn labels(value: &Value) -> Entries {
    let own = pairs(value).into_iter();
    Entries::named(own.filter(|(key, _)| !key.starts_with("com.docker.")))
}

pub(super) fn network(
    places: &Places<'_>,
    key: &str,
    wanted: &NetworkCreateRequest,
    observed: &NetworkInspect,
) -> Vec<Change> {
    let network = &places.project().networks[key];
    let value = serde_json::to_value(network).unwrap_or_default();
    let section = places.section("networks", key, value);
    let (old, new) = (json!(observed), json!(wanted));
    let of = |field: &str| {
        (
            Entries::scalar(scalar(&old[field])),
            Entries::scalar(scalar(&new[field])),
        )
    };
    let mut found = Vec::new();
    let scalars: [(&str, &str, &[&str]); 5] = [
        ("driver", "Driver", &["*"]),
        ("internal", "Internal", &[]),
        ("attachable", "Attachable", &[]),
        ("enable_ipv6", "EnableIPv6", &[]),
        ("enable_ipv4", "EnableIPv4", &["true"]),
    ];
    for (attribute, field, expected) in scalars {
        let (old, new) = of(field);
        found.extend(compare(
            &section,
            attribute,
            (&old, &new),
            (Values::Shown, expected),
        ));
    }
    let options = |value: &Value| Entries::named(pairs(&value["Options"]));
    found.extend(compare(
        &section,
        "driver_opts",
        (&options(&old), &options(&new)),
        (Values::Hidden, &[]),
    ));
    let pools = pools_of(&new);
    // Where the file leaves the addresses to the engine, those that it chose are no difference.
    let chosen: &[&str] = if pools.of.is_empty() { &["*"] } else { &[] };
    found.extend(compare(
        &section,
        "ipam.config",
        (&pools_of(&old), &pools),
        (Values::Shown, chosen),
    ));
    let both = (labels(&old["Labels"]), labels(&new["Labels"]));
    found.extend(compare(
        &section,
        "labels",
        (&both.0, &both.1),
        (Values::Shown, &[]),
    ));
    found
}

/// Subnets; a gateway is only one where the file says it, since the engine chooses it otherwise.
fn pools_of(network: &Value) -> Entries {
    let pools = network.pointer("/IPAM/Config").and_then(Value::as_array);
    let pools = pools.into_iter().flatten().map(|pool| {
        let subnet = scalar(&pool["Subnet"]);
        (subnet.clone(), subnet)
    });
    Entries::listed(pools.filter(|(subnet, _)| !subnet.is_empty()))
}

pub(super) fn volume(
    places: &Places<'_>,
    key: &str,
    wanted: &VolumeCreateRequest,
    observed: &Volume,
) -> Vec<Change> {
    let volume = &places.project().volumes[key];
    let value = serde_json::to_value(volume).unwrap_or_default();
    let section = places.section("volumes", key, value);
    let (old, new) = (json!(observed), json!(wanted));
    let driver = |value: &Value| Entries::scalar(scalar(&value["Driver"]));
    let mut found = compare(
        &section,
        "driver",
        (&driver(&old), &driver(&new)),
        (Values::Shown, &["local"]),
    );
    let before = Entries::named(pairs(&old["Options"]));
    let after = Entries::named(pairs(&new["DriverOpts"]));
    found.extend(compare(
        &section,
        "driver_opts",
        (&before, &after),
        (Values::Hidden, &[]),
    ));
    let both = (labels(&old["Labels"]), labels(&new["Labels"]));
    found.extend(compare(
        &section,
        "labels",
        (&both.0, &both.1),
        (Values::Shown, &[]),
    ));
    found
}
