//! What keeps an ordinary user from having an engine, each with the way out.

use thiserror::Error;

/// Why there is no nest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// The programs that map ids for users are not there.
    #[error(
        "the built-in engine needs root, or `{program}` to run as an ordinary user: install it (Debian and Ubuntu: `sudo apt install uidmap`, Fedora: `shadow-utils`, Alpine: `shadow-subids`), or use sudo"
    )]
    NoHelper {
        /// `newuidmap` or `newgidmap`.
        program: &'static str,
    },
    /// The user has no ids beside its own.
    #[error(
        "the built-in engine needs root, or ids for the users of containers to run as an ordinary user: `{file}` has no range for `{user}`; add one with `sudo usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}`, which is the line `{user}:{first}:{count}`, or use sudo",
        count = last - first + 1
    )]
    NoRange {
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
        /// The user's name, or number where it has none.
        user: String,
        /// The first id of a range that nobody has.
        first: u32,
        /// The last one.
        last: u32,
    },
    /// The administrator allows ordinary users no user namespaces.
    #[error(
        "the built-in engine needs root: this machine allows ordinary users no user namespaces (`{name}` is {value}); allow them with `sudo sysctl -w {name}={mend}`, or use sudo"
    )]
    Forbidden {
        /// The kernel parameter.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        mend: &'static str,
    },
}
