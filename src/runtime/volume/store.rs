//! The volumes on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard_stubs::models::{Volume, VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};

use super::VolumeError;

/// A container that has a volume.
#[derive(Debug, Clone)]
pub struct VolumeUse {
    /// Id of the container.
    pub container: String,
    /// Name of the volume.
    pub volume: String,
}

/// The volumes below one state root. Cheap to clone; safe with other threads and processes.
#[derive(Debug, Clone)]
pub struct VolumeStore {
    volumes: PathBuf,
}

impl VolumeStore {
    /// Opens the store below a state root.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        Ok(Self {
            volumes: root.join("volumes"),
        })
    }

    /// Makes a volume; the same name again gives the existing one. Without a name it is anonymous: 64 hex digits and
    /// the label `com.docker.volume.anonymous`.
    ///
    /// # Errors
    /// A refused name, driver or option.
    pub fn create(&self, request: &VolumeCreateRequest) -> Result<Volume, VolumeError> {
        self.inspect(request.name.as_deref().unwrap_or_default())
    }

    /// One volume.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn inspect(&self, name: &str) -> Result<Volume, VolumeError> {
        Err(VolumeError::NotFound {
            name: name.to_owned(),
        })
    }

    /// The volumes that the filters let through, by name: `name`, `label`, `label!`, `driver`, `dangling`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(
        &self,
        _filters: &HashMap<String, Vec<String>>,
        _uses: &[VolumeUse],
    ) -> Result<VolumeListResponse, VolumeError> {
        Ok(VolumeListResponse::default())
    }

    /// Removes a volume that nobody uses.
    ///
    /// # Errors
    /// When it is in use or unknown.
    pub fn remove(&self, name: &str, _uses: &[VolumeUse]) -> Result<(), VolumeError> {
        Err(VolumeError::NotFound {
            name: name.to_owned(),
        })
    }

    /// Removes unused anonymous volumes, with the filter `all` named ones too.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn prune(
        &self,
        _filters: &HashMap<String, Vec<String>>,
        _uses: &[VolumeUse],
    ) -> Result<VolumePruneResponse, VolumeError> {
        Ok(VolumePruneResponse::default())
    }

    /// The directory with the volume's content; for a volume with driver options, the point where [`Self::mount`] puts it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn path(&self, name: &str) -> Result<PathBuf, VolumeError> {
        self.inspect(name)?;
        Ok(self.volumes.join(name).join("_data"))
    }

    /// Before a container with the volume starts: mounts what the driver options say, once for all users. Plain
    /// volumes need nothing. Returns the directory to bind.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(&self, name: &str) -> Result<PathBuf, VolumeError> {
        self.path(name)
    }

    /// After the last container with the volume has ended: takes the mount away.
    ///
    /// # Errors
    /// When it is still busy.
    pub fn unmount(&self, name: &str) -> Result<(), VolumeError> {
        self.path(name).map(drop)
    }

    /// A directory or file within the mounted volume, resolved without leaving it. The descriptor stays valid whatever
    /// happens to the names; bind `/proc/self/fd/N`.
    ///
    /// # Errors
    /// When it is not there, or leads out.
    pub fn open_subpath(
        &self,
        name: &str,
        subpath: &str,
    ) -> Result<std::os::fd::OwnedFd, VolumeError> {
        Err(VolumeError::NotFound {
            name: format!("{name}/{subpath}"),
        })
    }

    /// First use: an empty volume gets what the image has at `path`, with owners, modes, links and extended
    /// attributes; the volume's own root takes over owner and mode. `lower_dirs` are the image's, highest first.
    /// Volumes with content are left alone.
    ///
    /// # Errors
    /// When the files cannot be copied.
    pub fn copy_up(
        &self,
        name: &str,
        _lower_dirs: &[PathBuf],
        _path: &str,
    ) -> Result<(), VolumeError> {
        self.path(name).map(drop)
    }
}
