//! What the stages of one build share: the plan, the store, the way to tell, and each other's results.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::cache::StepCache;
use super::exchange::{Imported, Noted};
use super::ignore::Ignore;
use super::parse::Instruction;
use super::remembered::Remembered;
use super::scope::Frozen;
use super::stage::Stages;
use super::state::State;
use super::{
    BuildError, BuildEvent, BuildHost, BuildRequest, CacheUse, NamedContext, OutputStream,
};
use crate::runtime::image::{ConfigFile, ImageStore, Pin, Platform, Reference};

/// What is told of a build.
pub(super) type Progress<'a> = dyn Fn(BuildEvent) + Sync + 'a;

/// One build.
pub(super) struct Shared<'a> {
    /// Where layers go.
    pub store: &'a ImageStore,
    /// The layers that the build found and made stay until it has ended.
    pub pin: Pin,
    /// Who runs and pulls.
    pub host: &'a dyn BuildHost,
    /// What is built.
    pub request: &'a BuildRequest,
    /// Directory of the builder.
    pub root: &'a Path,
    /// Who is told.
    pub progress: &'a Progress<'a>,
    /// The stages.
    pub stages: Stages,
    /// The expanded FROM of each.
    pub bases: Vec<String>,
    /// Which are built.
    pub needed: BTreeSet<usize>,
    /// Variables of the whole file.
    pub globals: Frozen,
    /// Files of the context that nobody sees.
    pub ignore: Ignore,
    /// Known steps.
    pub cache: StepCache,
    /// Sums of trees that were read before.
    pub remembered: Remembered,
    /// Steps that other machines know.
    pub imported: Imported,
    /// Steps of this build.
    pub noted: Noted,
    /// The machine that is built for.
    pub platform: Platform,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    /// Number of the first step of each needed stage.
    pub numbers: BTreeMap<usize, usize>,
    /// Number of all steps.
    pub total: usize,
    /// Results.
    pub board: Board,
}

/// Where stages leave their results.
#[derive(Debug, Default)]
pub(super) struct Board {
    results: Mutex<BTreeMap<usize, Option<State>>>,
    changed: Condvar,
    failed: AtomicBool,
}

impl Board {
    fn results(&self) -> MutexGuard<'_, BTreeMap<usize, Option<State>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a result; `None` is a failure, after which no stage goes on.
    pub(super) fn put(&self, stage: usize, result: Option<State>) {
        if result.is_none() {
            self.failed.store(true, Ordering::Relaxed);
        }
        self.results().insert(stage, result);
        self.changed.notify_all();
    }

    /// The result of a stage, once it is there; `None` when any stage has failed.
    #[must_use]
    pub(super) fn wait(&self, stage: usize) -> Option<State> {
        let mut results = self.results();
        loop {
            if self.failed.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(result) = results.get(&stage) {
                return result.clone();
            }
            results = self
                .changed
                .wait(results)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared<'_> {
    /// Tells something.
    pub(super) fn tell(&self, event: BuildEvent) {
        (self.progress)(event);
    }

    /// Tells a line of a stage.
    pub(super) fn say(&self, stage: usize, text: &str) {
        self.tell(BuildEvent::Output {
            stage,
            stream: OutputStream::Stdout,
            text: text.to_owned(),
        });
    }

    /// Tells that a step begins.
    pub(super) fn announce(&self, stage: usize, offset: usize, instruction: &Instruction) {
        self.tell(BuildEvent::Step {
            stage,
            number: self.numbers.get(&stage).copied().unwrap_or_default() + offset,
            total: self.total,
            instruction: instruction.original.clone(),
            title: self.title(stage, offset, instruction),
        });
    }

    /// `[builder 2/4] RUN make`: steps that make files are counted, FROM is the first.
    fn title(&self, stage: usize, offset: usize, instruction: &Instruction) -> String {
        let steps = &self.stages.stages[stage].steps;
        let counted = |step: &&Instruction| {
            matches!(step.keyword.as_str(), "RUN" | "COPY" | "ADD" | "WORKDIR")
        };
        let keyword = instruction.keyword.as_str();
        if keyword != "FROM" && !counted(&instruction) {
            return String::new();
        }
        let number = 1 + steps.iter().take(offset).filter(counted).count();
        let total = 1 + steps.iter().filter(counted).count();
        let name = match &self.stages.stages[stage].name {
            Some(name) => format!("{name} "),
            None if self.stages.stages.len() > 1 => format!("stage-{stage} "),
            None => String::new(),
        };
        let text = instruction.original.lines().next().unwrap_or_default();
        format!("[{name}{number}/{total}] {text}")
    }

    /// Whether a stage's known steps are taken from the cache.
    pub(super) fn cache_use(&self, stage: usize) -> CacheUse {
        let name = self.stages.stages[stage].name.as_deref();
        let is_named = |wanted: &String| {
            name.is_some_and(|name| wanted.eq_ignore_ascii_case(name))
                || *wanted == stage.to_string()
        };
        if self.request.no_cache_stages.iter().any(is_named) {
            return CacheUse::Skip;
        }
        self.request.cache
    }

    /// What a step led to here or on another machine.
    pub(super) fn known(&self, key: &str) -> Option<ConfigFile> {
        let warn = |text| self.tell(BuildEvent::Warning(text));
        self.cache
            .find(key, &self.pin)
            .or_else(|| self.imported.find(key, self, &warn))
    }

    /// The context that a build gives a name.
    pub(super) fn named_context(&self, name: &str) -> Option<&NamedContext> {
        let contexts = &self.request.contexts;
        contexts.get(name).or_else(|| {
            let whole = |name: &str| Reference::parse(name).map(|parsed| parsed.to_string()).ok();
            let wanted = whole(name)?;
            let found = contexts
                .iter()
                .find(|(name, _)| whole(name).as_ref() == Some(&wanted));
            found.map(|(_, context)| context)
        })
    }

    /// An error when the client has gone or another stage has failed.
    ///
    /// # Errors
    /// See above.
    pub(super) fn check_going(&self) -> Result<(), BuildError> {
        if self.board.failed.load(Ordering::Relaxed) || self.host.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        Ok(())
    }

    /// The result of another stage.
    ///
    /// # Errors
    /// When it is not built, or a stage has failed.
    pub(super) fn wait_for(&self, stage: usize) -> Result<State, BuildError> {
        if !self.needed.contains(&stage) {
            return Err(BuildError::Invalid(format!(
                "stage {stage} is not part of this build"
            )));
        }
        self.board.wait(stage).ok_or(BuildError::Cancelled)
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// When it cannot be pulled.
    pub(super) fn pull(&self, reference: &str) -> Result<(), BuildError> {
        let platform = self.request.platform.as_deref();
        let mut progress = |message| self.tell(BuildEvent::Pull(message));
        Ok(self.host.pull(reference, platform, &mut progress)?)
    }
}
