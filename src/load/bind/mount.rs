//! Mounts, ports and devices.

use super::{Binder, Node, Path};
use crate::model::{
    BindOptions, DeviceMapping, ImageMountOptions, Mount, MountKind, Port, TmpfsOptions,
    VolumeOptions,
};

impl Binder<'_> {
    pub(super) fn mount(&mut self, node: &Node, path: Path<'_>) -> Mount {
        let mut mount = Mount::default();
        mount.extensions = self.fields(
            node,
            path,
            &mut mount,
            |binder, target, key, node, path| match key {
                "type" => target.kind = binder.mount_kind(node, path),
                "source" => target.source = binder.text(node, path),
                "target" => target.target = binder.text(node, path),
                "read_only" => target.read_only = binder.flag(node, path),
                "consistency" => target.consistency = binder.text(node, path),
                "bind" => target.bind = binder.section(node, path, Binder::bind_options),
                "volume" => target.volume = binder.section(node, path, Binder::volume_options),
                "tmpfs" => target.tmpfs = binder.section(node, path, Binder::tmpfs_options),
                "image" => target.image = binder.section(node, path, Binder::image_options),
                _ => {}
            },
        );
        mount
    }

    fn mount_kind(&mut self, node: &Node, path: Path<'_>) -> MountKind {
        match self.text(node, path).as_str() {
            "bind" => MountKind::Bind,
            "tmpfs" => MountKind::Tmpfs,
            "image" => MountKind::Image,
            "npipe" => MountKind::Npipe,
            "cluster" => MountKind::Cluster,
            _ => MountKind::Volume,
        }
    }

    fn bind_options(&mut self, node: &Node, path: Path<'_>) -> BindOptions {
        let mut options = BindOptions::default();
        options.extensions = self.fields(
            node,
            path,
            &mut options,
            |binder, target, key, node, path| match key {
                "selinux" => target.selinux = binder.text(node, path),
                "propagation" => target.propagation = binder.text(node, path),
                "create_host_path" => target.create_host_path = binder.some_flag(node, path),
                "recursive" => target.recursive = binder.text(node, path),
                _ => {}
            },
        );
        options
    }

    fn volume_options(&mut self, node: &Node, path: Path<'_>) -> VolumeOptions {
        let mut options = VolumeOptions::default();
        options.extensions = self.fields(
            node,
            path,
            &mut options,
            |binder, target, key, node, path| match key {
                "labels" => target.labels = binder.mapping(node, path),
                "nocopy" => target.nocopy = binder.flag(node, path),
                "subpath" => target.subpath = binder.text(node, path),
                _ => {}
            },
        );
        options
    }

    fn tmpfs_options(&mut self, node: &Node, path: Path<'_>) -> TmpfsOptions {
        let mut options = TmpfsOptions::default();
        options.extensions = self.fields(
            node,
            path,
            &mut options,
            |binder, target, key, node, path| match key {
                "size" => target.size = binder.bytes(node, path),
                "mode" => {
                    let mode: u32 = binder.number(node, path);
                    target.mode = Some(mode).filter(|mode| *mode != 0);
                }
                _ => {}
            },
        );
        options
    }

    fn image_options(&mut self, node: &Node, path: Path<'_>) -> ImageMountOptions {
        let mut options = ImageMountOptions::default();
        options.extensions = self.fields(
            node,
            path,
            &mut options,
            |binder, target, key, node, path| {
                if key == "subpath" {
                    target.subpath = binder.text(node, path);
                }
            },
        );
        options
    }

    pub(super) fn port(&mut self, node: &Node, path: Path<'_>) -> Port {
        let mut port = Port::default();
        port.extensions =
            self.fields(
                node,
                path,
                &mut port,
                |binder, target, key, node, path| match key {
                    "name" => target.name = binder.text(node, path),
                    "mode" => target.mode = binder.text(node, path),
                    "host_ip" => target.host_ip = binder.text(node, path),
                    "target" => target.target = binder.number(node, path),
                    "published" => target.published = binder.text(node, path),
                    "protocol" => target.protocol = binder.text(node, path),
                    "app_protocol" => target.app_protocol = binder.text(node, path),
                    _ => {}
                },
            );
        port
    }

    pub(super) fn device(&mut self, node: &Node, path: Path<'_>) -> DeviceMapping {
        let mut device = DeviceMapping::default();
        device.extensions = self.fields(
            node,
            path,
            &mut device,
            |binder, target, key, node, path| match key {
                "source" => target.source = binder.text(node, path),
                "target" => target.target = binder.text(node, path),
                "permissions" => target.permissions = binder.text(node, path),
                _ => {}
            },
        );
        device
    }
}
