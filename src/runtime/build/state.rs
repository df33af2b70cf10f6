//! What a stage has come to after a step: its config file, its variables, its key in the cache.

use bollard_stubs::models::ImageConfig;

use super::BuildError;
use super::cache::KeyMaker;
use super::scope::Scope;
use crate::runtime::image::{ConfigFile, Digest, HistoryEntry, Platform};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage between two steps.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Config, history and layers so far.
    pub file: ConfigFile,
    /// The key of all that led here.
    pub key: String,
    /// Arguments that were declared.
    pub scope: Scope,
    /// Whether CMD was set in this build, so that ENTRYPOINT leaves it alone.
    pub command: CommandOrigin,
}

/// Where the config's command comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandOrigin {
    /// From the base image.
    Base,
    /// From this build.
    Build,
}

impl State {
    /// Nothing but a machine.
    #[must_use]
    pub(super) fn scratch(platform: &Platform) -> Self {
        let mut file = ConfigFile::for_this_machine();
        file.os.clone_from(&platform.os);
        file.architecture.clone_from(&platform.architecture);
        file.variant = platform.variant.clone().unwrap_or_default();
        file.config = Some(ImageConfig {
            env: Some(vec![DEFAULT_PATH.to_owned()]),
            working_dir: Some("/".to_owned()),
            ..ImageConfig::default()
        });
        let mut key = KeyMaker::after("scratch");
        key.add(&file.to_bytes());
        Self::of(file, key.finish())
    }

    /// On top of an image; one without a search path gets the usual one.
    #[must_use]
    pub(super) fn on_image(id: &Digest, file: ConfigFile) -> Self {
        let mut key = KeyMaker::after("image");
        key.add(id.hex().as_bytes());
        let mut state = Self::of(file, key.finish());
        let env = state.environment();
        state.file.config.get_or_insert_default().env = Some(env);
        state
    }

    fn of(file: ConfigFile, key: String) -> Self {
        Self {
            file,
            key,
            scope: Scope::default(),
            command: CommandOrigin::Base,
        }
    }

    /// The config so far.
    #[must_use]
    pub(super) fn config(&self) -> ImageConfig {
        self.file.config.clone().unwrap_or_default()
    }

    /// Environment of a step, with a search path in any case.
    #[must_use]
    pub(super) fn environment(&self) -> Vec<String> {
        let mut env = self.config().env.unwrap_or_default();
        if !env.iter().any(|pair| pair.starts_with("PATH=")) {
            env.push(DEFAULT_PATH.to_owned());
        }
        env
    }

    /// The digest of all files: of the layers, or of nothing.
    #[must_use]
    pub(super) fn files(&self) -> String {
        let chains = self.file.chain_ids();
        chains.last().map(Digest::to_string).unwrap_or_default()
    }

    /// A short id to show.
    #[must_use]
    pub(super) fn short(&self) -> String {
        Digest::of(&self.file.to_bytes()).short().to_owned()
    }
}

/// Adds a step to a config file.
///
/// # Errors
/// When the time is out of range.
pub(super) fn extend(
    file: &mut ConfigFile,
    created_by: &str,
    layer: Option<Digest>,
    epoch: Option<i64>,
) -> Result<(), BuildError> {
    let created = Some(time(epoch)?);
    file.history.push(HistoryEntry {
        created: created.clone(),
        created_by: created_by.to_owned(),
        author: file.author.clone(),
        empty_layer: layer.is_none(),
        ..HistoryEntry::default()
    });
    file.created = created;
    "layers".clone_into(&mut file.rootfs.kind);
    file.rootfs.diff_ids.extend(layer);
    Ok(())
}

/// Now, or the time that `SOURCE_DATE_EPOCH` gives.
fn time(epoch: Option<i64>) -> Result<String, BuildError> {
    let Some(seconds) = epoch else {
        return Ok(jiff::Timestamp::now().to_string());
    };
    let time = jiff::Timestamp::from_second(seconds);
    time.map(|time| time.to_string())
        .map_err(|_| BuildError::Invalid(format!("SOURCE_DATE_EPOCH `{seconds}` is out of range")))
}
