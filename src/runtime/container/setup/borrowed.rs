//! What an ordinary user's container has from the host, because the kernel makes nothing of the kind for a user: device
//! nodes, and `/proc` and `/sys` of namespaces that are the host's. A `/proc` and `/sys` of its own the kernel mounts only
//! where the host's are in sight, which is before the host's tree is left.

use std::path::{Path, PathBuf};

use super::{
    HARDENED, Owners, Place, Powers, SetupOp, further_devices, kernel, opened, usual_devices,
};
use crate::runtime::container::request::{ContainerRequest, Device, Namespace, Recursion};

/// Slots of what was opened; empty for root.
#[derive(Debug, Default)]
pub(super) struct Borrowed {
    devices: Vec<(String, usize)>,
    kernel: Vec<(&'static str, usize)>,
}

/// Opens what is needed, in the host's mount namespace.
pub(super) fn open(
    request: &ContainerRequest,
    powers: Powers,
    steps: &mut Vec<SetupOp>,
) -> Borrowed {
    let mut borrowed = Borrowed::default();
    if powers == Powers::Root {
        return borrowed;
    }
    let source = |slot: usize, path: PathBuf, recursion: Recursion| SetupOp::OpenSource {
        slot,
        path,
        recursion,
        owners: Owners::Plain,
    };
    let usual: Vec<Device> = usual_devices().collect();
    let more: Vec<Device> = further_devices(request, &usual).collect();
    for device in usual.into_iter().chain(more) {
        let slot = opened(steps);
        steps.push(source(slot, device.host_path, Recursion::Single));
        borrowed.devices.push((device.path, slot));
    }
    let namespaces = &request.namespaces;
    let systems = [
        ("proc", "proc", namespaces.pid == Namespace::Host),
        ("sys", "sysfs", namespaces.network == Namespace::Host),
    ];
    for (name, filesystem, of_host) in systems {
        let slot = opened(steps);
        steps.push(if of_host {
            // Mounts below cannot be taken off: what they cover would be seen.
            source(slot, Path::new("/").join(name), Recursion::Recursive)
        } else {
            SetupOp::OpenKernel {
                slot,
                filesystem,
                attributes: HARDENED,
            }
        });
        borrowed.kernel.push((name, slot));
    }
    borrowed
}

impl Borrowed {
    /// The step that gives the container a device.
    pub(super) fn device(&self, device: Device) -> SetupOp {
        match self.devices.iter().find(|(path, _)| *path == device.path) {
            Some((path, slot)) => SetupOp::AttachDevice {
                slot: *slot,
                path: path.clone(),
            },
            None => SetupOp::MakeDevice(device),
        }
    }

    /// The step that gives the container `/proc` or `/sys`.
    pub(super) fn kernel(&self, name: &'static str, attributes: u64) -> SetupOp {
        let filesystem = if name == "sys" { "sysfs" } else { name };
        match self.kernel.iter().find(|(known, _)| *known == name) {
            Some((_, slot)) => SetupOp::AttachKernel {
                slot: *slot,
                name,
                attributes,
            },
            None => kernel(Place::Top(name), filesystem, &[], attributes),
        }
    }
}
