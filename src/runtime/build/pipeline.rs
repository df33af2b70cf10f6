//! A whole build, in order: names, Dockerfile, stages, variables; then the needed stages at once; then the image.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::cache::StepCache;
use super::error::excerpt;
use super::exchange::{Imported, Noted};
use super::files::within;
use super::ignore::Ignore;
use super::mount::MountFlag;
use super::parse::parse;
use super::remembered::Remembered;
use super::scope::Globals;
use super::shared::{Board, Progress, Shared};
use super::stage::{Stages, split};
use super::state::State;
use super::worker::Worker;
use super::{BuildError, BuildEvent, BuildHost, BuildRequest, BuiltImage, DockerfileSource};
use crate::runtime::archive::Root;
use crate::runtime::image::{ImageStore, Platform, Reference};

/// Most bytes of a Dockerfile.
const DOCKERFILE_MAX: u64 = 16 << 20;
/// Most stages of a build.
const STAGES_MAX: usize = 500;

/// What outlives a build.
#[derive(Debug, Clone)]
pub struct Builder {
    /// Where layers and images go.
    pub store: ImageStore,
    /// Directory of the builder: `<root>/build`.
    pub root: PathBuf,
}

impl Builder {
    /// Forgets all cached steps and the cache mounts that no step has; layers that a build stands on stay until it has
    /// ended. Returns the keys of the steps and the bytes that went.
    ///
    /// # Errors
    /// When the store or the directory cannot be changed.
    pub fn prune(&self) -> Result<(Vec<String>, u64), BuildError> {
        Remembered::at(&self.root).forget();
        let pruned = StepCache::at(&self.root).prune(&self.store)?;
        super::mount::remove_caches(&self.root)?;
        Ok(pruned)
    }
}

/// Builds an image.
///
/// # Errors
/// With the first thing that is wrong; an excerpt of the Dockerfile is told before.
pub fn build(
    builder: &Builder,
    host: &dyn BuildHost,
    request: &BuildRequest,
    progress: &Progress<'_>,
) -> Result<BuiltImage, BuildError> {
    let names = request
        .tags
        .iter()
        .map(|tag| Reference::parse(tag))
        .collect::<Result<Vec<_>, _>>()?;
    let (request, _fetched) = super::context::fetched(builder, host, request)?;
    let request = &request;
    let (name, text) = dockerfile(request)?;
    let built =
        prepare(builder, host, request, progress, (&name, &text)).and_then(|(shared, target)| {
            let state = build_stages(&shared, target)?;
            store_image(&shared, state, &names)
        });
    if let Err(error) = &built
        && let Some(excerpt) = excerpt(error, &name, &text)
    {
        progress(BuildEvent::Excerpt(excerpt));
    }
    built
}

/// Name and text of the Dockerfile.
fn dockerfile(request: &BuildRequest) -> Result<(String, String), BuildError> {
    let name = match &request.dockerfile {
        DockerfileSource::Text(text) => return Ok(("Dockerfile".to_owned(), text.clone())),
        DockerfileSource::Context(name) => name.clone(),
    };
    let mut text = read_text(&request.context, &name)?;
    if text.is_none() && name == "Dockerfile" {
        text = read_text(&request.context, "dockerfile")?;
    }
    text.map(|text| (name.clone(), text))
        .ok_or(BuildError::NoDockerfile { name })
}

/// A text file of the context; `None` where it is not there.
fn read_text(context: &Path, name: &str) -> Result<Option<String>, BuildError> {
    let root = Root::open(context)?;
    let path = within(name);
    let Ok(fd) = root.open_at(&path, OFlags::RDONLY | OFlags::NONBLOCK) else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = std::fs::File::from(fd)
        .take(DOCKERFILE_MAX)
        .read_to_end(&mut bytes);
    read.map_err(super::cache::failed("read", &path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn prepare<'a>(
    builder: &'a Builder,
    host: &'a dyn BuildHost,
    request: &'a BuildRequest,
    progress: &'a Progress<'a>,
    (name, text): (&str, &str),
) -> Result<(Shared<'a>, usize), BuildError> {
    let file = parse(text)?;
    if file.instructions.is_empty() {
        return Err(BuildError::EmptyDockerfile {
            name: name.to_owned(),
        });
    }
    let stages = split(file)?;
    if stages.stages.is_empty() || stages.stages.len() > STAGES_MAX {
        return Err(BuildError::Invalid(
            "dockerfile contains no stages to build".to_owned(),
        ));
    }
    let target = stages.target(request.target.as_deref())?;
    let platform = Platform::parse(request.platform.as_deref().unwrap_or_default())?;
    let target_name = request.target.as_deref().unwrap_or_default();
    let mut globals = Globals::new(&request.args, &platform, target_name, stages.escape);
    for instruction in &stages.globals {
        globals.declare(instruction)?;
    }
    let bases = expanded_bases(&stages, &globals)?;
    let needed = stages.needed(target, &bases);
    check_mounts(&stages, &needed)?;
    warn_of_unused(&stages, &globals, progress);
    let (numbers, total) = count(&stages, &needed);
    let shared = Shared {
        store: &builder.store,
        pin: builder.store.pin()?,
        host,
        request,
        root: &builder.root,
        progress,
        bases,
        needed,
        globals: globals.freeze(),
        ignore: ignore_rules(request, name)?,
        cache: StepCache::at(&builder.root),
        remembered: Remembered::at(&builder.root),
        imported: Imported::open(&request.cache_from, host, &|text| {
            progress(BuildEvent::Warning(text));
        }),
        noted: Noted::default(),
        platform,
        epoch: epoch(request)?,
        numbers,
        total,
        board: Board::default(),
        stages,
    };
    Ok((shared, target))
}

/// Finds mounts that are written wrongly before anything runs; those with variables are read when their step comes.
fn check_mounts(stages: &Stages, needed: &BTreeSet<usize>) -> Result<(), BuildError> {
    for step in needed.iter().flat_map(|index| &stages.stages[*index].steps) {
        let mounts = step.flag_values("mount");
        for text in
            mounts.filter(|text| step.keyword == "RUN" && !text.contains(['$', stages.escape]))
        {
            MountFlag::parse(text).map_err(|message| step.error(message))?;
        }
    }
    Ok(())
}

fn expanded_bases(stages: &Stages, globals: &Globals) -> Result<Vec<String>, BuildError> {
    let expand = |stage: &super::stage::Stage| {
        let base = globals.word(&stage.base, &stage.from)?;
        if base.is_empty() {
            return Err(stage
                .from
                .error(format!("base name ({}) should not be blank", stage.base)));
        }
        Ok(base)
    };
    stages.stages.iter().map(expand).collect()
}

fn warn_of_unused(stages: &Stages, globals: &Globals, progress: &Progress<'_>) {
    let steps = stages.stages.iter().flat_map(|stage| &stage.steps);
    steps
        .filter(|step| step.keyword == "ARG")
        .for_each(|step| globals.note_use(step));
    let unused = globals.unused();
    if !unused.is_empty() {
        progress(BuildEvent::Warning(format!(
            "[Warning] One or more build-args [{}] were not consumed",
            unused.join(" ")
        )));
    }
}

/// The number of the first step of each stage that is built, and of all steps.
fn count(stages: &Stages, needed: &BTreeSet<usize>) -> (BTreeMap<usize, usize>, usize) {
    let mut numbers = BTreeMap::new();
    let mut next = 1;
    for index in needed {
        numbers.insert(*index, next);
        next += 1 + stages.stages[*index].steps.len();
    }
    (numbers, next - 1)
}

/// The rules of `<Dockerfile>.dockerignore`, or of `.dockerignore`.
fn ignore_rules(request: &BuildRequest, name: &str) -> Result<Ignore, BuildError> {
    if let Some(text) = &request.ignore {
        return Ok(Ignore::parse(text));
    }
    match read_text(&request.context, &format!("{name}.dockerignore"))? {
        Some(text) => Ok(Ignore::parse(&text)),
        None => ignore_of(&request.context),
    }
}

/// The rules of a directory's `.dockerignore`.
pub(super) fn ignore_of(directory: &Path) -> Result<Ignore, BuildError> {
    let text = read_text(directory, ".dockerignore")?;
    Ok(text.map(|text| Ignore::parse(&text)).unwrap_or_default())
}

fn epoch(request: &BuildRequest) -> Result<Option<i64>, BuildError> {
    let given = request
        .args
        .get("SOURCE_DATE_EPOCH")
        .filter(|text| !text.is_empty());
    let parsed = given.map(|text| text.parse::<i64>()).transpose();
    parsed
        .map_err(|_| BuildError::Invalid("SOURCE_DATE_EPOCH is not a number of seconds".to_owned()))
}

/// Builds all needed stages, each in a thread; a stage waits where it needs another's result.
fn build_stages(shared: &Shared<'_>, target: usize) -> Result<State, BuildError> {
    let errors: Vec<BuildError> = std::thread::scope(|scope| {
        let spawn = |index: &usize| {
            let index = *index;
            scope.spawn(move || {
                let mut outcome = Outcome {
                    shared,
                    index,
                    state: None,
                };
                let result = Worker::build(shared, index);
                result.map(|state| outcome.state = Some(state))
            })
        };
        let threads: Vec<_> = shared.needed.iter().map(spawn).collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.filter_map(Result::err).collect()
    });
    let first = errors
        .into_iter()
        .min_by_key(|error| matches!(error, BuildError::Cancelled));
    match first {
        Some(error) => Err(error),
        None => shared.board.wait(target).ok_or(BuildError::Cancelled),
    }
}

/// Leaves a stage's result on the board, whatever happens.
struct Outcome<'a> {
    shared: &'a Shared<'a>,
    index: usize,
    state: Option<State>,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.shared.board.put(self.index, self.state.take());
        self.shared
            .tell(BuildEvent::StageEnded { stage: self.index });
    }
}

fn store_image(
    shared: &Shared<'_>,
    state: State,
    names: &[Reference],
) -> Result<BuiltImage, BuildError> {
    let mut file = state.file;
    let labels = &shared.request.labels;
    if !labels.is_empty() {
        let config = file.config.get_or_insert_default();
        let present = config.labels.get_or_insert_default();
        present.extend(
            labels
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    let id = shared.store.put_image(&file, names)?;
    shared.tell(BuildEvent::Built(id.clone()));
    let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
    for tag in &tags {
        shared.tell(BuildEvent::Tagged(tag.clone()));
    }
    for target in &shared.request.cache_to {
        shared.tell(BuildEvent::Note(format!(
            "exporting cache to {}, in this builder's own form, which BuildKit does not read",
            target.place
        )));
        shared
            .noted
            .export(target, &file, shared.store, shared.host)?;
    }
    Ok(BuiltImage { id, tags })
}
