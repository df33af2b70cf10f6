//! How things look: the streams, and what they can show.
//!
//! Every byte that the binary prints goes through [`Ui`]. Results go to standard output, news (progress, warnings,
//! errors) to standard error (behaviours.md B284). Never calls an engine.

mod build_steps;
mod cut;
pub(crate) mod diagnostic;
mod excerpt;
mod json;
pub(crate) mod log_mux;
mod plain;
mod quiet;
pub(crate) mod renderer;
mod style;
pub(crate) mod table;
pub(crate) mod template;
mod tty;
pub(crate) mod unit;
pub(crate) mod yaml;

use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// What the user asked for, before the terminal is looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct UiSettings {
    /// `--ansi` or `COMPOSE_ANSI`: never, always, auto or empty.
    pub(crate) ansi: String,
    /// `--progress` or `COMPOSE_PROGRESS`: auto, tty, plain, json, quiet or empty.
    pub(crate) progress: String,
    /// `NO_COLOR` is set.
    pub(crate) no_color: bool,
    /// `COMPOSE_STATUS_STDOUT`: news go to standard output.
    pub(crate) status_on_stdout: bool,
    /// `--log-level`: one of logrus's levels, or empty.
    pub(crate) log_level: String,
    /// `--debug` or `--verbose`, which go before `--log-level`.
    pub(crate) debug: bool,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A live table.
    Tty,
    /// A line for each piece of news.
    Plain,
    /// A JSON object on each line.
    Json,
    /// Not at all.
    Quiet,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepState {
    /// Under way.
    Working,
    /// Done.
    Done,
    /// Failed.
    Error,
}

impl StepState {
    fn name(self) -> &'static str {
        match self {
            Self::Working => "Working",
            Self::Done => "Done",
            Self::Error => "Error",
        }
    }
}

/// Whether ANSI control characters may be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// They may.
    On,
    /// They may not.
    Off,
}

/// How much is logged beside results, progress and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LogLevel {
    /// Nothing.
    Error,
    /// Warnings.
    Warning,
    /// What may help to find out why, too.
    Debug,
}

/// A setting that makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UiError {
    /// `--ansi` has an unknown value.
    #[error("invalid value for --ansi. Can be one of never|always|auto, not `{0}`")]
    Ansi(String),
    /// `--progress` has an unknown value.
    #[error("unsupported --progress value \"{0}\"")]
    Progress(String),
    /// `--log-level` has an unknown value.
    #[error("Unable to parse logging level: {0}")]
    LogLevel(String),
    /// `--progress` and `--ansi` contradict each other.
    #[error("can't use --progress {progress} while ANSI support is {ansi}")]
    Contradiction {
        /// The progress asked for.
        progress: &'static str,
        /// What `--ansi` says.
        ansi: &'static str,
    },
}

/// The terminal side of a command.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    progress: Progress,
    stdout_colour: Colour,
    stderr_colour: Colour,
    status_on_stdout: bool,
    /// Whether everything about the project's files is told as JSON, one diagnostic a line.
    diagnostics_as_json: bool,
    log_level: LogLevel,
}

impl Ui {
    /// The same, with everything about the project's files as JSON, one diagnostic a line.
    pub(crate) fn with_diagnostics_as_json(self) -> Self {
        Self {
            diagnostics_as_json: true,
            ..self
        }
    }

    /// Looks at the streams and at what the user asked for.
    pub(crate) fn new(settings: &UiSettings) -> Result<Self, UiError> {
        let colour = |terminal: bool| match (settings.ansi.as_str(), terminal, settings.no_color) {
            ("always", _, _) | ("" | "auto", true, false) => Ok(Colour::On),
            ("never" | "" | "auto", _, _) => Ok(Colour::Off),
            (other, _, _) => Err(UiError::Ansi(other.to_owned())),
        };
        let stderr_terminal = std::io::stderr().is_terminal();
        Ok(Self {
            progress: choose_progress(settings, stderr_terminal)?,
            stdout_colour: colour(std::io::stdout().is_terminal())?,
            stderr_colour: colour(stderr_terminal)?,
            status_on_stdout: settings.status_on_stdout,
            diagnostics_as_json: false,
            log_level: choose_log_level(settings)?,
        })
    }

    /// A `Ui` without settings, for failures before there are any.
    pub(crate) fn plain() -> Self {
        Self {
            progress: Progress::Plain,
            stdout_colour: Colour::Off,
            stderr_colour: Colour::Off,
            status_on_stdout: false,
            diagnostics_as_json: false,
            log_level: LogLevel::Warning,
        }
    }

    /// One that shows no progress; results, warnings and errors are shown as ever.
    pub(crate) fn quieted(&self) -> Self {
        Self {
            progress: Progress::Quiet,
            ..self.clone()
        }
    }

    /// How progress is to be shown.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether results may be coloured.
    pub(crate) fn stdout_colour(&self) -> Colour {
        self.stdout_colour
    }

    /// Whether news may be coloured.
    pub(crate) fn stderr_colour(&self) -> Colour {
        self.stderr_colour
    }

    /// Whether someone sits at standard input.
    #[expect(
        clippy::unused_self,
        reason = "everything about the terminal is asked here"
    )]
    pub(crate) fn stdin_is_terminal(&self) -> bool {
        std::io::stdin().is_terminal()
    }

    /// Whether results go to a terminal.
    #[expect(
        clippy::unused_self,
        reason = "everything about the terminal is asked here"
    )]
    pub(crate) fn stdout_is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Columns and rows of the terminal, standard output's or else standard error's.
    #[expect(
        clippy::unused_self,
        reason = "everything about the terminal is asked here"
    )]
    pub(crate) fn terminal_size(&self) -> Option<(u16, u16)> {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout())
            .or_else(|_| rustix::termios::tcgetwinsize(rustix::stdio::stderr()))
            .ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }

    /// Prints a part of the result, as it is (no line end is added).
    #[expect(clippy::unused_self, reason = "all output goes through the Ui")]
    pub(crate) fn print(&self, text: impl Display) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        write!(out, "{text}")?;
        out.flush()
    }

    /// Prints bytes of the result, as they are.
    #[expect(clippy::unused_self, reason = "all output goes through the Ui")]
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Passes bytes on to standard error, as they are.
    #[expect(clippy::unused_self, reason = "all output goes through the Ui")]
    pub(crate) fn print_error_bytes(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stderr().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Prints a line of news. A reader that went away is no reason to stop the work.
    pub(crate) fn status(&self, line: impl Display) {
        if self.status_on_stdout {
            drop(writeln!(std::io::stdout().lock(), "{line}"));
        } else {
            drop(writeln!(std::io::stderr().lock(), "{line}"));
        }
    }

    /// Shows a step of the work on a resource: `Container p-web-1` is `Killing`, then `Killed`.
    pub(crate) fn step(&self, state: StepState, id: &str, text: &str) {
        self.step_with(state, id, text, "");
    }

    /// Shows a step with more about it.
    pub(crate) fn step_with(&self, state: StepState, id: &str, text: &str, details: &str) {
        match (self.progress, state) {
            (Progress::Quiet, _) | (Progress::Tty, StepState::Working) => {}
            (Progress::Plain, _) => self.status(format_args!(" {id} {text} {details}")),
            (Progress::Json, _) => self.status(step_json(state, id, text, details)),
            (Progress::Tty, StepState::Done) => {
                self.status(format_args!(" ✔ {id} {text} {details}"));
            }
            (Progress::Tty, StepState::Error) => {
                self.status(format_args!(" ✘ {id} {text} {details}"));
            }
        }
    }

    /// Prints a warning in the form that docker compose's readers look for (behaviours.md B297).
    pub(crate) fn warn(&self, message: impl Display) {
        self.log(LogLevel::Warning, "warning", message);
    }

    /// Prints what may help to find out why something is as it is, where `--debug` asks for it.
    pub(crate) fn debug(&self, message: impl Display) {
        self.log(LogLevel::Debug, "debug", message);
    }

    /// Says which files a project was read from, where `--debug` asks for it.
    pub(crate) fn files_read(&self, files: &[String]) {
        for file in files {
            self.debug(format_args!("read {file}"));
        }
    }

    fn log(&self, level: LogLevel, name: &str, message: impl Display) {
        if level > self.log_level {
            return;
        }
        let time = jiff::ZonedDateTime::now()
            .strftime("%Y-%m-%dT%H:%M:%S%:z")
            .to_string();
        let message = message.to_string();
        drop(writeln!(
            std::io::stderr().lock(),
            "time=\"{time}\" level={name} msg={message:?}"
        ));
    }

    /// Prints what is odd about the project's files: with excerpts for people, on one line each for programs.
    pub(crate) fn file_warnings(&self, warnings: &[hoist::load::Diagnostic]) {
        if self.log_level < LogLevel::Warning && !self.diagnostics_as_json {
            return;
        }
        if self.tells_json() || self.progress == Progress::Tty {
            self.diagnostics(warnings);
            return;
        }
        for warning in warnings {
            self.warn(warning);
        }
    }

    fn tells_json(&self) -> bool {
        self.diagnostics_as_json || self.progress == Progress::Json
    }

    /// Prints what is wrong with the project's files.
    pub(crate) fn diagnostics(&self, diagnostics: &[hoist::load::Diagnostic]) {
        let mut err = std::io::stderr().lock();
        if self.tells_json() {
            for found in diagnostics {
                drop(writeln!(err, "{}", diagnostic::to_json(found)));
            }
            return;
        }
        drop(write!(
            err,
            "{}",
            diagnostic::draw(diagnostics, self.stderr_colour)
        ));
    }

    /// Prints an error and the ways out.
    pub(crate) fn error(&self, message: &str, hints: &[String]) {
        let mut err = std::io::stderr().lock();
        if self.diagnostics_as_json {
            let line = serde_json::json!({
                "severity": "error", "code": "command", "message": message, "help": hints, "related": [],
            });
            drop(writeln!(err, "{line}"));
            return;
        }
        if self.progress == Progress::Json {
            let line = serde_json::json!({ "error": true, "message": message });
            drop(writeln!(err, "{line}"));
            return;
        }
        drop(writeln!(err, "{}", excerpt::visible(message)));
        for hint in hints {
            drop(writeln!(err, "  help: {}", excerpt::visible(hint)));
        }
    }
}

fn step_json(state: StepState, id: &str, text: &str, details: &str) -> serde_json::Value {
    let mut line = serde_json::json!({ "id": id, "status": state.name(), "text": text });
    if !details.is_empty() {
        line["details"] = details.into();
    }
    line
}

/// The level of docker compose's logger that a flag names; what hoist has none of is the next one.
fn choose_log_level(settings: &UiSettings) -> Result<LogLevel, UiError> {
    let chosen = match settings.log_level.to_ascii_lowercase().as_str() {
        "panic" | "fatal" | "error" => LogLevel::Error,
        "" | "warn" | "warning" | "info" => LogLevel::Warning,
        "debug" | "trace" => LogLevel::Debug,
        _ => return Err(UiError::LogLevel(settings.log_level.clone())),
    };
    Ok(if settings.debug {
        LogLevel::Debug
    } else {
        chosen
    })
}

fn choose_progress(settings: &UiSettings, terminal: bool) -> Result<Progress, UiError> {
    match (settings.progress.as_str(), settings.ansi.as_str()) {
        ("" | "auto", ansi) if terminal && ansi != "never" => Ok(Progress::Tty),
        ("tty", "never") => Err(UiError::Contradiction {
            progress: "tty",
            ansi: "disabled",
        }),
        ("tty", _) => Ok(Progress::Tty),
        ("plain", "always") => Err(UiError::Contradiction {
            progress: "plain",
            ansi: "forced",
        }),
        ("" | "auto" | "plain", _) => Ok(Progress::Plain),
        ("json", _) => Ok(Progress::Json),
        ("quiet" | "none", _) => Ok(Progress::Quiet),
        (other, _) => Err(UiError::Progress(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, UiSettings, choose_progress};

    fn settings(progress: &str, ansi: &str) -> UiSettings {
        UiSettings {
            progress: progress.to_owned(),
            ansi: ansi.to_owned(),
            ..UiSettings::default()
        }
    }

    #[test]
    fn progress_is_live_only_on_a_terminal() -> Result<(), super::UiError> {
        assert_eq!(choose_progress(&settings("", ""), true)?, Progress::Tty);
        assert_eq!(
            choose_progress(&settings("auto", ""), false)?,
            Progress::Plain
        );
        assert_eq!(
            choose_progress(&settings("", "never"), true)?,
            Progress::Plain
        );
        Ok(())
    }

    #[test]
    fn progress_refuses_what_contradicts_ansi() {
        assert!(choose_progress(&settings("tty", "never"), true).is_err());
        assert!(choose_progress(&settings("plain", "always"), true).is_err());
        assert!(choose_progress(&settings("fancy", ""), true).is_err());
    }
}
