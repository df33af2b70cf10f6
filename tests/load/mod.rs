//! The loader from files to projects, through the library.

mod explain;
mod layered;
mod mistakes;
mod robust;
mod schema;
mod secrecy;
mod together;
mod traps;

use std::path::Path;

use hoist::load::{self, LoadError, LoadRequest, Loaded};

/// A request for files below a directory, in an environment with one variable.
fn request(directory: &Path, files: &[&str]) -> LoadRequest {
    LoadRequest {
        files: files.iter().map(|file| (*file).to_owned()).collect(),
        current_directory: directory.to_path_buf(),
        environment: [("SET".to_owned(), "value".to_owned())].into(),
        ..LoadRequest::default()
    }
}

/// Loads one text as standard input.
fn load_text(text: &str) -> Result<Loaded, LoadError> {
    load::load(&LoadRequest {
        stdin: Some(text.to_owned()),
        project_name: Some("test".to_owned()),
        ..request(Path::new("/nowhere"), &["-"])
    })
}
