//! Where files of COPY, ADD and bind mounts come from: the context, another stage, an image, a named context.

use std::path::{Path, PathBuf};

use super::copier::{Copier, Shape};
use super::files::{Changes, Source, SourceOwner, failed};
use super::ignore::Ignore;
use super::layer::view;
use super::mount::host_path;
use super::pipeline::ignore_of;
use super::remembered::Stamp;
use super::state::State;
use super::worker::{Worker, image_state};
use super::{BuildError, NamedContext};
use crate::runtime::archive::Root;
use rustix::fs::OFlags;

/// A place with files.
#[derive(Debug)]
pub(super) enum Origin {
    /// A directory of the host, without what its rules leave out.
    Directory(PathBuf, Ignore),
    /// The layers of a stage or image.
    Layers(Box<State>),
}

/// The pipeline fetches before the first stage begins.
fn not_fetched(address: &str) -> BuildError {
    BuildError::Invalid(format!("the context `{address}` has not been fetched"))
}

impl Worker<'_> {
    /// The origin that `--from` or `from=` names; the context without a name.
    ///
    /// # Errors
    /// When there is no such stage and no such image.
    pub(super) fn origin(&self, name: Option<&str>) -> Result<Origin, BuildError> {
        let shared = self.shared;
        let Some(name) = name else {
            return Ok(Origin::Directory(
                shared.request.context.clone(),
                shared.ignore.clone(),
            ));
        };
        match shared.named_context(name) {
            Some(NamedContext::Directory(path)) => {
                let rules = ignore_of(path)?;
                return Ok(Origin::Directory(path.clone(), rules));
            }
            Some(NamedContext::Remote(address)) => return Err(not_fetched(address)),
            Some(NamedContext::Image(reference)) => {
                return Ok(Origin::Layers(Box::new(image_state(shared, reference)?)));
            }
            None => {}
        }
        let state = match shared.stages.find(name, self.index) {
            Some(stage) => shared.wait_for(stage)?,
            None if name == "scratch" => State::scratch(&shared.platform),
            None => image_state(shared, name)?,
        };
        Ok(Origin::Layers(Box::new(state)))
    }

    /// Opens an origin; `scratch` is a directory for a tree without files.
    pub(super) fn open(&self, origin: &Origin, scratch: &Path) -> Result<Source, BuildError> {
        let (root, ignore, owner) = match origin {
            Origin::Directory(path, ignore) => {
                (Root::open(path)?, ignore.clone(), SourceOwner::Root)
            }
            Origin::Layers(state) => {
                let layers = self.shared.store.layer_paths(&state.file.rootfs.diff_ids);
                let root = match view(&layers)? {
                    Some(root) => root,
                    None => Root::open(scratch)?,
                };
                (root, Ignore::default(), SourceOwner::Original)
            }
        };
        Ok(Source {
            root,
            ignore,
            owner,
        })
    }

    /// What the content of some paths of an origin adds to a key: sums of files, or the digest of layers. `stamp` is what
    /// [`Self::stamp_of`] says of the same files.
    pub(super) fn sum_of(
        &self,
        origin: &Origin,
        paths: &[PathBuf],
        changes: &Changes,
        stamp: &Stamp,
    ) -> Result<Vec<u8>, BuildError> {
        if let Origin::Layers(state) = origin {
            return Ok(state.files().into_bytes());
        }
        self.shared.remembered.sums(stamp, || {
            let source = self.open(origin, Path::new("/"))?;
            let mut sums = Vec::new();
            for path in paths {
                sums.extend(path.as_os_str().as_encoded_bytes());
                sums.extend(source.sum(path, changes)?);
            }
            Ok(sums)
        })
    }

    /// What changes when the files at some paths do: a context may be edited while it is built. Nothing for layers.
    pub(super) fn stamp_of(
        &self,
        origin: &Origin,
        paths: &[PathBuf],
        changes: &Changes,
    ) -> Result<Stamp, BuildError> {
        let mut stamp = Stamp::default();
        if let Origin::Layers(_) = origin {
            return Ok(stamp);
        }
        let source = self.open(origin, Path::new("/"))?;
        for path in paths {
            source.stamp(path, changes, &mut stamp)?;
        }
        Ok(stamp)
    }

    /// A path of the host with the files at a path of an origin, which a step may see but not change.
    pub(super) fn exposed(
        &self,
        origin: &Origin,
        path: &Path,
        scratch: &Path,
    ) -> Result<PathBuf, BuildError> {
        match origin {
            // Neither what the rules leave out nor the owners of this machine are to be seen.
            Origin::Directory(..) => self.copied(origin, path, scratch),
            Origin::Layers(state) => {
                let layers = self.shared.store.layer_paths(&state.file.rootfs.diff_ids);
                match layers.as_slice() {
                    [only] => host_path(&Root::open(only)?, path),
                    _ => self.copied(origin, path, scratch),
                }
            }
        }
    }

    /// A copy of the files at a path of an origin, below a directory.
    pub(super) fn copied(
        &self,
        origin: &Origin,
        path: &Path,
        scratch: &Path,
    ) -> Result<PathBuf, BuildError> {
        let name = format!(
            "copy-{}",
            std::fs::read_dir(scratch).map_or(0, Iterator::count)
        );
        let source = self.open(origin, scratch)?;
        let target = Root::open(scratch)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let is_directory = source.root.open_at(path, flags).is_ok();
        let place = if is_directory {
            PathBuf::from(&name)
        } else {
            Path::new(&name).join("file")
        };
        let changes = Changes::default();
        let copier = Copier {
            source: &source,
            target: &target,
            changes: &changes,
        };
        copier.copy(path, &place, Shape::Open)?;
        target
            .open_at(&place, OFlags::PATH)
            .map_err(failed("open", &place))?;
        Ok(scratch.join(place))
    }
}
