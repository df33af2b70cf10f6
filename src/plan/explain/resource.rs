//! What differs between a network or volume and the one that the file describes.

use bollard_stubs::models::{NetworkCreateRequest, NetworkInspect, Volume, VolumeCreateRequest};
use serde_json::{Value, json};

use super::place::{Places, Section};
use super::reading::{Entries, Values, pairs, scalar, switch};
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

/// The parts that networks and volumes share: a driver, its options, labels.
fn compare_common(
    section: &Section<'_>,
    (old, new): (&Value, &Value),
    option_keys: (&str, &str),
    drivers: &[&str],
) -> Vec<Change> {
    let driver = |value: &Value| Entries::scalar(scalar(&value["Driver"]));
    let before = Entries::named(pairs(&old[option_keys.0]));
    let after = Entries::named(pairs(&new[option_keys.1]));
    let (old_labels, new_labels) = (labels(&old["Labels"]), labels(&new["Labels"]));
    let parts = [
        ("driver", driver(old), driver(new), Values::Shown, drivers),
        ("driver_opts", before, after, Values::Hidden, &[][..]),
        ("labels", old_labels, new_labels, Values::Shown, &[][..]),
    ];
    let compared = parts.iter().map(|(attribute, old, new, values, expected)| {
        compare(section, attribute, (old, new), (*values, expected))
    });
    compared.flatten().collect()
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
    let switches = [
        ("internal", "Internal", false),
        ("attachable", "Attachable", false),
        ("enable_ipv6", "EnableIPv6", false),
        ("enable_ipv4", "EnableIPv4", true),
    ];
    let switched = switches.into_iter().flat_map(|(attribute, field, unset)| {
        let both = (&switch(&old[field], unset), &switch(&new[field], unset));
        compare(&section, attribute, both, (Values::Shown, &[]))
    });
    let mut found: Vec<Change> = switched.collect();
    let options = ("Options", "Options");
    found.extend(compare_common(&section, (&old, &new), options, &["*"]));
    let pools = pools_of(&new);
    // Where the file leaves the addresses to the engine, those that it chose are no difference.
    let chosen: &[&str] = if pools.of.is_empty() { &["*"] } else { &[] };
    let both = (&pools_of(&old), &pools);
    found.extend(compare(
        &section,
        "ipam.config",
        both,
        (Values::Shown, chosen),
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
    let both = (json!(observed), json!(wanted));
    let options = ("Options", "DriverOpts");
    compare_common(&section, (&both.0, &both.1), options, &["local"])
}
