//! What goes on beside the logs of an attached `up`: the watch, and the keys of the menu (behaviours.md B225, B229).
//!
//! ```text
//! w ──> the watch begins or ends      d ──> `up` ends, the containers run on
//! ```

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use hoist::watch::Rules;

use super::UpArgs;
use super::follow::{Follower, Written};
use crate::cli::CommandError;
use crate::cli::context::is_true;
use crate::cli::reconcile::Session;
use crate::cli::terminal::{KeyMode, standard_input};
use crate::cli::watch::{Activity, Log, News, Watching};
use crate::ui::Progress;

/// What `up` does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It looks at its containers again.
    Again,
    /// It ends.
    Detach,
}

/// The watch and the keys.
pub(super) struct Beside<'a> {
    session: &'a Session<'a>,
    rules: Option<Rules>,
    /// Whether the watch begins with the containers.
    watch: bool,
    watching: Option<Running<'a>>,
    keys: Option<Keys>,
    follower: Arc<Follower>,
    out: mpsc::UnboundedSender<Written>,
}

/// A watch that runs.
struct Running<'a> {
    activity: Arc<Activity>,
    run: Pin<Box<dyn Future<Output = Result<(), CommandError>> + 'a>>,
}

/// The keyboard.
struct Keys {
    _mode: KeyMode,
    pieces: mpsc::Receiver<Vec<u8>>,
}

impl<'a> Beside<'a> {
    /// Reads the rules, and refuses `--watch` where there are none.
    pub(super) fn new(
        session: &'a Session<'a>,
        args: &UpArgs,
        (follower, out): (Arc<Follower>, mpsc::UnboundedSender<Written>),
    ) -> Result<Self, CommandError> {
        let rules = match Rules::of(&session.project, !args.wishes.images.no_build) {
            Ok(rules) => Some(rules),
            Err(error) if args.watch => return Err(CommandError::user(error)),
            Err(_) => None,
        };
        let keys = wants_menu(session, args).then(KeyMode::enter).flatten();
        Ok(Self {
            session,
            rules,
            watch: args.watch,
            watching: None,
            keys: keys.map(|mode| Keys {
                _mode: mode,
                pieces: standard_input(),
            }),
            follower,
            out,
        })
    }

    /// The containers run: the watch begins where it was asked for, and the keys are shown.
    pub(super) fn begin(&mut self) -> Result<(), CommandError> {
        if self.watch {
            self.begin_watch()?;
        }
        self.show_keys();
        Ok(())
    }

    fn begin_watch(&mut self) -> Result<(), CommandError> {
        let Some(rules) = &self.rules else {
            return Ok(());
        };
        let out = self.out.clone();
        let log: Log = Arc::new(move |line: &str| drop(out.send(Written::Watch(line.to_owned()))));
        let mut watching = Watching::new(self.session.fork(), rules.clone(), log)?;
        watching.news = News::AmongLogs;
        watching.watcher = Some(Arc::clone(&self.follower) as _);
        self.watching = Some(Running {
            activity: watching.activity(),
            run: Box::pin(watching.run()),
        });
        Ok(())
    }

    /// Whether a watch runs.
    pub(super) fn watches(&self) -> bool {
        self.watching.is_some()
    }

    /// Whether containers may be gone only for a moment.
    pub(super) fn is_busy(&self) -> bool {
        self.watching
            .as_ref()
            .is_some_and(|watching| watching.activity.is_busy())
    }

    /// Lets the watch work until something is to be looked at.
    pub(super) async fn next(&mut self) -> Result<Turn, CommandError> {
        let watching = async {
            match &mut self.watching {
                Some(watching) => {
                    let activity = Arc::clone(&watching.activity);
                    tokio::select! {
                        outcome = &mut watching.run => outcome,
                        () = activity.batch_ended() => Ok(()),
                    }
                }
                None => std::future::pending().await,
            }
        };
        let key = async {
            match &mut self.keys {
                Some(keys) => keys.pieces.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = watching => outcome.map(|()| Turn::Again),
            piece = key => self.pressed(piece),
        }
    }

    fn pressed(&mut self, piece: Option<Vec<u8>>) -> Result<Turn, CommandError> {
        let Some(piece) = piece else {
            // The terminal is gone.
            self.keys = None;
            return Ok(Turn::Again);
        };
        for key in piece {
            match key.to_ascii_lowercase() {
                b'd' => return Ok(Turn::Detach),
                b'w' if self.is_busy() => {}
                b'w' if self.watching.is_some() => {
                    self.watching = None;
                    self.say("Watch disabled");
                    self.show_keys();
                }
                b'w' if self.rules.is_some() => {
                    self.begin_watch()?;
                    self.show_keys();
                }
                b'w' => self.say("no service has a 'develop' section to watch"),
                _ => {}
            }
        }
        Ok(Turn::Again)
    }

    fn say(&self, line: &str) {
        // Who writes the logs ends after us.
        drop(self.out.send(Written::Watch(line.to_owned())));
    }

    fn show_keys(&self) {
        if self.keys.is_some() {
            let text = menu(self.rules.is_some(), self.watching.is_some());
            drop(self.out.send(Written::Menu(text)));
        }
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        drop(self.out.send(Written::Menu(String::new())));
    }
}

/// The line of keys.
fn menu(can_watch: bool, watches: bool) -> String {
    let key = |key: &str, text: &str| format!("\x1b[1m{key}\x1b[0m {text}   ");
    let watch = match (can_watch, watches) {
        (false, _) => String::new(),
        (true, false) => key("w", "Enable Watch"),
        (true, true) => key("w", "Disable Watch"),
    };
    format!("{watch}{}", key("d", "Detach"))
        .trim_end()
        .to_owned()
}

/// The menu is for people at a terminal, unless they do not want it.
fn wants_menu(session: &Session<'_>, args: &UpArgs) -> bool {
    let ui = session.ui;
    let wish = args
        .menu
        .or_else(|| {
            session
                .project
                .environment
                .get("COMPOSE_MENU")
                .map(|text| is_true(text))
        })
        .unwrap_or(true);
    wish && ui.progress() == Progress::Tty && ui.stdin_is_terminal() && ui.stdout_is_terminal()
}

#[cfg(test)]
mod tests {
    use super::menu;

    #[test]
    fn the_menu_offers_what_can_be_done() {
        let plain = |text: String| text.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(plain(menu(false, false)), "d Detach");
        assert_eq!(plain(menu(true, false)), "w Enable Watch   d Detach");
        assert_eq!(plain(menu(true, true)), "w Disable Watch   d Detach");
    }
}
