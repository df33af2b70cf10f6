//! Images made here: `import` of a root file system, `commit` of a container.

use std::io::Read;
use std::path::{Path, PathBuf};

use bollard_stubs::models::ImageConfig;

use super::change::apply_changes;
use super::config::{ConfigFile, HistoryEntry, now};
use super::layer::{StagedLayer, adopt, stage};
use super::manifest::Platform;
use super::record::{CommitRequest, ImportRequest};
use super::store::{ImageStore, LayerSource};
use super::{Digest, ImageError, Reference};
use crate::runtime::archive::{
    ArchiveError, NoRecorder, PackOptions, Root, TarWriter, TreeWhiteouts, decompress, pack,
};

const ATTEMPTS: usize = 5;

/// A step on top of a stored image: for the builder.
#[derive(Debug)]
pub struct Step<'a> {
    /// Id of the image below; `None` starts from nothing.
    pub parent: Option<&'a Digest>,
    /// An overlay's upper directory that becomes the layer and is taken away; `None` for a step without files.
    pub upper: Option<&'a Path>,
    /// Config of the new image.
    pub config: &'a ImageConfig,
    /// Author.
    pub author: &'a str,
    /// What the history shows.
    pub created_by: &'a str,
    /// Comment of the history entry.
    pub comment: &'a str,
    /// Operating system and architecture, when there is no image below.
    pub platform: &'a Platform,
}

impl ImageStore {
    /// Makes an image of one layer from a tar of a root file system.
    ///
    /// # Errors
    /// When the archive, the name or a change is refused.
    pub fn import(
        &self,
        archive: impl Read + Send,
        request: &ImportRequest,
    ) -> Result<Digest, ImageError> {
        let name = wanted_name(request.repository.as_deref(), request.tag.as_deref())?;
        let platform = Platform::parse(&request.platform)?;
        let mut config = ImageConfig::default();
        apply_changes(&mut config, &request.changes)?;
        let staging = self.stage()?;
        let plain = decompress(archive).map_err(|source| ImageError::Archive {
            what: "the root file system".to_owned(),
            source,
        })?;
        let staged = stage(&staging, plain)?;
        let comment = if request.message.is_empty() {
            "Imported from -"
        } else {
            &request.message
        };
        let mut file = ConfigFile {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant.unwrap_or_default(),
            ..ConfigFile::for_this_machine()
        };
        file.config = Some(config);
        extend(
            &mut file,
            Some(&staged),
            HistoryEntry {
                comment: comment.to_owned(),
                ..HistoryEntry::default()
            },
        );
        self.store_on(None, file, Some(staged), name.as_ref())
    }

    /// Makes an image of what a container changed.
    ///
    /// # Errors
    /// When the name or a change is refused, or the files cannot be read.
    pub fn commit(&self, request: &CommitRequest) -> Result<Digest, ImageError> {
        let name = wanted_name(request.repository.as_deref(), request.tag.as_deref())?;
        let mut config = request.config.clone();
        apply_changes(&mut config, &request.changes)?;
        let parent = request
            .parent
            .as_deref()
            .and_then(|id| Digest::parse(id).ok());
        let mut file = self.base(parent.as_ref())?;
        let staging = self.stage()?;
        let leave_out = request
            .mount_points
            .iter()
            .map(|path| PathBuf::from(path.trim_start_matches('/')))
            .collect();
        let staged = stage_upper(
            &staging,
            &request.upper,
            &PackOptions {
                whiteouts: TreeWhiteouts::Overlay,
                leave_out,
                ..PackOptions::default()
            },
        )?;
        file.config = Some(config);
        file.author.clone_from(&request.author);
        file.comment.clone_from(&request.comment);
        file.container.clone_from(&request.container);
        let entry = HistoryEntry {
            created_by: request.created_by.clone(),
            author: request.author.clone(),
            comment: request.comment.clone(),
            ..HistoryEntry::default()
        };
        extend(&mut file, Some(&staged), entry);
        self.store_on(parent.as_ref(), file, Some(staged), name.as_ref())
    }

    /// Makes the image of a build step. The upper directory is gone afterwards.
    ///
    /// # Errors
    /// When the files cannot be read or the image below has gone.
    pub fn add_step(&self, step: &Step<'_>) -> Result<Digest, ImageError> {
        let mut file = self.base(step.parent)?;
        if step.parent.is_none() {
            file.os.clone_from(&step.platform.os);
            file.architecture.clone_from(&step.platform.architecture);
            file.variant = step.platform.variant.clone().unwrap_or_default();
        }
        let staging = self.stage()?;
        let staged = step.upper.map(|upper| adopt(&staging, upper)).transpose()?;
        file.config = Some(step.config.clone());
        if !step.author.is_empty() {
            step.author.clone_into(&mut file.author);
        }
        let entry = HistoryEntry {
            created_by: step.created_by.to_owned(),
            author: step.author.to_owned(),
            comment: step.comment.to_owned(),
            ..HistoryEntry::default()
        };
        extend(&mut file, staged.as_ref(), entry);
        self.store_on(step.parent, file, staged, None)
    }

    /// The config file to build on.
    fn base(&self, parent: Option<&Digest>) -> Result<ConfigFile, ImageError> {
        parent.map_or_else(
            || Ok(ConfigFile::for_this_machine()),
            |id| Ok(self.stored(id)?.file),
        )
    }

    fn store_on(
        &self,
        parent: Option<&Digest>,
        file: ConfigFile,
        staged: Option<StagedLayer>,
        name: Option<&Reference>,
    ) -> Result<Digest, ImageError> {
        let diff_ids = file.rootfs.diff_ids.clone();
        let below = diff_ids.len() - usize::from(staged.is_some());
        let mut layers: Vec<LayerSource> = (0..below).map(|_| LayerSource::Present).collect();
        layers.extend(staged.map(LayerSource::Staged));
        let bytes = file.to_bytes();
        for _ in 0..ATTEMPTS {
            if let Some(id) = self.put(&bytes, &layers, &diff_ids, parent, name)? {
                return Ok(id);
            }
        }
        Err(ImageError::not_found(
            &parent.map(Digest::to_string).unwrap_or_default(),
        ))
    }
}

/// Adds a step to a config file: its time, history entry and layer.
fn extend(file: &mut ConfigFile, staged: Option<&StagedLayer>, entry: HistoryEntry) {
    let created = Some(now());
    file.history.push(HistoryEntry {
        created: created.clone(),
        empty_layer: staged.is_none(),
        ..entry
    });
    file.created = created;
    "layers".clone_into(&mut file.rootfs.kind);
    file.rootfs
        .diff_ids
        .extend(staged.map(|staged| staged.diff_id.clone()));
}

/// Copies an upper directory as a layer: its archive is written into a pipe and unpacked at the other end.
fn stage_upper(
    staging: &super::staging::Staging,
    upper: &Path,
    options: &PackOptions,
) -> Result<StagedLayer, ImageError> {
    let failed = |source| ImageError::Archive {
        what: "the files of the container".to_owned(),
        source,
    };
    let (reader, writer) = std::io::pipe().map_err(|source| ImageError::Stream {
        action: "make a pipe",
        source,
    })?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let root = Root::open(upper)?;
            let mut nothing = NoRecorder;
            let buffered = std::io::BufWriter::with_capacity(64 * 1024, writer);
            let mut writer = TarWriter::new(buffered, &mut nothing);
            pack(&root, Path::new(""), Path::new(""), options, &mut writer)?;
            writer.finish().map(drop)
        });
        let staged = stage(staging, reader);
        let packed = packing.join().unwrap_or_else(|_| {
            Err(ArchiveError::Malformed(
                "the packing thread panicked".to_owned(),
            ))
        });
        packed.map_err(failed)?;
        staged
    })
}

/// The name of a new image from a repository that may have a tag, and a tag.
pub(super) fn wanted_name(
    repository: Option<&str>,
    tag: Option<&str>,
) -> Result<Option<Reference>, ImageError> {
    let Some(repository) = repository.filter(|repository| !repository.is_empty()) else {
        return Ok(None);
    };
    let parsed = Reference::parse(repository)?;
    if parsed.digest().is_some() {
        return Err(ImageError::InvalidReference {
            detail: ": cannot import digest reference".to_owned(),
        });
    }
    match tag.filter(|tag| !tag.is_empty()) {
        Some(tag) => parsed.with_tag(tag).map(Some),
        None => Ok(Some(parsed)),
    }
}
