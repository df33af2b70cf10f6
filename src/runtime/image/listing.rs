//! `list`, `inspect`, `history`: the store as Docker's JSON.

use std::collections::{HashMap, HashSet};

use bollard_stubs::models::{
    DriverData, ImageHistoryResponseItem, ImageInspect, ImageInspectMetadata, ImageInspectRootFs,
    ImageSummary,
};

use super::catalog::{Names, Stored, names_of};
use super::config::seconds;
use super::filter::Filter;
use super::record::{ImageRecord, ImageUse, ListRequest, ListScope, SharedSize};
use super::store::ImageStore;
use super::{Digest, ImageError};

/// Filters of a list.
const FILTERS: [&str; 7] = [
    "reference",
    "label",
    "label!",
    "dangling",
    "before",
    "since",
    "until",
];

impl ImageStore {
    /// The images that the filters let through, newest first. `uses` fills the `Containers` field.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(
        &self,
        request: &ListRequest,
        uses: &[ImageUse],
    ) -> Result<Vec<ImageSummary>, ImageError> {
        let names = self.names()?;
        let all = self.all()?;
        let filter = Filter::parse(self, &request.filters, &FILTERS, &names)?;
        let parents: HashSet<&Digest> = all
            .iter()
            .filter_map(|image| image.record.parent.as_ref())
            .collect();
        let mut sizes = self.layer_sizes(&all);
        let counts = layer_counts(&all);
        let shown = all.iter().filter(|image| filter.accepts(image, &names));
        let mut summaries: Vec<ImageSummary> = shown
            .filter(|image| {
                request.scope == ListScope::All
                    || !parents.contains(&image.id)
                    || !names_of(&names, &image.id).0.is_empty()
            })
            .map(|image| {
                let mut summary = summary(image, &names, &mut sizes);
                filter.narrow(&mut summary);
                if request.shared_size == SharedSize::Compute {
                    let shared = image
                        .file
                        .chain_ids()
                        .into_iter()
                        .filter(|chain| counts.get(chain).is_some_and(|n| *n > 1));
                    summary.shared_size = shared
                        .map(|chain| sizes.get(&chain).copied().unwrap_or(0))
                        .sum::<u64>()
                        .cast_signed();
                    summary.containers =
                        i64::try_from(uses.iter().filter(|by| by.image == summary.id).count())
                            .unwrap_or(0);
                }
                summary
            })
            .collect();
        summaries.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(summaries)
    }

    /// Everything about one image.
    ///
    /// # Errors
    /// When it is unknown.
    pub fn inspect(&self, reference: &str) -> Result<ImageInspect, ImageError> {
        if reference.starts_with("rootfs:") {
            return self.inspect_rootfs(reference);
        }
        let names = self.names()?;
        let image = self.find(reference, &names)?;
        let (repo_tags, repo_digests) = names_of(&names, &image.id);
        let size = image
            .file
            .chain_ids()
            .iter()
            .map(|chain| self.layer_facts(chain).map_or(0, |facts| facts.size))
            .sum::<u64>();
        let comment = if image.file.comment.is_empty() {
            image.file.history.last().map(|entry| entry.comment.clone())
        } else {
            Some(image.file.comment.clone())
        };
        Ok(ImageInspect {
            id: Some(image.id.to_string()),
            repo_tags: Some(repo_tags),
            repo_digests: Some(repo_digests),
            comment: Some(comment.unwrap_or_default()),
            created: image.file.created.clone(),
            author: Some(image.file.author.clone()),
            config: Some(image.file.config.clone().unwrap_or_default()),
            architecture: Some(image.file.architecture.clone()),
            variant: Some(image.file.variant.clone()).filter(|variant| !variant.is_empty()),
            os: Some(image.file.os.clone()),
            size: Some(size.cast_signed()),
            graph_driver: Some(self.graph_driver(&image)),
            root_fs: Some(ImageInspectRootFs {
                typ: "layers".to_owned(),
                layers: Some(
                    image
                        .file
                        .rootfs
                        .diff_ids
                        .iter()
                        .map(Digest::to_string)
                        .collect(),
                ),
            }),
            metadata: Some(ImageInspectMetadata {
                last_tag_time: image.record.tagged_at.clone(),
            }),
            ..ImageInspect::default()
        })
    }

    fn inspect_rootfs(&self, reference: &str) -> Result<ImageInspect, ImageError> {
        let record = self.resolve(reference)?;
        Ok(ImageInspect {
            id: Some(ImageRecord::public_id(&record.id)),
            repo_tags: Some(record.repo_tags),
            repo_digests: Some(Vec::new()),
            comment: Some(String::new()),
            author: Some(String::new()),
            config: Some(record.config),
            architecture: Some(record.architecture),
            os: Some(record.os),
            size: Some(0),
            root_fs: Some(ImageInspectRootFs {
                typ: "layers".to_owned(),
                layers: Some(Vec::new()),
            }),
            ..ImageInspect::default()
        })
    }

    fn graph_driver(&self, image: &Stored) -> DriverData {
        let directories: Vec<String> = image
            .file
            .chain_ids()
            .iter()
            .rev()
            .map(|chain| self.layer_dir(chain).join("diff").display().to_string())
            .collect();
        let mut data = HashMap::new();
        if let Some((top, below)) = directories.split_first() {
            data.insert("UpperDir".to_owned(), top.clone());
            if !below.is_empty() {
                data.insert("LowerDir".to_owned(), below.join(":"));
            }
        }
        DriverData {
            name: "overlay2".to_owned(),
            data,
        }
    }

    /// The steps of an image, newest first.
    ///
    /// # Errors
    /// When it is unknown.
    pub fn history(&self, reference: &str) -> Result<Vec<ImageHistoryResponseItem>, ImageError> {
        let names = self.names()?;
        let image = self.find(reference, &names)?;
        let chains = image.file.chain_ids();
        let mut chains = chains.iter();
        let mut items: Vec<ImageHistoryResponseItem> = Vec::new();
        for entry in &image.file.history {
            let chain = if entry.empty_layer {
                None
            } else {
                chains.next()
            };
            items.push(ImageHistoryResponseItem {
                id: "<missing>".to_owned(),
                created: seconds(entry.created.as_deref()),
                created_by: entry.created_by.clone(),
                tags: Vec::new(),
                size: chain.map_or(0, |chain| {
                    self.layer_facts(chain)
                        .map_or(0, |facts| facts.size.cast_signed())
                }),
                comment: entry.comment.clone(),
            });
        }
        items.reverse();
        self.name_steps(&image, &names, &mut items);
        Ok(items)
    }

    /// Steps whose images are in the store get their ids and names.
    fn name_steps(&self, image: &Stored, names: &Names, items: &mut [ImageHistoryResponseItem]) {
        let mut at = Some(image.id.clone());
        for item in items {
            let Some(id) = at else { return };
            item.id = id.to_string();
            item.tags = names_of(names, &id).0;
            at = self
                .record(&id)
                .parent
                .filter(|parent| self.config_path(parent).exists());
        }
    }

    pub(super) fn layer_sizes(&self, images: &[Stored]) -> HashMap<Digest, u64> {
        let chains: HashSet<Digest> = images
            .iter()
            .flat_map(|image| image.file.chain_ids())
            .collect();
        chains
            .into_iter()
            .map(|chain| {
                (
                    chain.clone(),
                    self.layer_facts(&chain).map_or(0, |facts| facts.size),
                )
            })
            .collect()
    }
}

fn summary(image: &Stored, names: &Names, sizes: &mut HashMap<Digest, u64>) -> ImageSummary {
    let (repo_tags, repo_digests) = names_of(names, &image.id);
    let size = image
        .file
        .chain_ids()
        .iter()
        .map(|chain| sizes.get(chain).copied().unwrap_or(0))
        .sum::<u64>();
    ImageSummary {
        id: image.id.to_string(),
        parent_id: image
            .record
            .parent
            .as_ref()
            .map(Digest::to_string)
            .unwrap_or_default(),
        repo_tags,
        repo_digests,
        created: seconds(image.file.created.as_deref()),
        size: size.cast_signed(),
        shared_size: -1,
        labels: image
            .file
            .config
            .as_ref()
            .and_then(|config| config.labels.clone())
            .unwrap_or_default(),
        containers: -1,
        manifests: None,
        descriptor: None,
    }
}

fn layer_counts(images: &[Stored]) -> HashMap<Digest, usize> {
    let mut counts = HashMap::new();
    for chain in images.iter().flat_map(|image| image.file.chain_ids()) {
        *counts.entry(chain).or_insert(0) += 1;
    }
    counts
}
