//! Filters of lists and prunes of volumes.

use std::collections::HashMap;

use super::VolumeError;
use super::record::{DRIVER, VolumeRecord};

/// Filters, parsed.
#[derive(Debug, Default)]
pub(super) struct Query {
    names: Vec<String>,
    labels: Vec<String>,
    unwanted_labels: Vec<String>,
    drivers: Vec<String>,
    dangling: Option<bool>,
    /// Whether a prune takes named volumes too.
    pub(super) all: bool,
}

impl Query {
    pub(super) fn parse(
        filters: &HashMap<String, Vec<String>>,
        known: &[&str],
    ) -> Result<Self, VolumeError> {
        let mut query = Self::default();
        for (name, values) in filters {
            if !known.contains(&name.as_str()) {
                return Err(VolumeError::InvalidFilter {
                    name: name.clone(),
                    value: None,
                });
            }
            match name.as_str() {
                "name" => query.names.clone_from(values),
                "label" => query.labels.clone_from(values),
                "label!" => query.unwanted_labels.clone_from(values),
                "driver" => query.drivers.clone_from(values),
                "all" => query.all = truth(name, values)?.unwrap_or(false),
                _ => query.dangling = truth(name, values)?,
            }
        }
        Ok(query)
    }

    pub(super) fn accepts(&self, volume: &VolumeRecord, used: bool) -> bool {
        let has = |label: &String| match label.split_once('=') {
            Some((name, value)) => volume.labels.get(name).is_some_and(|found| found == value),
            None => volume.labels.contains_key(label),
        };
        let any = |wanted: &[String], fits: &dyn Fn(&String) -> bool| {
            wanted.is_empty() || wanted.iter().any(fits)
        };
        any(&self.names, &|part| volume.name.contains(part.as_str()))
            && any(&self.drivers, &|driver| driver == DRIVER)
            && self.labels.iter().all(has)
            && !self.unwanted_labels.iter().any(has)
            && self.dangling.is_none_or(|dangling| dangling != used)
    }
}

fn truth(name: &str, values: &[String]) -> Result<Option<bool>, VolumeError> {
    values
        .first()
        .map(|value| match value.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => Ok(true),
            "0" | "f" | "false" => Ok(false),
            _ => Err(VolumeError::InvalidFilter {
                name: name.to_owned(),
                value: Some(value.clone()),
            }),
        })
        .transpose()
}
