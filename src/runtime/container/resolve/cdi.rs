//! Devices by name: what the specifications of the Container Device Interface add to a container.
//!
//! ```text
//! device_requests: {driver: cdi, ids: [vendor/class=name]}     devices: [vendor/class=name] in a Compose file
//! gpus: all  --->  nvidia.com/gpu=all                          where such a specification is there
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bollard_stubs::models::DeviceRequest;
use serde::Deserialize;

use super::ResolveError;
use super::device;
use crate::runtime::container::request::{
    Access, Device, DeviceKind, DeviceRule, Mount, MountKind, Propagation, Recursion, Verdict,
};

/// Where specifications lie; a device of a later folder comes before its namesake.
pub(crate) const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// The kind of devices that a wish for GPUs without a driver means.
const GPUS: &str = "nvidia.com/gpu";

/// What devices add to a container.
#[derive(Debug, Default)]
pub(super) struct Additions {
    pub env: Vec<String>,
    pub devices: Vec<Device>,
    pub rules: Vec<DeviceRule>,
    pub mounts: Vec<Mount>,
    pub groups: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Spec {
    kind: String,
    devices: Vec<Named>,
    container_edits: Edits,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    name: String,
    container_edits: Edits,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Bind>,
    hooks: Vec<Hook>,
    additional_gids: Vec<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Node {
    path: String,
    host_path: String,
    #[serde(rename = "type")]
    kind: String,
    major: Option<u32>,
    minor: Option<u32>,
    file_mode: Option<u32>,
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bind {
    host_path: String,
    container_path: String,
    options: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hook {
    hook_name: String,
}

/// All devices of the machine's specifications, with their own and their specification's edits.
struct Catalog(BTreeMap<String, [Edits; 2]>);

impl Catalog {
    fn read(folders: &[PathBuf], warnings: &mut Vec<String>) -> Self {
        let mut found = BTreeMap::new();
        for folder in folders {
            let entries = fs::read_dir(folder).into_iter().flatten();
            let mut files: Vec<PathBuf> = entries
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .filter(|path| is_specification(path))
                .collect();
            files.sort();
            for file in files {
                match read(&file) {
                    Ok(spec) => found.extend(spec.devices.into_iter().map(|device| {
                        let name = format!("{}={}", spec.kind, device.name);
                        (name, [spec.container_edits.clone(), device.container_edits])
                    })),
                    Err(error) => warnings.push(format!(
                        "the CDI specification `{}` cannot be read: {error}",
                        file.display()
                    )),
                }
            }
        }
        Self(found)
    }

    fn has_kind(&self, kind: &str) -> bool {
        let is_of = |name: &String| name.split('=').next() == Some(kind);
        self.0.keys().any(is_of)
    }
}

fn is_specification(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json" || extension == "yaml")
}

/// JSON is YAML too.
fn read(file: &Path) -> Result<Spec, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    serde_yaml::from_str(&text).map_err(|error| error.to_string())
}

/// What the requests of a container add to it.
pub(super) fn additions(
    requests: &[DeviceRequest],
    folders: &[PathBuf],
    warnings: &mut Vec<String>,
) -> Result<Additions, ResolveError> {
    let mut additions = Additions::default();
    if requests.is_empty() {
        return Ok(additions);
    }
    let catalog = Catalog::read(folders, warnings);
    let mut common = Vec::new();
    for request in requests {
        for name in names(request, &catalog)? {
            let Some([shared, own]) = catalog.0.get(&name) else {
                return Err(ResolveError::Device(format!(
                    "CDI device injection failed: unresolvable CDI devices {name} (specifications are looked for in {})",
                    FOLDERS.join(" and ")
                )));
            };
            let kind = name.split('=').next().unwrap_or_default().to_owned();
            if !common.contains(&kind) {
                additions.extend(shared, &name, warnings)?;
                common.push(kind);
            }
            additions.extend(own, &name, warnings)?;
        }
    }
    Ok(additions)
}

/// The full names of the devices that a request means.
fn names(request: &DeviceRequest, catalog: &Catalog) -> Result<Vec<String>, ResolveError> {
    let driver = request.driver.as_deref().unwrap_or_default();
    let ids = request.device_ids.clone().unwrap_or_default();
    if driver == "cdi" {
        return Ok(ids);
    }
    let capabilities = request.capabilities.clone().unwrap_or_default();
    let gpus = capabilities.iter().flatten().any(|name| name == "gpu");
    if !(gpus && matches!(driver, "" | "nvidia") && catalog.has_kind(GPUS)) {
        let sets: Vec<String> = capabilities
            .iter()
            .map(|set| format!("[{}]", set.join(" ")))
            .collect();
        return Err(ResolveError::Device(format!(
            "could not select device driver \"{driver}\" with capabilities: [{}] (this engine has devices by CDI only, and no specification of `{GPUS}` is in {})",
            sets.join(" "),
            FOLDERS.join(" or ")
        )));
    }
    let wanted = match (ids.is_empty(), request.count.unwrap_or(0)) {
        (false, _) => ids,
        (true, count) if count > 0 => (0..count).map(|number| number.to_string()).collect(),
        (true, _) => vec!["all".to_owned()],
    };
    Ok(wanted
        .into_iter()
        .map(|id| {
            if id.contains('=') {
                id
            } else {
                format!("{GPUS}={id}")
            }
        })
        .collect())
}

impl Additions {
    fn extend(
        &mut self,
        edits: &Edits,
        name: &str,
        warnings: &mut Vec<String>,
    ) -> Result<(), ResolveError> {
        self.env.extend(edits.env.iter().cloned());
        let groups = edits.additional_gids.iter().filter(|gid| **gid != 0);
        self.groups.extend(groups.map(ToString::to_string));
        self.mounts.extend(edits.mounts.iter().map(bind));
        for node in &edits.device_nodes {
            let node_device = node.device()?;
            self.rules.push(node.rule(&node_device));
            self.devices.push(node_device);
        }
        for hook in &edits.hooks {
            warnings.push(format!(
                "the hook `{}` of the device {name} is not run by this engine",
                hook.hook_name
            ));
        }
        Ok(())
    }
}

fn bind(bind: &Bind) -> Mount {
    let has = |option: &str| bind.options.iter().any(|given| given == option);
    Mount {
        target: bind.container_path.clone(),
        kind: MountKind::Bind {
            source: PathBuf::from(&bind.host_path),
            recursion: if has("bind") && !has("rbind") {
                Recursion::Single
            } else {
                Recursion::Recursive
            },
            propagation: Propagation::RecursivePrivate,
        },
        access: if has("ro") {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
    }
}

impl Node {
    /// The node of the host, with what the specification says of it.
    fn device(&self) -> Result<Device, ResolveError> {
        let host_path = if self.host_path.is_empty() {
            PathBuf::from(&self.path)
        } else {
            PathBuf::from(&self.host_path)
        };
        let found = fs::metadata(&host_path)
            .ok()
            .and_then(|metadata| device::device(&host_path, Path::new(&self.path), &metadata));
        let mut device = match (found, self.major, self.minor) {
            (Some(device), _, _) => device,
            (None, Some(major), Some(minor)) => Device {
                path: self.path.clone(),
                kind: DeviceKind::Character,
                major,
                minor,
                mode: 0o660,
                uid: 0,
                gid: 0,
                host_path,
            },
            (None, _, _) => {
                return Err(ResolveError::Device(format!(
                    "CDI device injection failed: `{}` is no device of this machine",
                    host_path.display()
                )));
            }
        };
        match self.kind.as_str() {
            "b" => device.kind = DeviceKind::Block,
            "c" | "u" => device.kind = DeviceKind::Character,
            _ => {}
        }
        device.major = self
            .major
            .filter(|_| self.minor.is_some())
            .unwrap_or(device.major);
        device.minor = self
            .minor
            .filter(|_| self.major.is_some())
            .unwrap_or(device.minor);
        device.mode = self.file_mode.unwrap_or(device.mode);
        device.uid = self.uid.unwrap_or(device.uid);
        device.gid = self.gid.unwrap_or(device.gid);
        Ok(device)
    }

    fn rule(&self, device: &Device) -> DeviceRule {
        let access = if self.permissions.is_empty() {
            "rwm"
        } else {
            &self.permissions
        };
        DeviceRule {
            verdict: Verdict::Allow,
            kind: match device.kind {
                DeviceKind::Character => 'c',
                DeviceKind::Block => 'b',
            },
            major: Some(device.major),
            minor: Some(device.minor),
            access: access.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    const SPEC: &str = r#"
cdiVersion: "0.6.0"
kind: nvidia.com/gpu
containerEdits:
  env: [DRIVER=1]
  mounts: [{hostPath: /usr/lib, containerPath: /drivers, options: [ro, nosuid, bind]}]
  hooks: [{hookName: createContainer, path: /bin/ldconfig}]
devices:
- name: "0"
  containerEdits: {deviceNodes: [{path: /dev/gpu0, hostPath: /dev/zero, permissions: rw, gid: 44}]}
- name: all
  containerEdits: {env: [ALL=1], additionalGids: [44], deviceNodes: [{path: /dev/gpu1, type: c, major: 195, minor: 1}]}
"#;

    fn cdi(ids: &[&str]) -> DeviceRequest {
        DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(ids.iter().map(ToString::to_string).collect()),
            ..DeviceRequest::default()
        }
    }

    fn gpus(count: i64) -> DeviceRequest {
        DeviceRequest {
            count: Some(count),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        }
    }

    fn add(request: DeviceRequest) -> Result<(Additions, Vec<String>), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("gpu.yaml"), SPEC)?;
        fs::write(folder.path().join("broken.json"), "{")?;
        let mut warnings = Vec::new();
        let folders = [folder.path().to_owned()];
        Ok((additions(&[request], &folders, &mut warnings)?, warnings))
    }

    #[test]
    fn a_device_brings_its_nodes_rules_mounts_and_variables() -> TestResult {
        let (added, warnings) = add(cdi(&["nvidia.com/gpu=0", "nvidia.com/gpu=all"]))?;
        assert_eq!(added.env, ["DRIVER=1", "ALL=1"]);
        assert_eq!(added.groups, ["44"]);
        let nodes: Vec<_> = added
            .devices
            .iter()
            .map(|node| (node.path.as_str(), node.major, node.minor, node.gid))
            .collect();
        assert_eq!(nodes, [("/dev/gpu0", 1, 5, 44), ("/dev/gpu1", 195, 1, 0)]);
        let rules: Vec<_> = added
            .rules
            .iter()
            .map(|rule| (rule.kind, rule.major, rule.access.as_str()))
            .collect();
        assert_eq!(rules, [('c', Some(1), "rw"), ('c', Some(195), "rwm")]);
        assert_eq!(added.mounts.len(), 1);
        assert_eq!(
            (added.mounts[0].target.as_str(), added.mounts[0].access),
            ("/drivers", Access::ReadOnly)
        );
        assert!(warnings.iter().any(|said| said.contains("createContainer")));
        assert!(warnings.iter().any(|said| said.contains("broken.json")));
        Ok(())
    }

    #[test]
    fn a_wish_for_gpus_means_devices_of_nvidia() -> TestResult {
        assert_eq!(add(gpus(1))?.0.devices[0].path, "/dev/gpu0");
        assert_eq!(add(gpus(-1))?.0.devices[0].path, "/dev/gpu1");
        Ok(())
    }

    #[test]
    fn what_is_not_there_is_told_in_docker_s_words() -> TestResult {
        let said = |result: Result<_, Box<dyn std::error::Error>>| {
            result.map(drop).map_err(|error| error.to_string())
        };
        let unknown = said(add(cdi(&["other/class=x"])));
        assert!(unknown.is_err_and(|text| text.contains("unresolvable CDI devices other/class=x")));
        let nothing =
            additions(&[gpus(1)], &[], &mut Vec::new()).map_err(|error| error.to_string());
        assert!(nothing.is_err_and(|text| {
            text.starts_with("could not select device driver \"\" with capabilities: [[gpu]]")
        }));
        Ok(())
    }
}
