//! `engine install` and `engine uninstall`: the engine as a systemd unit, so that it is there after a boot and brings
//! back what was running.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::cli::{CommandError, CommandResult, ExitStatus};
use crate::ui::Ui;

const NAME: &str = "hoist.service";

/// Arguments of `engine install` and `engine uninstall`.
#[derive(Debug, Args)]
pub(super) struct UnitArgs {
    /// For this user's systemd instead of the machine's
    #[arg(long)]
    user: bool,
}

/// Arguments of `engine install`.
#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    unit: UnitArgs,
    /// Print the unit instead of installing it
    #[arg(long)]
    pub(super) print: bool,
}

/// Writes the unit, and starts it with every boot from now on.
pub(super) fn install(ui: &Ui, args: &InstallArgs) -> CommandResult {
    let text = unit(&std::env::current_exe()?, &settings(), args.unit.user);
    if args.print {
        ui.print(text)?;
        return Ok(ExitStatus::SUCCESS);
    }
    require_systemd(args.unit.user)?;
    let path = path(args.unit.user)?;
    let failed = |action: &str, error: io::Error| {
        CommandError::user(io::Error::new(
            error.kind(),
            format!("cannot {action} `{}`: {error}", path.display()),
        ))
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed("make the folder of", error))?;
    }
    fs::write(&path, text).map_err(|error| failed("write", error))?;
    systemctl(args.unit.user, &["daemon-reload"])?;
    systemctl(args.unit.user, &["enable", "--now", NAME])?;
    ui.print(format_args!("{} is installed and runs\n", path.display()))?;
    if args.unit.user {
        ui.print("It starts with your first login; `loginctl enable-linger` makes it start with the machine\n")?;
    }
    Ok(ExitStatus::SUCCESS)
}

/// Ends the unit and removes it. Containers run on.
pub(super) fn uninstall(ui: &Ui, args: &UnitArgs) -> CommandResult {
    let path = path(args.user)?;
    if !path.exists() {
        ui.print(format_args!("{} is not there\n", path.display()))?;
        return Ok(ExitStatus::SUCCESS);
    }
    require_systemd(args.user)?;
    systemctl(args.user, &["disable", "--now", NAME])?;
    fs::remove_file(&path)?;
    systemctl(args.user, &["daemon-reload"])?;
    ui.print(format_args!("{} is removed\n", path.display()))?;
    Ok(ExitStatus::SUCCESS)
}

/// What of the environment says where the engine keeps its things.
fn settings() -> Vec<(String, String)> {
    ["HOIST_ROOT", "HOIST_RUN_DIR"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect()
}

fn unit(program: &Path, settings: &[(String, String)], user: bool) -> String {
    let mut environment = String::new();
    for (name, value) in settings {
        environment.push_str("Environment=");
        environment.push_str(&quoted(&format!("{name}={value}")));
        environment.push('\n');
    }
    let network = if user {
        ""
    } else {
        "After=network-online.target nftables.service firewalld.service\nWants=network-online.target\n"
    };
    let target = if user {
        "default.target"
    } else {
        "multi-user.target"
    };
    format!(
        "[Unit]\n\
         Description=hoist, the container engine\n\
         {network}\
         \n\
         [Service]\n\
         ExecStart={} engine\n\
         {environment}\
         # Containers belong to the keeper: they outlive a stop, a restart and an upgrade of the engine.\n\
         KillMode=process\n\
         Delegate=yes\n\
         Restart=always\n\
         RestartSec=1\n\
         LimitNOFILE=1048576\n\
         TasksMax=infinity\n\
         \n\
         [Install]\n\
         WantedBy={target}\n",
        quoted(&program.display().to_string()),
    )
}

/// A word of a unit: systemd expands `%`, and splits at spaces.
fn quoted(word: &str) -> String {
    let word = word
        .replace('%', "%%")
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    if word.contains(char::is_whitespace) {
        format!("\"{word}\"")
    } else {
        word
    }
}

fn path(user: bool) -> Result<PathBuf, CommandError> {
    if !user {
        return Ok(Path::new("/etc/systemd/system").join(NAME));
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    // As the XDG specification has it: a relative path, or none, counts as unset.
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|config| config.is_absolute())
        .or(home);
    config
        .map(|config| config.join("systemd/user").join(NAME))
        .ok_or_else(|| {
            CommandError::user(io::Error::other("cannot find your units: HOME is not set"))
        })
}

fn require_systemd(user: bool) -> Result<(), CommandError> {
    if !Path::new("/run/systemd/system").exists() {
        let text = "systemd does not run on this machine; `hoist engine install --print` shows the unit, whose `ExecStart` another supervisor can run at boot";
        return Err(CommandError::user(io::Error::other(text)));
    }
    if !user && !rustix::process::geteuid().is_root() {
        let text = "installing the engine for the machine needs root: `sudo hoist engine install`, or `--user` for your own systemd";
        return Err(CommandError::user(io::Error::other(text)));
    }
    Ok(())
}

fn systemctl(user: bool, arguments: &[&str]) -> Result<(), CommandError> {
    let scope: &[&str] = if user { &["--user"] } else { &[] };
    let output = Command::new("systemctl")
        .args(scope)
        .args(arguments)
        .output()
        .map_err(|error| {
            let text = format!("cannot run `systemctl {}`: {error}", arguments.join(" "));
            CommandError::user(io::Error::new(error.kind(), text))
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let text = format!("systemctl {} failed: {}", arguments.join(" "), said.trim());
    Err(CommandError::user(io::Error::other(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_names_program_and_places() {
        let settings = [(
            "HOIST_ROOT".to_owned(),
            "/srv/my containers/100%".to_owned(),
        )];
        let text = unit(Path::new("/usr/local/bin/hoist"), &settings, false);
        for line in [
            "ExecStart=/usr/local/bin/hoist engine",
            "Environment=\"HOIST_ROOT=/srv/my containers/100%%\"",
            "KillMode=process",
            "WantedBy=multi-user.target",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        let own = unit(Path::new("/usr/local/bin/hoist"), &[], true);
        assert!(own.contains("WantedBy=default.target") && !own.contains("network-online"));
    }
}
