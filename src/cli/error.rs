//! What a command ends with: an exit status, or an error with its kind, causes and hints.
//!
//! The only place that maps failures to exit codes (behaviours.md B293): 0, 1, 3 where a rolling update was taken back,
//! 130 after Ctrl-C, or the code of a container that the command ran.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use hoist::engine::{EngineError, EngineErrorKind};
use hoist::load::{Diagnostic, LoadError};

use crate::ui::Ui;

/// What a command answers.
pub(crate) type CommandResult = Result<ExitStatus, CommandError>;

/// The exit status of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitStatus(u8);

impl ExitStatus {
    /// All went well.
    pub(crate) const SUCCESS: Self = Self(0);

    /// The exit code of a container or of a command in it.
    pub(crate) fn of_container(code: i64) -> Self {
        Self(u8::try_from(code & 0xff).expect("masked to a byte"))
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.0)
    }
}

/// Whose failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandErrorKind {
    /// The request cannot be met: wrong arguments, unknown service, nothing found.
    User,
    /// The files do not make a project.
    Project,
    /// The engine failed or refused.
    Engine,
    /// A rolling update failed and was taken back as its service asks for; nothing else failed.
    RolledBack,
    /// Ctrl-C, SIGTERM, or a declined prompt.
    Cancelled,
    /// The reader of our output went away.
    BrokenPipe,
    /// Anything else of the system: files, terminals.
    System,
}

/// A command that failed.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: CommandErrorKind,
    error: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
    /// What is to be drawn instead of the error, with the places it is about.
    diagnostics: Vec<Diagnostic>,
    /// What is odd about the files beside that.
    warnings: Vec<Diagnostic>,
}

impl CommandError {
    fn new(kind: CommandErrorKind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            error: error.into(),
            hints: Vec::new(),
            diagnostics: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// A request that cannot be met.
    pub(crate) fn user(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(CommandErrorKind::User, error)
    }

    /// A request that cannot be met, for reasons that have a place in the files.
    pub(crate) fn placed(diagnostics: Vec<Diagnostic>) -> Self {
        let messages: Vec<_> = diagnostics
            .iter()
            .map(|diagnostic| diagnostic.message.clone())
            .collect();
        Self {
            diagnostics,
            ..Self::user(messages.join("\n"))
        }
    }

    /// The same failure, of which nothing is left: the old containers serve again.
    #[must_use]
    pub(crate) fn rolled_back(self) -> Self {
        Self {
            kind: CommandErrorKind::RolledBack,
            ..self
        }
    }

    /// A failure of the system.
    pub(crate) fn system(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(CommandErrorKind::System, error)
    }

    /// The user ended the command.
    pub(crate) fn cancelled() -> Self {
        Self::new(CommandErrorKind::Cancelled, "canceled")
    }

    /// Adds a way out, shown below the error.
    #[must_use]
    pub(crate) fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What the process ends with.
    pub(crate) fn exit_status(&self) -> ExitStatus {
        match self.kind {
            CommandErrorKind::User
            | CommandErrorKind::Project
            | CommandErrorKind::Engine
            | CommandErrorKind::System => ExitStatus(1),
            CommandErrorKind::RolledBack => ExitStatus(3),
            CommandErrorKind::Cancelled => ExitStatus(130),
            CommandErrorKind::BrokenPipe => ExitStatus::SUCCESS,
        }
    }

    /// The error and its causes on one line, as docker compose prints them.
    pub(crate) fn message(&self) -> String {
        chain(self.error.as_ref())
    }

    /// Prints the error, its causes and its hints.
    pub(crate) fn print(&self, ui: &Ui) {
        match self.kind {
            CommandErrorKind::BrokenPipe | CommandErrorKind::Cancelled => {}
            CommandErrorKind::User
            | CommandErrorKind::Project
            | CommandErrorKind::Engine
            | CommandErrorKind::RolledBack
            | CommandErrorKind::System
                if self.diagnostics.is_empty() =>
            {
                ui.error(&self.message(), &self.hints);
            }
            CommandErrorKind::User
            | CommandErrorKind::Project
            | CommandErrorKind::Engine
            | CommandErrorKind::RolledBack
            | CommandErrorKind::System => {
                ui.file_warnings(&self.warnings);
                ui.diagnostics(&self.diagnostics);
            }
        }
    }
}

/// Writes an error and its causes, outermost first.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a string never fails");
        cause = error.source();
    }
    text
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        let unreachable = error.kind == EngineErrorKind::Unreachable;
        let failed = Self::new(CommandErrorKind::Engine, error);
        if unreachable {
            failed.hinted("is the engine running? Choose another with --engine or DOCKER_HOST")
        } else {
            failed
        }
    }
}

impl From<LoadError> for CommandError {
    fn from(error: LoadError) -> Self {
        Self {
            diagnostics: error.diagnostics.clone(),
            warnings: error.warnings.clone(),
            ..Self::new(CommandErrorKind::Project, error)
        }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::new(CommandErrorKind::BrokenPipe, error)
        } else {
            Self::system(error)
        }
    }
}
