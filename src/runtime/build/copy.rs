//! COPY and ADD.
//!
//! ```text
//! words --expand--> sources and target --select--> paths --sum--> key
//!                                                        --copy--> layer
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::BuildError;
use super::command::find_document;
use super::copier::{Copier, Shape};
use super::files::{
    Changes, DIRECTORY_MODE, Source, SourceOwner, failed, make_directories, within,
};
use super::ignore::Ignore;
use super::layer::{LayerSpace, view, write_file};
use super::origin::Origin;
use super::owner::{self, ModeChange, Owner, ROOT};
use super::parse::{Expansion, Instruction};
use super::remote::{self, GitDirectory, Remote};
use super::worker::Worker;
use crate::runtime::archive::{
    Limits, NoRecorder, Owner as ArchiveOwner, Root, TarReader, UnpackOptions, decompress, unpack,
};
use crate::runtime::image::{Digest, Scratch, json_form, split_words};

/// How often a step is done when its files are written meanwhile.
const ATTEMPTS: usize = 3;

/// A COPY or ADD with nothing left to look up but the owner.
struct Plan {
    origin: Origin,
    items: Vec<Item>,
    /// Path in the image, without a leading slash.
    target: PathBuf,
    shape: Shape,
    changes: Changes,
    chown: Option<String>,
    archives: Archives,
    bond: Bond,
    /// Where fetched sources are, as long as the plan lasts.
    _fetched: Vec<Scratch>,
}

enum Item {
    /// A path of the origin, and the directory below the target where `--parents` puts it.
    Path(PathBuf, PathBuf),
    /// A here-document.
    Document { name: String, text: String },
    /// What was fetched: its directory, and the path in it that is copied.
    Fetched { directory: PathBuf, path: PathBuf },
}

/// Which archives are unpacked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Archives {
    /// Those of the context: ADD.
    Local,
    /// Downloaded ones too: `--unpack`.
    All,
    None,
}

/// Whether the layer knows the ones below.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bond {
    /// Its target's links and directories are those below.
    Below,
    /// It stands for itself (`--link`).
    Free,
}

impl Worker<'_> {
    /// Does a COPY or ADD; again when the context is edited meanwhile, so that no key ever stands for other files.
    pub(super) fn copy(&mut self, step: &Instruction) -> Result<(), BuildError> {
        let mut result = self.copy_once(step);
        for _ in 1..ATTEMPTS {
            if !matches!(result, Err(BuildError::Changed)) {
                break;
            }
            result = self.copy_once(step);
        }
        result
    }

    fn copy_once(&mut self, step: &Instruction) -> Result<(), BuildError> {
        let plan = self.plan(step)?;
        let created_by = self.spelled_out(step);
        let mut key = self.key(&created_by);
        key.add(plan.target.as_os_str().as_encoded_bytes());
        key.add(plan.chown.as_deref().unwrap_or_default().as_bytes());
        key.add(format!("{:?}", plan.changes.mode).as_bytes());
        let mut paths = Vec::new();
        for item in &plan.items {
            match item {
                Item::Path(path, _) => {
                    key.add(path.as_os_str().as_encoded_bytes());
                    paths.push(path.clone());
                }
                Item::Document { name, text } => {
                    key.add(name.as_bytes());
                    key.add(text.as_bytes());
                }
                Item::Fetched { directory, path } => {
                    key.add(path.as_os_str().as_encoded_bytes());
                    key.add(&fetched(directory)?.sum(path, &plan.changes)?);
                }
            }
        }
        let stamp = self.stamp_of(&plan.origin, &paths, &plan.changes)?;
        key.add(&self.sum_of(&plan.origin, &paths, &plan.changes, &stamp)?);
        self.finish(key, &created_by, |worker| {
            let layer = worker.copy_layer(&plan)?;
            if worker.stamp_of(&plan.origin, &paths, &plan.changes)? != stamp {
                return Err(BuildError::Changed);
            }
            Ok((worker.state.config(), Some(layer)))
        })
    }

    fn plan(&self, step: &Instruction) -> Result<Plan, BuildError> {
        let flag = |name: &str| {
            step.flag(name)
                .map(|value| self.word(value, step))
                .transpose()
        };
        let words = match json_form(&step.rest) {
            Some(words) => words,
            None => split_words(&step.rest, self.shared.globals.escape),
        };
        let [sources @ .., target] = words.as_slice() else {
            return Err(step.error(format!("{} requires at least two arguments", step.keyword)));
        };
        if sources.is_empty() {
            return Err(step.error(format!(
                "{} requires at least two arguments, but only one was provided. Destination could not be determined",
                step.keyword
            )));
        }
        let target = self.word(target, step)?;
        if sources.len() > 1 && !names_directory(&target) {
            return Err(step.error(format!(
                "When using {} with more than one source file, the destination must be a directory and end with a /",
                step.keyword
            )));
        }
        let exclude = step
            .flag_values("exclude")
            .map(|value| self.word(value, step))
            .collect::<Result<Vec<_>, _>>()?;
        let origin = self.origin(flag("from")?.as_deref())?;
        let (items, fetched) = self.items(step, sources, &origin)?;
        let several = items.len() > 1 || step.is_on("parents");
        Ok(Plan {
            origin,
            target: self.in_image(&target),
            shape: if several || names_directory(&target) {
                Shape::Directory
            } else {
                Shape::Open
            },
            items,
            changes: Changes {
                owner: None,
                mode: flag("chmod")?
                    .map(|mode| ModeChange::parse(&mode))
                    .transpose()
                    .map_err(|m| step.error(m))?,
                exclude: Ignore::from_patterns(exclude.iter().map(String::as_str)),
            },
            chown: flag("chown")?,
            archives: match (step.keyword.as_str(), step.flag("unpack")) {
                ("ADD", None) => Archives::Local,
                ("ADD", Some("false")) => Archives::None,
                ("ADD", Some(_)) => Archives::All,
                _ => Archives::None,
            },
            bond: if step.is_on("link") {
                Bond::Free
            } else {
                Bond::Below
            },
            _fetched: fetched,
        })
    }

    /// An instruction with what its variables stand for, as an image's history tells it.
    pub(super) fn spelled_out(&self, step: &Instruction) -> String {
        let spelled = |word: &str| {
            let is_document = find_document(step, word).is_some();
            let found = (!is_document).then(|| self.word(word, step).ok()).flatten();
            found.unwrap_or_else(|| word.to_owned())
        };
        let flags = step.flags.iter().map(|flag| match &flag.value {
            Some(value) => format!("--{}={}", flag.name, spelled(value)),
            None => format!("--{}", flag.name),
        });
        let words = json_form(&step.rest)
            .unwrap_or_else(|| split_words(&step.rest, self.shared.globals.escape));
        let words = words.iter().map(|word| spelled(word));
        let keyword = std::iter::once(step.keyword.clone());
        keyword
            .chain(flags)
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(super) fn word(&self, word: &str, step: &Instruction) -> Result<String, BuildError> {
        self.state
            .scope
            .word(word, step, &self.shared.globals, &self.state.config())
    }

    /// A path of the image, relative to its root.
    pub(super) fn in_image(&self, path: &str) -> PathBuf {
        if path.starts_with('/') {
            return within(path);
        }
        let directory = self.state.config().working_dir.unwrap_or_default();
        within(&format!("{directory}/{path}"))
    }

    fn items(
        &self,
        step: &Instruction,
        sources: &[String],
        origin: &Origin,
    ) -> Result<(Vec<Item>, Vec<Scratch>), BuildError> {
        let opened = self.open(origin, Path::new("/"))?;
        let (mut items, mut scratches) = (Vec::new(), Vec::new());
        for word in sources {
            if let Some(document) = find_document(step, word) {
                let text = match document.expansion {
                    Expansion::Expand => self.document(&document.text, step)?,
                    Expansion::Literal => document.text.clone(),
                };
                items.push(Item::Document {
                    name: document.name.clone(),
                    text,
                });
                continue;
            }
            let source = self.word(word, step)?;
            if step.keyword == "ADD"
                && let Some(remote) = Remote::parse(&source)
            {
                let scratch = self.shared.store.scratch()?;
                items.push(self.fetch(step, &remote, scratch.path())?);
                scratches.push(scratch);
                continue;
            }
            let (pivot, pattern) = split_pivot(&source);
            for path in opened.select(&format!("{pivot}/{pattern}"))? {
                let below = if step.is_on("parents") {
                    parents_of(&opened, &path, &within(pivot))
                } else {
                    PathBuf::new()
                };
                items.push(Item::Path(path, below));
            }
        }
        Ok((items, scratches))
    }

    /// Fetches a source of ADD.
    fn fetch(
        &self,
        step: &Instruction,
        remote: &Remote,
        scratch: &Path,
    ) -> Result<Item, BuildError> {
        let checksum = step
            .flag("checksum")
            .map(|checksum| self.word(checksum, step))
            .transpose()?;
        let host = self.shared.host;
        match remote {
            Remote::Http(url) => {
                let name = remote::download(host, url, scratch, checksum.as_deref())?;
                Ok(Item::Fetched {
                    directory: scratch.join("files"),
                    path: PathBuf::from(name),
                })
            }
            Remote::Git(git) => {
                let keep = if step.is_on("keep-git-dir") {
                    GitDirectory::Keep
                } else {
                    GitDirectory::Drop
                };
                let directory = scratch.join("files");
                let commit = git.check_out(host, &directory, keep)?;
                if let Some(promised) = checksum.filter(|promised| *promised != commit) {
                    return Err(BuildError::Invalid(format!(
                        "digest mismatch of {}: {promised} was expected, {commit} came",
                        git.repository
                    )));
                }
                Ok(Item::Fetched {
                    directory,
                    path: git.directory.clone(),
                })
            }
        }
    }

    /// Variables in a here-document: quotes mean nothing there.
    fn document(&self, text: &str, step: &Instruction) -> Result<String, BuildError> {
        let mut out = String::new();
        for line in text.split_inclusive('\n') {
            let guarded: String = line.chars().flat_map(guard).collect();
            out.push_str(&self.word(&guarded, step)?);
        }
        Ok(out)
    }

    /// The owner that `--chown` names, in the image's own words.
    fn owner(&self, chown: &str) -> Result<Owner, BuildError> {
        let layers = self
            .shared
            .store
            .layer_paths(&self.state.file.rootfs.diff_ids);
        let found = match view(&layers)? {
            Some(root) => owner::resolve(chown, &root),
            None => owner::resolve_numbers(chown),
        };
        found.map_err(BuildError::Invalid)
    }

    fn copy_layer(&self, plan: &Plan) -> Result<Digest, BuildError> {
        let below = &self.state.file.rootfs.diff_ids;
        let owner = plan.chown.as_deref().map(|chown| self.owner(chown));
        let changes = Changes {
            owner: owner.transpose()?,
            ..plan.changes.clone()
        };
        let seen = match plan.bond {
            Bond::Below => below.as_slice(),
            Bond::Free => &[],
        };
        let space = LayerSpace::new(self.shared.store, seen)?;
        let target = space.root()?;
        let source = self.open(&plan.origin, space.scratch())?;
        for item in &plan.items {
            match item {
                Item::Path(path, below) => {
                    let to = plan.target.join(below);
                    let copier = Copier {
                        source: &source,
                        target: &target,
                        changes: &changes,
                    };
                    copier.parents(path, below, &plan.target)?;
                    if plan.archives != Archives::None
                        && unpacked(&source, path, &target, &to, &changes)?
                    {
                        continue;
                    }
                    copier.copy(path, &to, plan.shape)?;
                }
                Item::Document { name, text } => {
                    place_document(
                        &space,
                        &target,
                        (name, text),
                        (&plan.target, plan.shape),
                        &changes,
                    )?;
                }
                Item::Fetched { directory, path } => {
                    let source = fetched(directory)?;
                    if plan.archives == Archives::All
                        && unpacked(&source, path, &target, &plan.target, &changes)?
                    {
                        continue;
                    }
                    let copier = Copier {
                        source: &source,
                        target: &target,
                        changes: &changes,
                    };
                    copier.copy(path, &plan.target, plan.shape)?;
                }
            }
        }
        drop((source, target));
        space.keep(self.shared, below)
    }
}

/// A fetched source, which belongs to root.
fn fetched(directory: &Path) -> Result<Source, BuildError> {
    Ok(Source {
        root: Root::open(directory)?,
        ignore: Ignore::default(),
        owner: SourceOwner::Root,
    })
}

/// Protects what is no variable from the expansion of words.
fn guard(c: char) -> impl Iterator<Item = char> {
    let quote = matches!(c, '"' | '\'').then_some('\\');
    quote.into_iter().chain([c])
}

fn names_directory(path: &str) -> bool {
    path.is_empty() || path == "." || path.ends_with('/') || path.ends_with("/.")
}

/// `a/./b`: only what follows the point is kept by `--parents`.
fn split_pivot(source: &str) -> (&str, &str) {
    source.split_once("/./").unwrap_or(("", source))
}

/// The directories that `--parents` keeps: a copied directory's own name too.
fn parents_of(source: &Source, path: &Path, pivot: &Path) -> PathBuf {
    let kept = path.strip_prefix(pivot).unwrap_or(path);
    let is_directory = source
        .root
        .open_at(path, OFlags::PATH | OFlags::DIRECTORY)
        .is_ok();
    if is_directory {
        kept.to_owned()
    } else {
        kept.parent().unwrap_or(Path::new("")).to_owned()
    }
}

/// Writes a here-document into the scratch directory and copies it from there.
fn place_document(
    space: &LayerSpace,
    target: &Root,
    (name, text): (&str, &str),
    (to, shape): (&Path, Shape),
    changes: &Changes,
) -> Result<(), BuildError> {
    let directory = space.scratch().join("documents");
    std::fs::create_dir_all(&directory)
        .map_err(super::cache::failed("make directory", &directory))?;
    write_file(&directory, name, text.as_bytes(), 0o644)?;
    let source = fetched(&directory)?;
    let copier = Copier {
        source: &source,
        target,
        changes,
    };
    copier.copy(Path::new(name), to, shape)
}

/// Unpacks a local archive into a directory; `false` when it is none.
fn unpacked(
    source: &Source,
    path: &Path,
    target: &Root,
    to: &Path,
    changes: &Changes,
) -> Result<bool, BuildError> {
    let open = || {
        source
            .root
            .open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)
            .map(File::from)
    };
    let Some(file) = open()
        .ok()
        .filter(|file| file.metadata().is_ok_and(|m| m.is_file() && m.len() > 0))
    else {
        return Ok(false);
    };
    if !is_archive(file) {
        return Ok(false);
    }
    make_directories(target, to, changes.owner.unwrap_or(ROOT), DIRECTORY_MODE)?;
    let directory = target
        .open_at(to, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(failed("open", to))?;
    let options = UnpackOptions {
        owner: changes.owner.map_or(ArchiveOwner::Archive, |owner| {
            ArchiveOwner::Fixed(owner.uid, owner.gid)
        }),
        ..UnpackOptions::default()
    };
    let plain = decompress(open().map_err(failed("open", path))?)?;
    unpack(plain, &Root::from_fd(directory), &options, &mut NoRecorder)?;
    Ok(true)
}

/// Whether a file, perhaps compressed, begins with a tar header.
pub(super) fn is_archive(file: File) -> bool {
    let Ok(plain) = decompress(file) else {
        return false;
    };
    let mut nothing = NoRecorder;
    let mut reader = TarReader::new(plain, Limits::default(), &mut nothing);
    matches!(reader.next_entry(), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_end_with_a_slash_are_directories() {
        for path in ["/x/", ".", "x/.", "./"] {
            assert!(names_directory(path), "{path}");
        }
        assert!(!names_directory("/x") && !names_directory("x.y"));
    }

    #[test]
    fn a_pivot_cuts_the_parents() {
        assert_eq!(split_pivot("a/./b/c"), ("a", "b/c"));
        assert_eq!(split_pivot("a/b"), ("", "a/b"));
    }

    #[test]
    fn only_archives_are_unpacked() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        archive.append_data(&mut header, "f", &b"x"[..])?;
        std::fs::write(folder.path().join("a"), archive.into_inner()?)?;
        std::fs::write(folder.path().join("b"), "no archive")?;
        assert!(is_archive(File::open(folder.path().join("a"))?));
        assert!(!is_archive(File::open(folder.path().join("b"))?));
        Ok(())
    }
}
