//! Device nodes and the rules of the device controller.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bollard_stubs::models::HostConfig;

use super::ResolveError;
use crate::runtime::container::request::{Device, DeviceKind, DeviceRule, Verdict};

type Devices = (Vec<Device>, Vec<DeviceRule>);

/// The nodes and rules of a container; a privileged one has all nodes and no rules.
pub(super) fn resolve(host: &HostConfig) -> Result<Devices, ResolveError> {
    if host.privileged == Some(true) {
        let mut devices = Vec::new();
        collect(Path::new("/dev"), Path::new("/dev"), &mut devices);
        return Ok((devices, Vec::new()));
    }
    let (mut devices, mut rules) = (Vec::new(), usual_rules());
    for mapping in host.devices.iter().flatten() {
        let source = PathBuf::from(mapping.path_on_host.as_deref().unwrap_or_default());
        let target = mapping
            .path_in_container
            .clone()
            .filter(|path| !path.is_empty());
        let target = target.map_or_else(|| source.clone(), PathBuf::from);
        let access = mapping
            .cgroup_permissions
            .clone()
            .filter(|access| !access.is_empty())
            .unwrap_or_else(|| "rwm".into());
        let found = map(&source, &target)?;
        rules.extend(found.iter().map(|device| DeviceRule {
            verdict: Verdict::Allow,
            kind: match device.kind {
                DeviceKind::Character => 'c',
                DeviceKind::Block => 'b',
            },
            major: Some(device.major),
            minor: Some(device.minor),
            access: access.clone(),
        }));
        devices.extend(found);
    }
    for rule in host.device_cgroup_rules.iter().flatten() {
        rules.push(parse_rule(rule)?);
    }
    Ok((devices, rules))
}

fn usual_rules() -> Vec<DeviceRule> {
    let rule = |kind, major, minor, access: &str| DeviceRule {
        verdict: Verdict::Allow,
        kind,
        major,
        minor,
        access: access.to_owned(),
    };
    let nodes = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(1)),
        (5, Some(2)),
        (136, None),
    ];
    let mut rules = vec![rule('c', None, None, "m"), rule('b', None, None, "m")];
    rules.extend(nodes.map(|(major, minor)| rule('c', Some(major), minor, "rwm")));
    rules
}

/// A node, or all nodes of a folder.
fn map(source: &Path, target: &Path) -> Result<Vec<Device>, ResolveError> {
    let failed = |source_error| ResolveError::Read {
        path: source.to_owned(),
        source: source_error,
    };
    let metadata = fs::metadata(source).map_err(failed)?;
    let mut devices = Vec::new();
    if metadata.is_dir() {
        collect(source, target, &mut devices);
    } else {
        devices.extend(device(source, target, &metadata));
    }
    if devices.is_empty() {
        return Err(ResolveError::Invalid {
            what: "device",
            value: source.display().to_string(),
        });
    }
    Ok(devices)
}

pub(super) fn device(source: &Path, target: &Path, metadata: &fs::Metadata) -> Option<Device> {
    let file_type = metadata.file_type();
    let kind = match (file_type.is_char_device(), file_type.is_block_device()) {
        (true, _) => DeviceKind::Character,
        (_, true) => DeviceKind::Block,
        _ => return None,
    };
    Some(Device {
        path: target.to_str()?.to_owned(),
        kind,
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        host_path: source.to_owned(),
    })
}

/// All nodes below a folder, without those that a container has of its own.
fn collect(source: &Path, target: &Path, devices: &mut Vec<Device>) {
    const OWN: [&str; 8] = [
        "pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".udev",
    ];
    let Ok(entries) = fs::read_dir(source) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let (path, inside) = (entry.path(), target.join(&name));
        // Links are not followed: their targets are found by themselves.
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        if metadata.is_dir() {
            collect(&path, &inside, devices);
        } else {
            devices.extend(device(&path, &inside, &metadata));
        }
    }
}

/// `c 13:* rwm`.
fn parse_rule(text: &str) -> Result<DeviceRule, ResolveError> {
    let invalid = || ResolveError::Invalid {
        what: "device cgroup rule",
        value: text.to_owned(),
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = fields.as_slice() else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse().map(Some).map_err(|_| invalid()),
    };
    let kind = match *kind {
        "a" => 'a',
        "b" => 'b',
        "c" => 'c',
        _ => return Err(invalid()),
    };
    if access.is_empty() || !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(invalid());
    }
    Ok(DeviceRule {
        verdict: Verdict::Allow,
        kind,
        major: number(major)?,
        minor: number(minor)?,
        access: (*access).to_owned(),
    })
}
