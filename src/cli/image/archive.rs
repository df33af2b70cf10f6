//! `image load` and `image save`: archives and OCI layouts, named as skopeo names them.
//!
//! ```text
//! FILE, -                 an archive that is a docker-archive and an OCI layout at once
//! docker-archive:FILE     the same
//! oci-archive:FILE        the same
//! oci:DIRECTORY           the layout, unpacked
//! ```

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::{EngineError, EngineErrorKind, RawStream};

/// Where images are on disk.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Standard input or output.
    Stream,
    /// An archive.
    Archive(PathBuf),
    /// An OCI layout.
    Layout(PathBuf),
}

impl Place {
    /// Reads a place; a name after the path (`oci:DIR:TAG`) is refused, as all that is there is loaded.
    fn parse(text: &str) -> Result<Self, CommandError> {
        let (kind, path) = match text.split_once(':') {
            Some(("oci", path)) => ("oci", path),
            Some(("oci-archive" | "docker-archive", path)) => ("archive", path),
            _ => ("archive", text),
        };
        let path = PathBuf::from(path);
        if path.as_os_str().is_empty() {
            return Err(CommandError::user(format!("`{text}` names no path")));
        }
        let tagged = text != path.to_string_lossy() && !path.exists();
        if let Some((before, name)) = path.to_str().and_then(|path| path.rsplit_once(':'))
            && tagged
            && Path::new(before).exists()
        {
            return Err(CommandError::user(format!(
                "`{text}`: `{name}` cannot be chosen alone, all images of `{before}` go together: leave the name out"
            )));
        }
        Ok(match kind {
            "oci" => Self::Layout(path),
            _ if path == Path::new("-") => Self::Stream,
            _ => Self::Archive(path),
        })
    }
}

/// A file, or standard input, as a stream.
pub(super) async fn open(file: &Path) -> Result<RawStream, CommandError> {
    if file == Path::new("-") {
        return Ok(pieces(tokio::io::stdin(), "standard input".to_owned()));
    }
    let name = file.display().to_string();
    let opened = tokio::fs::File::open(file).await;
    let opened =
        opened.map_err(|error| CommandError::user(format!("cannot open `{name}`: {error}")))?;
    Ok(pieces(opened, name))
}

fn pieces(reader: impl AsyncRead + Send + 'static, name: String) -> RawStream {
    let pieces = ReaderStream::with_capacity(reader, 256 << 10);
    Box::pin(
        pieces
            .map_err(move |error| EngineError::new("read", &name, EngineErrorKind::Failed, error)),
    )
}

pub(super) async fn load(ui: &Ui, context: &Context, place: &str) -> CommandResult {
    let tar = match Place::parse(place)? {
        Place::Stream => open(Path::new("-")).await?,
        Place::Archive(path) => open(&path).await?,
        Place::Layout(path) => {
            let packed = tokio::task::spawn_blocking(move || pack(&path)).await;
            let file = packed.map_err(CommandError::system)??;
            pieces(tokio::fs::File::from_std(file), place.to_owned())
        }
    };
    let mut messages = context.engine().await?.load_image(tar).await?;
    while let Some(message) = messages.next().await {
        if let Some(text) = message?["stream"].as_str() {
            ui.print(text)?;
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// A layout as an archive in a file without a name.
fn pack(directory: &Path) -> Result<File, CommandError> {
    let fail = |error: std::io::Error| {
        CommandError::user(format!("cannot read `{}`: {error}", directory.display()))
    };
    if !directory.join("index.json").exists() {
        return Err(CommandError::user(format!(
            "`{}` is no OCI layout: it has no index.json",
            directory.display()
        )));
    }
    let mut archive = tar::Builder::new(tempfile()?);
    archive.follow_symlinks(false);
    archive.append_dir_all(".", directory).map_err(fail)?;
    let mut file = archive.into_inner().map_err(fail)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn tempfile() -> Result<File, CommandError> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let made = open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR);
    Ok(made.map_err(std::io::Error::from)?.into())
}

pub(super) async fn save(
    ui: &Ui,
    context: &Context,
    output: Option<&str>,
    images: &[String],
) -> CommandResult {
    let place = output.map(Place::parse).transpose()?;
    if matches!(place, None | Some(Place::Stream)) && ui.stdout_is_terminal() {
        return Err(CommandError::user(
            "cannot write an archive to the terminal: name a file with --output",
        ));
    }
    let mut tar = context.engine().await?.save_images(images).await?;
    match place {
        None | Some(Place::Stream) => {
            while let Some(part) = tar.next().await {
                ui.print_bytes(&part?)?;
            }
        }
        Some(Place::Archive(path)) => {
            let part = beside(&path);
            let written = write(tar, &part).await.and_then(|mut file| {
                file.flush()?;
                Ok(std::fs::rename(&part, &path)?)
            });
            if written.is_err() {
                // The first failure is the one to tell.
                drop(std::fs::remove_file(&part));
            }
            written?;
        }
        Some(Place::Layout(path)) => {
            let part = beside(&path);
            let written = write(tar, &part).await.and_then(|_| unpack(&part, &path));
            drop(std::fs::remove_file(&part));
            written?;
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// A name beside a path, so that what broke off is never taken for the whole.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

async fn write(mut tar: RawStream, path: &Path) -> Result<File, CommandError> {
    let mut file = File::create(path).map_err(|error| {
        CommandError::user(format!("cannot write `{}`: {error}", path.display()))
    })?;
    while let Some(part) = tar.next().await {
        file.write_all(&part?)?;
    }
    Ok(file)
}

/// The archive as a layout; what only a docker-archive has is left out.
fn unpack(archive: &Path, directory: &Path) -> Result<(), CommandError> {
    std::fs::create_dir_all(directory)?;
    let mut archive = tar::Archive::new(File::open(archive)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        if !matches!(path.as_str(), "manifest.json" | "repositories") {
            entry.unpack_in(directory)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Place;
    use std::path::PathBuf;

    #[test]
    fn places_are_read_in_each_spelling() {
        let read = |text: &str| Place::parse(text).ok();
        let archive = |path: &str| Some(Place::Archive(PathBuf::from(path)));
        assert_eq!(read("-"), Some(Place::Stream));
        assert_eq!(read("a.tar"), archive("a.tar"));
        assert_eq!(read("oci-archive:a.tar"), archive("a.tar"));
        assert_eq!(read("docker-archive:/a.tar"), archive("/a.tar"));
        assert_eq!(read("oci:dir"), Some(Place::Layout(PathBuf::from("dir"))));
        assert_eq!(read("oci:"), None);
        assert_eq!(read("oci:/:latest"), None);
    }
}
