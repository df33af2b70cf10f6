//! State on disk: each record is a JSON file that is written whole and renamed into place.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::NetworkError;

/// Writes a record so that a reader sees the old or the new one, never a half.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), NetworkError> {
    let text = serde_json::to_vec_pretty(record).map_err(|source| NetworkError::Record {
        path: path.to_owned(),
        source,
    })?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(NetworkError::file("create the folder", folder))?;
    let half = path.with_extension("json.tmp");
    fs::File::create(&half)
        .and_then(|mut file| file.write_all(&text))
        .map_err(NetworkError::file("write", &half))?;
    fs::rename(&half, path).map_err(NetworkError::file("rename into place", path))
}

/// Reads a record; `None` where there is no such file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, NetworkError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(NetworkError::File {
                step: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| NetworkError::Record {
            path: path.to_owned(),
            source,
        })
}

/// Removes a file or folder; what is not there counts as removed.
pub(crate) fn remove(path: &Path) -> Result<(), NetworkError> {
    let outcome = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// What lies in a folder; nothing where there is no folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, NetworkError> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(NetworkError::File {
                step: "list",
                path: folder.to_owned(),
                source,
            });
        }
    };
    listing
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(NetworkError::file("list", folder))
}
