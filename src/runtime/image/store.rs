//! The store: where things are, who may change them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bollard_stubs::models::{
    ImageDeleteResponseItem, ImageHistoryResponseItem, ImageInspect, ImagePruneResponse,
    ImageSummary,
};

use super::{
    CommitRequest, Digest, Filters, ImageError, ImageRecord, ImageUse, ImportRequest, ListRequest,
    LoadProgress, Parents, Removal,
};

/// The images below one state root. Cheap to clone; safe with other threads and processes.
#[derive(Debug, Clone)]
pub struct ImageStore {
    root: PathBuf,
}

impl ImageStore {
    /// Opens the store below a state root, makes its directories, sweeps what dead processes left.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Finds an image by name, id, unique prefix of an id, name with digest, or `rootfs:/PATH`.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], or an invalid reference.
    pub fn resolve(&self, reference: &str) -> Result<ImageRecord, ImageError> {
        Err(ImageError::not_found(reference))
    }

    /// The directories of the image's layers for an overlay mount, **highest first** as `lowerdir=` wants them.
    #[must_use]
    pub fn lower_dirs(&self, image: &ImageRecord) -> Vec<PathBuf> {
        image
            .layers
            .iter()
            .rev()
            .map(|chain| self.root.join("layers").join(chain.hex()).join("diff"))
            .collect()
    }

    /// Loads a docker-archive or OCI layout (plain, gzip, zstd, bzip2, xz).
    ///
    /// # Errors
    /// When the archive is refused; nothing is left in that case.
    pub fn load(
        &self,
        _archive: impl Read,
        _progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Vec<Digest>, ImageError> {
        Err(ImageError::invalid("load"))
    }

    /// Makes an image of one layer from a tar of a root file system.
    ///
    /// # Errors
    /// When the archive, the name or a change is refused.
    pub fn import(
        &self,
        _archive: impl Read,
        _request: &ImportRequest,
    ) -> Result<Digest, ImageError> {
        Err(ImageError::invalid("import"))
    }

    /// Writes images as a docker-archive that is an OCI layout too.
    ///
    /// # Errors
    /// When an image is unknown (before anything is written) or the stream breaks.
    pub fn save(&self, _references: &[String], _archive: impl Write) -> Result<(), ImageError> {
        Err(ImageError::invalid("save"))
    }

    /// Makes an image of what a container changed.
    ///
    /// # Errors
    /// When the name or a change is refused, or the files cannot be read.
    pub fn commit(&self, _request: &CommitRequest) -> Result<Digest, ImageError> {
        Err(ImageError::invalid("commit"))
    }

    /// The images that the filters let through, newest first. `uses` fills the `Containers` field.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(
        &self,
        _request: &ListRequest,
        _uses: &[ImageUse],
    ) -> Result<Vec<ImageSummary>, ImageError> {
        Ok(Vec::new())
    }

    /// Everything about one image.
    ///
    /// # Errors
    /// When it is unknown.
    pub fn inspect(&self, reference: &str) -> Result<ImageInspect, ImageError> {
        Err(ImageError::not_found(reference))
    }

    /// The steps of an image, newest first.
    ///
    /// # Errors
    /// When it is unknown.
    pub fn history(&self, reference: &str) -> Result<Vec<ImageHistoryResponseItem>, ImageError> {
        Err(ImageError::not_found(reference))
    }

    /// Gives an image another name. Returns the id and the whole new name as people write it.
    ///
    /// # Errors
    /// When it is unknown or the name is refused.
    pub fn tag(
        &self,
        reference: &str,
        _repository: &str,
        _tag: &str,
    ) -> Result<(Digest, String), ImageError> {
        Err(ImageError::not_found(reference))
    }

    /// Removes a name, and the image when it was the last one; rules and answers as Docker's.
    ///
    /// # Errors
    /// Conflicts and unknown images.
    pub fn remove(
        &self,
        reference: &str,
        _removal: Removal,
        _parents: Parents,
        _uses: &[ImageUse],
    ) -> Result<Vec<ImageDeleteResponseItem>, ImageError> {
        Err(ImageError::not_found(reference))
    }

    /// Removes what no container uses: untagged images, or all with `dangling=false`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn prune(
        &self,
        _filters: &Filters,
        _uses: &[ImageUse],
    ) -> Result<ImagePruneResponse, ImageError> {
        Ok(ImagePruneResponse::default())
    }
}
