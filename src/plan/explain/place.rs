//! Where the file says it: from a field, or from the cause of an action, to `file:line`.

use serde_json::Value;

use super::PlaceOf;
use super::reading::{Difference, Keys, Values};
use crate::model::Project;
use crate::plan::{Action, Cause, Change, Node};

/// Finds places.
pub(super) struct Places<'a> {
    project: &'a Project,
    of: &'a PlaceOf<'a>,
}

/// The part of the file that a field belongs to: `services.web`.
pub(super) struct Section<'a> {
    pub(super) places: &'a Places<'a>,
    pub(super) path: Vec<String>,
    /// The section as the model has it.
    pub(super) value: Value,
}

impl<'a> Places<'a> {
    pub(super) fn new(project: &'a Project, of: &'a PlaceOf<'a>) -> Self {
        Self { project, of }
    }

    pub(super) fn project(&self) -> &'a Project {
        self.project
    }

    /// A section of the file.
    pub(super) fn section(&'a self, kind: &str, key: &str, value: Value) -> Section<'a> {
        Section {
            places: self,
            path: vec![kind.to_owned(), key.to_owned()],
            value,
        }
    }

    fn find(&self, path: &[&str]) -> Option<String> {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        (self.of)(&path)
    }

    fn first(&self, service: &str, attributes: &[&str]) -> Option<String> {
        let place = |attribute: &&str| {
            let mut path = vec!["services", service];
            path.extend(attribute.split('.').filter(|part| !part.is_empty()));
            self.find(&path)
        };
        attributes.iter().find_map(place)
    }

    /// The key in the file of a network of the engine.
    fn network_key(&self, name: &str) -> Option<&'a str> {
        let mut networks = self.project.networks.iter();
        let (key, _) = networks.find(|(_, network)| network.name == name)?;
        Some(key)
    }

    /// The number of the entry by which a service mounts a volume of the engine.
    fn mount_of(&self, service: &str, name: &str) -> Option<usize> {
        let (key, _) = (self.project.volumes.iter()).find(|(_, volume)| volume.name == name)?;
        let service = self.project.services.get(service)?;
        service
            .volumes
            .iter()
            .position(|mount| mount.source == *key)
    }

    /// The place that an action goes back to; changed fields have places of their own.
    pub(super) fn of_node(&self, node: &Node) -> Option<String> {
        if let Action::CreateNetwork(spec) = &node.action {
            let key = self.network_key(&spec.body.name)?;
            return self.find(&["networks", key]).filter(|_| is_missing(node));
        }
        if let Action::CreateVolume(spec) = &node.action {
            let mut volumes = self.project.volumes.iter();
            let (key, _) =
                volumes.find(|(_, volume)| Some(&volume.name) == spec.body.name.as_ref())?;
            return self.find(&["volumes", key]).filter(|_| is_missing(node));
        }
        let scale = ["scale", "deploy.replicas", ""];
        if let Cause::ScaleDown {
            service,
            option: None,
            ..
        } = &node.cause
        {
            return self.first(service, &scale);
        }
        let service = node.action.service()?;
        let depends_on = |name: &str| format!("depends_on.{name}");
        match &node.cause {
            Cause::Missing => self.first(service, &[""]),
            Cause::ImageChanged { .. } => self.first(service, &["image", "build", ""]),
            Cause::ImageVolumeChanged => self.first(service, &["volumes", ""]),
            Cause::PullPolicy { .. } => self.first(service, &["pull_policy", "image", ""]),
            Cause::NotAttached { network } => {
                let own = self.network_key(network).unwrap_or_default();
                self.first(service, &[&format!("networks.{own}"), "networks", ""])
            }
            Cause::NotMounted { volume } => {
                let own = self.mount_of(service, volume);
                let own = own.map_or_else(String::new, |index| index.to_string());
                self.first(service, &[&format!("volumes.{own}"), "volumes", ""])
            }
            Cause::ScaleUp { option: None, .. } => self.first(service, &scale),
            Cause::DependencyRestarted { service: other } => {
                self.first(service, &[&depends_on(other), "depends_on"])
            }
            Cause::NeededBy { service: waiting } => {
                self.first(waiting, &[&depends_on(service), "depends_on"])
            }
            Cause::ParentRecreated { .. } => self.first(
                service,
                &["network_mode", "ipc", "pid", "volumes_from", "links", ""],
            ),
            Cause::Hook => self.first(service, &["pre_start", "post_start", "pre_stop"]),
            Cause::ContentChanged { .. } => self.first(service, &["x-hoist-on-change", ""]),
            Cause::ConfigChanged { .. }
            | Cause::NetworkRecreated { .. }
            | Cause::VolumeRecreated { .. }
            | Cause::VolumeMigrated { .. }
            | Cause::MigrationCutShort { .. }
            | Cause::Requested { .. }
            | Cause::ScaleUp { .. }
            | Cause::ScaleDown { .. }
            | Cause::Orphan
            | Cause::NotRunning { .. }
            | Cause::Created
            | Cause::Replacement
            | Cause::Leftover
            | Cause::Unnamed => None,
        }
    }
}

fn is_missing(node: &Node) -> bool {
    node.cause == Cause::Missing
}

impl Section<'_> {
    /// A difference with its attribute and its place.
    ///
    /// An attribute may stand in two places of a section (`deploy.resources.limits.memory`, `mem_limit`); it is the
    /// first that the file has.
    pub(super) fn change(
        &self,
        attributes: &[&str],
        difference: Difference,
        (keys, values): (Keys, Values),
    ) -> Change {
        let present = attributes.iter().find(|name| self.value_of(name).is_some());
        let attribute = present.or(attributes.last()).copied().unwrap_or_default();
        let named = keys == Keys::Names && !difference.key.is_empty();
        let field = if named {
            format!("{attribute}.{}", difference.key)
        } else {
            attribute.to_owned()
        };
        let hidden = |text: Option<String>| text.filter(|_| values == Values::Shown);
        Change {
            field,
            place: self.place(attribute, &difference, keys),
            change: difference.kind,
            from: hidden(difference.from),
            to: hidden(difference.to),
        }
    }

    /// The place of the entry, else of the attribute, else of the section.
    fn place(&self, attribute: &str, difference: &Difference, keys: Keys) -> Option<String> {
        let mut path = self.path.clone();
        path.extend(attribute.split('.').map(str::to_owned));
        let of = self.places.of;
        let of_file = |path: &[String]| of(path).or_else(|| of(&self.path));
        let entry = match keys {
            Keys::None => None,
            Keys::Names => Some(difference.key.clone()),
            Keys::Stems if attribute == "networks" => {
                return self
                    .place_of_attachment(difference)
                    .or_else(|| of_file(&path));
            }
            Keys::Stems => difference
                .to
                .as_ref()
                .and_then(|text| self.index_of(attribute, &difference.key, text)),
        };
        entry
            .and_then(|entry| {
                let mut path = path.clone();
                path.push(entry);
                of(&path)
            })
            // A variable that `environment` does not have came from a file.
            .or_else(|| (attribute == "environment").then(|| self.find("env_file"))?)
            .or_else(|| of_file(&path))
    }

    /// The place of what is new in the attachment to a network, else of the attachment.
    fn place_of_attachment(&self, difference: &Difference) -> Option<String> {
        let key = self.places.network_key(&difference.key)?;
        let mut path = self.path.clone();
        path.extend(["networks".to_owned(), key.to_owned()]);
        let before = difference.from.as_deref().unwrap_or_default();
        let known: Vec<&str> = before.split([' ', ',', '(', ')']).collect();
        let is_new = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            !text.is_empty() && !known.contains(&text)
        };
        let attachment = self.value_of("networks").and_then(|all| all.get(key));
        let brought = attachment.and_then(|attachment| {
            let address = ["ipv4_address", "ipv6_address"].into_iter();
            let address = address.filter(|name| attachment.get(*name).is_some_and(is_new));
            let aliases = attachment.get("aliases").and_then(Value::as_array);
            let alias = aliases.and_then(|aliases| aliases.iter().position(is_new));
            let alias = alias.map(|index| vec!["aliases".to_owned(), index.to_string()]);
            let address = address.map(|name| vec![name.to_owned()]).next();
            address.or(alias)
        });
        // Of a whole new attachment the key says enough.
        let brought = brought.filter(|_| difference.from.is_some());
        let of = self.places.of;
        brought
            .and_then(|rest| of(&[path.as_slice(), &rest].concat()))
            .or_else(|| of(&path))
    }

    fn find(&self, attribute: &str) -> Option<String> {
        let mut path = self.path.clone();
        path.push(attribute.to_owned());
        (self.places.of)(&path)
    }

    fn value_of(&self, attribute: &str) -> Option<&Value> {
        let mut parts = attribute.split('.');
        parts.try_fold(&self.value, |value, part| value.get(part))
    }

    /// The place in a list of the entry that became this text.
    fn index_of(&self, attribute: &str, stem: &str, text: &str) -> Option<String> {
        let list = self.value_of(attribute)?.as_array()?;
        let fits = |entry: &Value| match entry {
            Value::String(entry) => entry == text || entry.starts_with(stem),
            Value::Object(map) => {
                let is = |key: &str, other: &str| {
                    map.get(key).map(super::reading::scalar).as_deref() == Some(other)
                };
                // A port's stem may have its protocol, and the whole entry where a target is published twice.
                let target = stem.split(['/', ' ']).next().unwrap_or_default();
                let port = is("target", target) && published(map, text);
                port || is("target", stem) || is("source", stem)
            }
            _ => false,
        };
        list.iter().position(fits).map(|index| index.to_string())
    }
}

/// Whether an entry of `ports` publishes what the text says.
fn published(map: &serde_json::Map<String, Value>, text: &str) -> bool {
    map.get("published")
        .and_then(Value::as_str)
        .is_some_and(|port| text.split(':').any(|part| part == port))
}
