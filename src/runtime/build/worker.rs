//! One stage, from its FROM to its last step.
//!
//! ```text
//! FROM --> state --step--> state --step--> … --> result, which other stages wait for
//!                   |
//!                   +-- ARG, ENV, …: config and history only
//!                   +-- WORKDIR, COPY, ADD, RUN: a layer
//! ```

use bollard_stubs::models::ImageConfig;

use super::cache::KeyMaker;
use super::files::{DIRECTORY_MODE, make_directories, within};
use super::layer::{LayerSpace, view};
use super::owner::{self, ROOT};
use super::parse::{Instruction, parse_line};
use super::shared::Shared;
use super::state::{CommandOrigin, State, extend};
use super::{BuildError, BuildEvent, CacheUse, NamedContext, PullPolicy};
use crate::runtime::image::{ConfigFile, Digest, ErrorKind, ImageError, Presence, apply};
use rustix::fs::OFlags;

/// References to directories of this machine.
const ROOTFS: &str = "rootfs:";

/// Builds one stage.
pub(super) struct Worker<'a> {
    /// What all stages share.
    pub shared: &'a Shared<'a>,
    /// Index of the stage.
    pub index: usize,
    /// What it has come to.
    pub state: State,
}

impl<'a> Worker<'a> {
    /// Builds a stage whole.
    ///
    /// # Errors
    /// With the first step that fails.
    pub(super) fn build(shared: &'a Shared<'a>, index: usize) -> Result<State, BuildError> {
        let from = &shared.stages.stages[index].from;
        shared.announce(index, 0, from);
        let state = begin(shared, index).map_err(|error| error.at(from))?;
        let mut worker = Self {
            shared,
            index,
            state,
        };
        worker.tell_done();
        worker.triggers(from)?;
        for (offset, step) in shared.stages.stages[index].steps.iter().enumerate() {
            shared.check_going()?;
            shared.announce(index, offset + 1, step);
            worker.step(step).map_err(|error| error.at(step))?;
            worker.tell_done();
        }
        Ok(worker.state)
    }

    fn tell_done(&self) {
        self.shared.tell(BuildEvent::Done {
            stage: self.index,
            state: self.state.short(),
        });
    }

    /// Does what the base image left for its children.
    fn triggers(&mut self, from: &Instruction) -> Result<(), BuildError> {
        let triggers = self.state.config().on_build.unwrap_or_default();
        if triggers.is_empty() {
            return Ok(());
        }
        if let Some(config) = &mut self.state.file.config {
            config.on_build = None;
        }
        self.shared.say(
            self.index,
            &format!("# Executing {} build trigger(s)\n", triggers.len()),
        );
        for trigger in triggers {
            let step = parse_line(&trigger, from.line, '\\')?;
            self.step(&step).map_err(|error| error.at(&step))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Instruction) -> Result<(), BuildError> {
        match step.keyword.as_str() {
            "RUN" => self.run(step),
            "COPY" | "ADD" => self.copy(step),
            "WORKDIR" => self.workdir(step),
            "ARG" => self.argument(step),
            _ => self.configure(step),
        }
    }

    fn argument(&mut self, step: &Instruction) -> Result<(), BuildError> {
        let config = self.state.config();
        self.state
            .scope
            .declare(step, &self.shared.globals, &config)?;
        let created_by = format!("ARG {}", step.rest);
        let mut key = self.key(&created_by);
        for pair in self.state.scope.visible(&config) {
            key.add(pair.as_bytes());
        }
        self.finish(key, &created_by, |_| Ok((config, None)))
    }

    /// An instruction that changes the config only.
    fn configure(&mut self, step: &Instruction) -> Result<(), BuildError> {
        let config = self.configured(step)?;
        let created_by = match step.keyword.as_str() {
            "ENV" | "LABEL" | "USER" | "EXPOSE" | "VOLUME" | "STOPSIGNAL" => self.spelled_out(step),
            keyword => format!("{keyword} {}", step.rest),
        };
        if step.keyword == "MAINTAINER" {
            step.rest.clone_into(&mut self.state.file.author);
        }
        if step.keyword == "CMD" {
            self.state.command = CommandOrigin::Build;
        }
        let mut key = self.key(&created_by);
        key.add(&sorted(&config));
        if step.keyword == "ENV" {
            self.state.scope.give_way(&self.state.config(), &config);
        }
        if step.keyword == "ONBUILD" {
            // What a child will do is no step of this image's history.
            self.state.key = key.finish();
            self.state.file.config = Some(config);
            return Ok(());
        }
        self.finish(key, &created_by, |_| Ok((config, None)))
    }

    fn configured(&self, step: &Instruction) -> Result<ImageConfig, BuildError> {
        let mut config = self.state.config();
        let lookup = self.state.scope.lookup(&config);
        if step.keyword == "ENTRYPOINT" && self.state.command == CommandOrigin::Base {
            // A command that was meant as arguments of another entry point is of no use.
            config.cmd = None;
        }
        let escape = self.shared.globals.escape;
        let applied = apply(&mut config, &step.keyword, &step.rest, escape, &lookup);
        applied.map_err(|error| step.error(error.to_string()))?;
        Ok(config)
    }

    fn workdir(&mut self, step: &Instruction) -> Result<(), BuildError> {
        let config = self.configured(step)?;
        let directory = config.working_dir.clone().unwrap_or_default();
        let created_by = format!("WORKDIR {directory}");
        let mut key = self.key(&created_by);
        key.add(config.user.clone().unwrap_or_default().as_bytes());
        self.finish(key, &created_by, |worker| {
            let layer = worker.directory_layer(&directory, config.user.as_deref())?;
            Ok((config, layer))
        })
    }

    /// A layer with a directory, unless it is there.
    fn directory_layer(
        &self,
        directory: &str,
        user: Option<&str>,
    ) -> Result<Option<Digest>, BuildError> {
        let path = within(directory);
        let below = &self.state.file.rootfs.diff_ids;
        let space = LayerSpace::new(self.shared.store, below)?;
        let present = view(space.lower())?.is_some_and(|root| {
            root.open_at(&path, OFlags::PATH | OFlags::DIRECTORY)
                .is_ok()
        });
        if present || path.as_os_str().is_empty() {
            return Ok(None);
        }
        let root = space.root()?;
        let owner = match user.filter(|user| !user.is_empty()) {
            Some(user) => owner::resolve(user, &root).map_err(BuildError::Invalid)?,
            None => ROOT,
        };
        make_directories(&root, &path, owner, DIRECTORY_MODE)?;
        drop(root);
        space.keep(self.shared, below).map(Some)
    }

    /// The key of an instruction before anything else that it depends on.
    pub(super) fn key(&self, created_by: &str) -> KeyMaker {
        let mut key = KeyMaker::after(&self.state.key);
        key.add(created_by.as_bytes());
        key.add(&self.shared.epoch.unwrap_or(-1).to_le_bytes());
        key
    }

    /// Takes the step's result from the cache, or does it: `work` gives the new config and the layer.
    pub(super) fn finish(
        &mut self,
        key: KeyMaker,
        created_by: &str,
        work: impl FnOnce(&Self) -> Result<(ImageConfig, Option<Digest>), BuildError>,
    ) -> Result<(), BuildError> {
        let key = key.finish();
        let known = if self.shared.cache_use(self.index) == CacheUse::Use {
            self.shared.known(&key)
        } else {
            None
        };
        self.state.file = if let Some(file) = known {
            self.shared.tell(BuildEvent::Cached { stage: self.index });
            file
        } else {
            let (config, layer) = work(self)?;
            let mut file: ConfigFile = self.state.file.clone();
            file.config = Some(config);
            extend(&mut file, created_by, layer, self.shared.epoch)?;
            file
        };
        self.shared.cache.put(&key, &self.state.file)?;
        self.shared.noted.note(&key, &self.state.file);
        self.state.key = key;
        Ok(())
    }
}

/// A config as bytes that are the same for the same config.
fn sorted(config: &ImageConfig) -> Vec<u8> {
    let file = ConfigFile {
        config: Some(config.clone()),
        ..ConfigFile::default()
    };
    file.to_bytes()
}

/// The state after FROM.
fn begin(shared: &Shared<'_>, index: usize) -> Result<State, BuildError> {
    let base = shared.bases[index].as_str();
    match shared.named_context(base) {
        Some(NamedContext::Image(reference)) => return image_state(shared, reference),
        Some(NamedContext::Directory(_) | NamedContext::Remote(_)) => {
            return Err(BuildError::Invalid(format!(
                "the context `{base}` is a directory, not an image"
            )));
        }
        None => {}
    }
    if let Some(stage) = shared.stages.find_named(base, index) {
        let mut state = shared.wait_for(stage)?;
        state.command = CommandOrigin::Base;
        return Ok(state);
    }
    if base == "scratch" {
        return Ok(State::scratch(&shared.platform));
    }
    image_state(shared, base)
}

/// The state of an image, pulled where it is missing or should be fresh.
pub(super) fn image_state(shared: &Shared<'_>, reference: &str) -> Result<State, BuildError> {
    if reference.starts_with(ROOTFS) {
        // A Dockerfile is untrusted: it must not make files of the host readable to its steps.
        return Err(BuildError::Invalid(format!(
            "`{reference}`: a Dockerfile cannot name a directory of this machine; `{ROOTFS}` is for the image of a service"
        )));
    }
    let is_name = Digest::parse(reference).is_err();
    let mut found = stored_state(shared, reference);
    let missing = matches!(&found, Err(error) if error.kind() == ErrorKind::NotFound);
    if is_name && (missing || shared.request.pull == PullPolicy::Always) {
        shared.pull(reference)?;
        found = stored_state(shared, reference);
    }
    Ok(found?)
}

/// The state of an image of the store, whose layers stay for this build.
fn stored_state(shared: &Shared<'_>, reference: &str) -> Result<State, ImageError> {
    let record = shared.store.resolve(reference)?;
    let id = Digest::parse(&record.id).map_err(|_| ImageError::NotStored {
        reference: reference.to_owned(),
    })?;
    let file = shared.store.config_file(&id)?;
    match shared.pin.take(&file.rootfs.diff_ids)? {
        Presence::Kept => Ok(State::on_image(&id, file)),
        // It was removed a moment ago.
        Presence::Gone => Err(ImageError::not_found(reference)),
    }
}
