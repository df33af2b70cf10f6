//! Contexts at addresses: fetched before anything else, so that the stages see directories only.
//!
//! ```text
//! https://…/x.git#ref:dir --git--> directory
//! https://…/x.tar.gz ------------> unpacked directory
//! https://…/Dockerfile ----------> directory with that Dockerfile
//! ```

use std::borrow::Cow;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::cache::failed;
use super::copy::is_archive;
use super::remote::{self, GitDirectory, Remote};
use super::{BuildError, BuildHost, BuildRequest, Builder, NamedContext};
use crate::runtime::archive::{Devices, NoRecorder, Root, UnpackOptions, decompress, unpack};
use crate::runtime::image::Scratch;

/// The request with directories in place of addresses, and what holds these directories.
///
/// # Errors
/// When something cannot be fetched.
pub(super) fn fetched<'a>(
    builder: &Builder,
    host: &dyn BuildHost,
    request: &'a BuildRequest,
) -> Result<(Cow<'a, BuildRequest>, Vec<Scratch>), BuildError> {
    let mut request = Cow::Borrowed(request);
    let mut scratches = Vec::new();
    let mut fetch = |address: &str| {
        let scratch = builder.store.scratch()?;
        let directory = fetch_into(host, address, scratch.path())?;
        scratches.push(scratch);
        Ok::<_, BuildError>(directory)
    };
    if let Some(address) = request.remote.clone() {
        request.to_mut().context = fetch(&address)?;
    }
    let addresses: Vec<(String, String)> = request
        .contexts
        .iter()
        .filter_map(|(name, context)| match context {
            NamedContext::Remote(address) => Some((name.clone(), address.clone())),
            NamedContext::Directory(_) | NamedContext::Image(_) => None,
        })
        .collect();
    for (name, address) in addresses {
        let directory = NamedContext::Directory(fetch(&address)?);
        request.to_mut().contexts.insert(name, directory);
    }
    Ok((request, scratches))
}

fn fetch_into(host: &dyn BuildHost, address: &str, scratch: &Path) -> Result<PathBuf, BuildError> {
    let files = scratch.join("files");
    match Remote::parse(address) {
        Some(Remote::Git(git)) => {
            git.check_out(host, &files, GitDirectory::Drop)?;
            let inner = Root::open(&files)?;
            super::mount::host_path(&inner, &git.directory)
        }
        Some(Remote::Http(url)) => {
            let name = remote::download(host, &url, scratch, None)?;
            unpack_or_name(&files, &name, scratch)
        }
        None => Err(BuildError::Invalid(format!(
            "context `{address}` is no address of a repository or file"
        ))),
    }
}

/// An archive is unpacked; any other file is the Dockerfile.
fn unpack_or_name(files: &Path, name: &str, scratch: &Path) -> Result<PathBuf, BuildError> {
    let path = files.join(name);
    let open = || File::open(&path).map_err(failed("open", &path));
    if !is_archive(open()?) {
        let dockerfile = files.join("Dockerfile");
        fs::rename(&path, &dockerfile).map_err(failed("rename into", &dockerfile))?;
        return Ok(files.to_owned());
    }
    let directory = scratch.join("unpacked");
    fs::create_dir(&directory).map_err(failed("make directory", &directory))?;
    let options = UnpackOptions {
        devices: Devices::Refuse,
        ..UnpackOptions::default()
    };
    unpack(
        decompress(open()?)?,
        &Root::open(&directory)?,
        &options,
        &mut NoRecorder,
    )?;
    Ok(directory)
}
