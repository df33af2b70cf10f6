//! What commands share: the global flags, the process environment, and the engine.
//!
//! Made once by `cli::main`; the engine is connected at its first use, so that commands that need none touch none.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::OnceCell;

use hoist::engine::connect::{self, Choice, InvokedAs, TlsFlags, Wishes};
use hoist::engine::dry_run::DryRun;
use hoist::engine::endpoint::Endpoint;
use hoist::engine::{Engine, EngineError, EngineErrorKind};
use hoist::load::Origins;
use hoist::remote::Remote;
use hoist::runtime::launch;
use hoist::runtime::layout::Layout;
use hoist::runtime::registry::Credential;

use crate::cli::keyring::UserKeys;
use crate::cli::{CommandError, GlobalArgs};
use crate::ui::{Ui, UiSettings};

/// An engine that takes longer to say who it is is said to be slow.
const SLOW: Duration = Duration::from_secs(2);

/// What commands share.
#[derive(Debug)]
pub(crate) struct Context {
    global: GlobalArgs,
    environment: IndexMap<String, String>,
    current_dir: PathBuf,
    invoked_as: InvokedAs,
    engine: OnceCell<Arc<dyn Engine>>,
    /// Where the values of the project come from that was loaded last.
    origins: Mutex<Arc<Origins>>,
}

impl Context {
    /// Takes what the process was started with.
    pub(super) fn from_process(arguments: &[OsString]) -> Self {
        let program = arguments.first().map(PathBuf::from).unwrap_or_default();
        let name = program.file_stem().unwrap_or_default().to_string_lossy();
        Self {
            global: GlobalArgs::default(),
            environment: std::env::vars_os()
                .filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            invoked_as: match name.as_ref() {
                "docker-compose" | "docker-hoist" => InvokedAs::DockerCompose,
                _ => InvokedAs::Hoist,
            },
            engine: OnceCell::new(),
            origins: Mutex::default(),
        }
    }

    /// Adds the parsed global flags.
    pub(super) fn with_global(self, global: GlobalArgs) -> Self {
        let mut environment = self.environment;
        if let Some(folder) = &global.docker.config {
            let folder = folder.to_string_lossy().into_owned();
            environment.insert("DOCKER_CONFIG".to_owned(), folder);
        }
        Self {
            global,
            environment,
            ..self
        }
    }

    /// The global flags.
    pub(crate) fn global(&self) -> &GlobalArgs {
        &self.global
    }

    /// A variable of the process environment; empty counts as unset.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The process environment.
    pub(crate) fn environment(&self) -> &IndexMap<String, String> {
        &self.environment
    }

    /// Where the values of the project come from that was loaded last.
    pub(crate) fn origins(&self) -> Arc<Origins> {
        let origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&origins)
    }

    pub(super) fn keep_origins(&self, origins: Origins) {
        let mut kept = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Arc::new(origins);
    }

    /// The directory that relative paths on the command line start from.
    pub(crate) fn current_dir(&self) -> &std::path::Path {
        &self.current_dir
    }

    /// What the user asked the terminal side for.
    pub(super) fn ui_settings(&self) -> UiSettings {
        let choose = |flag: Option<&String>, variable: &str| {
            flag.map(String::as_str)
                .or_else(|| self.variable(variable))
                .unwrap_or_default()
                .to_owned()
        };
        UiSettings {
            ansi: if self.global.no_ansi {
                "never".to_owned()
            } else {
                choose(self.global.ansi.as_ref(), "COMPOSE_ANSI")
            },
            progress: choose(self.global.progress.as_ref(), "COMPOSE_PROGRESS"),
            no_color: self.variable("NO_COLOR").is_some(),
            status_on_stdout: self.variable("COMPOSE_STATUS_STDOUT").is_some_and(is_true),
            log_level: self.global.docker.log_level.clone().unwrap_or_default(),
            debug: self.global.verbose || self.global.docker.debug,
        }
    }

    /// The folder of the docker command line's own settings.
    pub(super) fn docker_folder(&self) -> Option<PathBuf> {
        match self.variable("DOCKER_CONFIG") {
            Some(folder) => Some(PathBuf::from(folder)),
            None => Some(PathBuf::from(self.variable("HOME")?).join(".docker")),
        }
    }

    /// Who the user is to a registry: as `docker login` or `podman login` left it.
    pub(crate) fn credential(&self, domain: &str) -> Result<Option<Credential>, CommandError> {
        let found = self.credential_sources().find(domain);
        found.map_err(CommandError::user)
    }

    /// Who brings the files that the project has on a network.
    pub(crate) fn remote(&self) -> Remote {
        let sources = self.credential_sources();
        let find = move |domain: &str| sources.find(domain).map_err(|error| error.to_string());
        Remote::new(
            self.environment.clone(),
            self.global.insecure_registry.clone(),
            Box::new(find),
        )
    }

    /// A text from the docker command line's own settings, which a stand-in for docker follows.
    pub(crate) fn docker_config(&self, key: &str) -> Option<String> {
        let text = std::fs::read(self.docker_folder()?.join("config.json")).ok()?;
        let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
        config.get(key)?.as_str().map(str::to_owned)
    }

    /// Which engine the user chose.
    pub(crate) fn engine_choice(&self) -> Result<Choice, CommandError> {
        let docker = &self.global.docker;
        let tls = TlsFlags {
            verify: docker.tlsverify || docker.tls,
            ca: docker.tlscacert.clone(),
            cert: docker.tlscert.clone(),
            key: docker.tlskey.clone(),
        };
        let wishes = Wishes {
            engine: self.global.engine.as_deref(),
            host: self.global.host.as_deref(),
            context: self.global.context.as_deref(),
            tls: Some(&tls),
        };
        Ok(connect::choose(wishes, &self.environment, self.invoked_as)?)
    }

    /// The engine, connected at the first call; with `--dry-run`, one that acts on nothing.
    pub(crate) async fn engine(&self) -> Result<Arc<dyn Engine>, CommandError> {
        let engine = self.engine.get_or_try_init(|| self.connect()).await?;
        Ok(Arc::clone(engine))
    }

    async fn connect(&self) -> Result<Arc<dyn Engine>, CommandError> {
        let choice = self.engine_choice()?;
        let endpoint = match &choice {
            Choice::Address(endpoint) => endpoint.clone(),
            Choice::BuiltIn => built_in_address().await?.into(),
        };
        let engine = match self.connect_to(&endpoint).await {
            // The engine that was found has gone for want of work in the same moment: the next one stays.
            Err(error) if gone(&choice, &error) => {
                self.connect_to(&built_in_address().await?.into()).await?
            }
            other => other?,
        };
        if let Ok(ui) = Ui::new(&self.ui_settings()) {
            let info = engine.info();
            let (product, version, (major, minor)) = (&info.product, &info.version, info.api);
            ui.debug(format_args!(
                "engine at {}: {product} {version}, API {major}.{minor}",
                endpoint.address
            ));
        }
        Ok(if self.global.dry_run {
            Arc::new(DryRun::new(engine))
        } else {
            engine
        })
    }

    /// Connects, and says so when it takes long.
    async fn connect_to(&self, endpoint: &Endpoint) -> Result<Arc<dyn Engine>, EngineError> {
        let keyring = Arc::new(UserKeys(self.credential_sources()));
        let mut connecting = std::pin::pin!(connect::connect(endpoint, keyring));
        tokio::select! {
            connected = &mut connecting => return connected,
            () = tokio::time::sleep(SLOW) => {}
        }
        if let Ok(ui) = Ui::new(&self.ui_settings()) {
            ui.warn(format_args!(
                "waiting for the engine at {} to answer",
                endpoint.address
            ));
        }
        connecting.await
    }
}

/// Whether the built-in engine was there a moment ago and does not answer now.
fn gone(choice: &Choice, error: &EngineError) -> bool {
    *choice == Choice::BuiltIn && error.kind == EngineErrorKind::Unreachable
}

/// The address of the built-in engine, started where none answers.
async fn built_in_address() -> Result<String, CommandError> {
    let program = std::env::current_exe()?;
    let found =
        tokio::task::spawn_blocking(move || launch::find_or_spawn(&Layout::of_process(), &program));
    let socket = found
        .await
        .map_err(CommandError::system)?
        .map_err(|error| {
            CommandError::system(error)
                .hinted("name another engine with --engine docker, --engine podman or DOCKER_HOST")
        })?;
    Ok(format!("unix://{}", socket.display()))
}

/// Reads a boolean variable as docker compose does (behaviours.md B040).
pub(crate) fn is_true(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "1" | "t" | "true" | "y" | "yes"
    )
}
