//! Directories of work in progress: gone when dropped, or swept by the next process when this one dies.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ImageError;

/// A directory that is removed when dropped.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    numbers: AtomicU64,
    /// Held as long as the work lasts, so that a sweeper sees that it does.
    _lock: File,
}

impl Staging {
    /// Makes one. The caller holds the lock of the store, so that no sweeper sees it half made.
    pub(super) fn new(staging: &Path) -> Result<Self, ImageError> {
        let path = staging.join(random_name()?);
        fs::create_dir(&path).map_err(file_error("make directory", &path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(file_error("create", &lock_path))?;
        lock.lock().map_err(file_error("lock", &lock_path))?;
        Ok(Self {
            path,
            numbers: AtomicU64::new(0),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it that nobody else uses.
    pub(super) fn unique(&self) -> PathBuf {
        self.path
            .join(self.numbers.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Removes what dead processes left. The caller holds the lock of the store.
    pub(super) fn sweep(staging: &Path) {
        for entry in fs::read_dir(staging).into_iter().flatten().flatten() {
            let abandoned =
                File::open(entry.path().join("lock")).map_or(true, |lock| lock.try_lock().is_ok());
            if abandoned {
                remove_tree(&entry.path());
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        remove_tree(&self.path);
    }
}

/// Removes a tree; what cannot be removed now is swept when the store is opened again.
pub(super) fn remove_tree(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a directory of the image store");
    }
}

/// 32 random hexadecimal digits.
pub(super) fn random_name() -> Result<String, ImageError> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(
        |errno| ImageError::Stream {
            action: "get random bytes",
            source: errno.into(),
        },
    )?;
    Ok(hex::encode(bytes))
}

pub(super) fn file_error<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(std::io::Error) -> ImageError + use<'p> {
    move |source| ImageError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Writes a file whole: beside it, then renamed into place.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&temporary, bytes).map_err(file_error("write", &temporary))?;
    fs::rename(&temporary, path).map_err(file_error("rename into", path))
}
