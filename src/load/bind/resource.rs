//! Networks, volumes, secrets, configs and models.

use super::{Binder, Node, Path, SECRET_VALUE, Value};
use crate::model::{FileObject, Ipam, IpamPool, Model, Network, Volume};

impl Binder<'_> {
    pub(super) fn network(&mut self, node: &Node, path: Path<'_>) -> Network {
        let mut network = Network::default();
        network.extensions = self.fields(
            node,
            path,
            &mut network,
            |binder, target, key, node, path| match key {
                "name" => target.name = binder.text(node, path),
                "driver" => target.driver = binder.text(node, path),
                "driver_opts" => target.driver_opts = binder.mapping(node, path),
                "ipam" => target.ipam = binder.ipam(node, path),
                "external" => target.external = binder.external(node, path),
                "internal" => target.internal = binder.flag(node, path),
                "attachable" => target.attachable = binder.flag(node, path),
                "labels" => target.labels = binder.mapping(node, path),
                "enable_ipv4" => target.enable_ipv4 = binder.some_flag(node, path),
                "enable_ipv6" => target.enable_ipv6 = binder.some_flag(node, path),
                _ => {}
            },
        );
        network
    }

    fn external(&mut self, node: &Node, path: Path<'_>) -> bool {
        match &node.value {
            Value::Map(_) => true,
            _ => self.flag(node, path),
        }
    }

    fn ipam(&mut self, node: &Node, path: Path<'_>) -> Ipam {
        let mut ipam = Ipam::default();
        ipam.extensions =
            self.fields(
                node,
                path,
                &mut ipam,
                |binder, target, key, node, path| match key {
                    "driver" => target.driver = binder.text(node, path),
                    "config" => target.config = binder.list(node, path, Binder::pool),
                    "options" => target.options = binder.mapping(node, path),
                    _ => {}
                },
            );
        ipam
    }

    fn pool(&mut self, node: &Node, path: Path<'_>) -> IpamPool {
        let mut pool = IpamPool::default();
        pool.extensions =
            self.fields(
                node,
                path,
                &mut pool,
                |binder, target, key, node, path| match key {
                    "subnet" => target.subnet = binder.text(node, path),
                    "gateway" => target.gateway = binder.text(node, path),
                    "ip_range" => target.ip_range = binder.text(node, path),
                    "aux_addresses" => target.aux_addresses = binder.mapping(node, path),
                    _ => {}
                },
            );
        pool
    }

    pub(super) fn volume(&mut self, node: &Node, path: Path<'_>) -> Volume {
        let mut volume = Volume::default();
        volume.extensions = self.fields(
            node,
            path,
            &mut volume,
            |binder, target, key, node, path| match key {
                "name" => target.name = binder.text(node, path),
                "driver" => target.driver = binder.text(node, path),
                "driver_opts" => target.driver_opts = binder.mapping(node, path),
                "external" => target.external = binder.external(node, path),
                "labels" => target.labels = binder.mapping(node, path),
                _ => {}
            },
        );
        volume
    }

    pub(super) fn file_object(&mut self, node: &Node, path: Path<'_>) -> FileObject {
        let mut object = FileObject::default();
        let mut extensions = self.fields(
            node,
            path,
            &mut object,
            |binder, target, key, node, path| match key {
                "name" => target.name = binder.text(node, path),
                "file" => target.file = binder.text(node, path),
                "environment" => target.environment = binder.text(node, path),
                "content" => target.content = binder.text(node, path),
                "external" => target.external = binder.external(node, path),
                "labels" => target.labels = binder.mapping(node, path),
                "driver" => target.driver = binder.text(node, path),
                "driver_opts" => target.driver_opts = binder.mapping(node, path),
                "template_driver" => target.template_driver = binder.text(node, path),
                _ => {}
            },
        );
        if extensions.shift_remove(SECRET_VALUE).is_some() {
            let value = node.find(SECRET_VALUE).and_then(Node::as_text);
            value.unwrap_or_default().clone_into(&mut object.content);
        }
        object.extensions = extensions;
        object
    }

    pub(super) fn model(&mut self, node: &Node, path: Path<'_>) -> Model {
        let mut model = Model::default();
        model.extensions = self.fields(
            node,
            path,
            &mut model,
            |binder, target, key, node, path| match key {
                "name" => target.name = binder.text(node, path),
                "model" => target.model = binder.text(node, path),
                "context_size" => target.context_size = binder.some_int(node, path),
                "runtime_flags" => target.runtime_flags = binder.texts(node, path),
                _ => {}
            },
        );
        model
    }
}
