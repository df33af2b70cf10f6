//! The `build` section.

use super::{Binder, Node, Path, Value};
use crate::model::{Build, Ulimit};

impl Binder<'_> {
    pub(super) fn build(&mut self, node: &Node, path: Path<'_>) -> Build {
        let mut build = Build::default();
        build.extensions = self.fields(node, path, &mut build, Self::build_field);
        build
    }

    fn build_field(&mut self, build: &mut Build, key: &str, node: &Node, path: Path<'_>) {
        match key {
            "context" => build.context = self.text(node, path),
            "dockerfile" => build.dockerfile = self.text(node, path),
            "dockerfile_inline" => build.dockerfile_inline = self.text(node, path),
            "provenance" => build.provenance = self.text(node, path),
            "sbom" => build.sbom = self.text(node, path),
            "isolation" => build.isolation = self.text(node, path),
            "network" => build.network = self.text(node, path),
            "target" => build.target = self.text(node, path),
            "entitlements" => build.entitlements = self.texts(node, path),
            "cache_from" => build.cache_from = self.texts(node, path),
            "cache_to" => build.cache_to = self.texts(node, path),
            "no_cache_filter" => build.no_cache_filter = self.texts(node, path),
            "tags" => build.tags = self.texts(node, path),
            "platforms" => build.platforms = self.texts(node, path),
            "no_cache" => build.no_cache = self.flag(node, path),
            "pull" => build.pull = self.flag(node, path),
            "privileged" => build.privileged = self.flag(node, path),
            "args" => build.args = self.environment(node, path),
            "labels" => build.labels = self.mapping(node, path),
            "additional_contexts" => build.additional_contexts = self.mapping(node, path),
            "extra_hosts" => build.extra_hosts = self.hosts(node, path),
            "shm_size" => build.shm_size = self.bytes(node, path),
            "secrets" => build.secrets = self.list(node, path, Self::file_reference),
            "ulimits" => build.ulimits = self.table(node, path, Self::ulimit),
            "ssh" => build.ssh = self.ssh(node, path),
            _ => {}
        }
    }

    fn ssh(&mut self, node: &Node, path: Path<'_>) -> Vec<String> {
        let mut keys: Vec<String> = self
            .environment(node, path)
            .into_iter()
            .map(|(id, path)| match path.filter(|path| !path.is_empty()) {
                Some(path) => format!("{id}={path}"),
                None => id,
            })
            .collect();
        keys.sort();
        keys
    }

    pub(super) fn ulimit(&mut self, node: &Node, path: Path<'_>) -> Ulimit {
        match &node.value {
            Value::Map(map) => {
                let mut limit =
                    |key: &str| map.get(key).map_or(0, |node| self.int(node, path.key(key)));
                Ulimit::Range {
                    soft: limit("soft"),
                    hard: limit("hard"),
                }
            }
            _ => Ulimit::Single(self.int(node, path)),
        }
    }
}
