//! Filters of lists and prunes.

use std::time::Duration;

use bollard_stubs::models::ImageSummary;

use super::catalog::{Names, Stored, names_of};
use super::config::seconds;
use super::pattern::matches_path;
use super::record::Filters;
use super::store::ImageStore;
use super::{ImageError, Reference};

/// Filters, parsed.
#[derive(Debug, Default)]
pub(super) struct Filter {
    references: Vec<String>,
    labels: Vec<(String, Option<String>)>,
    unwanted_labels: Vec<(String, Option<String>)>,
    pub(super) dangling: Option<Dangling>,
    /// Nanoseconds since 1970: made earlier than, made later than.
    before: Option<i128>,
    since: Option<i128>,
}

/// Whether unnamed images are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dangling {
    /// Only those.
    Only,
    /// Only named ones; for a prune, all.
    Not,
}

impl Filter {
    pub(super) fn parse(
        store: &ImageStore,
        filters: &Filters,
        known: &[&str],
        names: &Names,
    ) -> Result<Self, ImageError> {
        let mut filter = Self::default();
        for (name, values) in filters {
            if !known.contains(&name.as_str()) {
                return Err(ImageError::InvalidFilter {
                    name: name.clone(),
                    value: None,
                });
            }
            for value in values {
                filter.add(store, name, value, names)?;
            }
        }
        Ok(filter)
    }

    fn add(
        &mut self,
        store: &ImageStore,
        name: &str,
        value: &str,
        names: &Names,
    ) -> Result<(), ImageError> {
        let invalid = || ImageError::InvalidFilter {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        };
        match name {
            "reference" => self.references.push(value.to_owned()),
            "label" => self.labels.push(label(value)),
            "label!" => self.unwanted_labels.push(label(value)),
            "dangling" => self.dangling = Some(parse_dangling(value).ok_or_else(invalid)?),
            "before" => self.before = Some(created_at(&store.find(value, names)?)),
            "since" => self.since = Some(created_at(&store.find(value, names)?)),
            "until" => self.before = Some(moment(value).ok_or_else(invalid)?),
            _ => return Err(invalid()),
        }
        Ok(())
    }

    pub(super) fn accepts(&self, image: &Stored, names: &Names) -> bool {
        let labels = image
            .file
            .config
            .as_ref()
            .and_then(|config| config.labels.as_ref());
        let has = |(name, value): &(String, Option<String>)| {
            labels
                .and_then(|labels| labels.get(name))
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        let (tags, digests) = names_of(names, &image.id);
        let created = created_at(image);
        self.labels.iter().all(has)
            && !self.unwanted_labels.iter().any(has)
            && self
                .dangling
                .is_none_or(|dangling| (dangling == Dangling::Only) == tags.is_empty())
            && self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
            && (self.references.is_empty()
                || tags.iter().chain(&digests).any(|name| self.fits(name)))
    }

    /// With a filter by reference, a summary shows only the names that fit.
    pub(super) fn narrow(&self, summary: &mut ImageSummary) {
        if !self.references.is_empty() {
            summary.repo_tags.retain(|name| self.fits(name));
            summary.repo_digests.retain(|name| self.fits(name));
        }
    }

    fn fits(&self, name: &str) -> bool {
        let Ok(reference) = Reference::parse(name) else {
            return false;
        };
        let repository = reference.familiar_repository();
        let normal = [reference.to_string(), reference.repository()];
        self.references.iter().any(|pattern| {
            matches_path(pattern, name)
                || matches_path(pattern, &repository)
                || normal.iter().any(|whole| matches_path(pattern, whole))
        })
    }
}

fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

fn parse_dangling(value: &str) -> Option<Dangling> {
    match value {
        "true" | "1" | "t" | "T" | "True" | "TRUE" => Some(Dangling::Only),
        "false" | "0" | "f" | "F" | "False" | "FALSE" => Some(Dangling::Not),
        _ => None,
    }
}

fn created_at(image: &Stored) -> i128 {
    let text = image.file.created.as_deref();
    let precise = text
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map(jiff::Timestamp::as_nanosecond);
    precise.unwrap_or_else(|| i128::from(seconds(text)) * 1_000_000_000)
}

/// A time, a Unix time, or how long ago (`24h`).
fn moment(value: &str) -> Option<i128> {
    if let Ok(time) = value.parse::<jiff::Timestamp>() {
        return Some(time.as_nanosecond());
    }
    if let Ok(seconds) = value.parse::<f64>() {
        return i128::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_nanos()).ok();
    }
    let ago: jiff::SignedDuration = value.parse().ok()?;
    Some(jiff::Timestamp::now().as_nanosecond() - ago.as_nanos())
}
