//! `engine install` and `engine uninstall`, with a stand-in for `systemctl` that notes how it is called.
//!
//! The commands run in a mount namespace of their own, in which systemd seems to run and `/etc` is a folder of the test.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::{TestResult, has_root};

/// Makes the machine of the test out of the folder `$1`, then runs the rest.
const MACHINE: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && mount --bind \"$1\" /etc && \
    shift && exec \"$@\"";

struct Machine {
    env: TestEnvironment,
}

impl Machine {
    fn new() -> std::io::Result<Self> {
        let env = TestEnvironment::new()?;
        for folder in ["etc", "bin"] {
            fs::create_dir(env.path(folder))?;
        }
        let machine = Self { env };
        machine.systemctl("exit 0")?;
        Ok(machine)
    }

    /// A `systemctl` that notes its arguments, and ends with a line of shell.
    fn systemctl(&self, end: &str) -> std::io::Result<()> {
        let program = self.env.path("bin/systemctl");
        let calls = self.env.path("calls");
        let script = format!("#!/bin/sh\necho \"$*\" >> '{}'\n{end}\n", calls.display());
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
    }

    /// `hoist engine …` on this machine; more of the environment may be given.
    fn engine(
        &self,
        arguments: &[&str],
        more: &[(&str, &OsStr)],
    ) -> std::io::Result<CommandOutput> {
        self.on(MACHINE, arguments, more)
    }

    fn on(
        &self,
        machine: &str,
        arguments: &[&str],
        more: &[(&str, &OsStr)],
    ) -> std::io::Result<CommandOutput> {
        let inner = self.env.command([&["engine"], arguments].concat());
        let mut paths = vec![self.env.path("bin")];
        paths.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let paths = std::env::join_paths(paths).map_err(std::io::Error::other)?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", machine, "sh"])
            .arg(self.env.path("etc"))
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(self.env.path(""))
            .env_clear()
            .envs(
                inner
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("PATH", paths)
            .envs(more.iter().copied());
        output(&mut command)
    }

    /// How `systemctl` was called since the last time this was asked.
    fn calls(&self) -> std::io::Result<String> {
        let file = self.env.path("calls");
        let calls = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, "")?;
        Ok(calls)
    }
}

#[test]
fn the_machine_s_unit_is_written_enabled_and_taken_away() -> TestResult {
    if !has_root("engine install") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let told = machine.engine(&["install"], &[])?.success();
    assert!(
        told.stdout
            .contains("/etc/systemd/system/hoist.service is installed and runs"),
        "{told}"
    );
    assert_eq!(
        machine.calls()?,
        "daemon-reload\nenable --now hoist.service\n"
    );
    let file = machine.env.path("etc/systemd/system/hoist.service");
    let unit = fs::read_to_string(&file)?;
    for line in [
        format!("ExecStart={} engine", env!("CARGO_BIN_EXE_hoist")),
        format!(
            "Environment=HOIST_ROOT={}",
            machine.env.path("root").display()
        ),
        format!(
            "Environment=HOIST_RUN_DIR={}",
            machine.env.path("run").display()
        ),
        "KillMode=process".to_owned(),
        "WantedBy=multi-user.target".to_owned(),
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
    }
    let shown = machine.engine(&["install", "--print"], &[])?.success();
    assert_eq!(shown.stdout, unit);
    assert_eq!(machine.calls()?, "", "showing it changes nothing");

    let told = machine.engine(&["uninstall"], &[])?.success();
    assert!(told.stdout.contains("hoist.service is removed"), "{told}");
    assert_eq!(
        machine.calls()?,
        "disable --now hoist.service\ndaemon-reload\n"
    );
    assert!(!file.exists());
    let told = machine.engine(&["uninstall"], &[])?.success();
    assert!(told.stdout.contains("hoist.service is not there"), "{told}");
    assert_eq!(machine.calls()?, "");
    Ok(())
}

#[test]
fn a_user_s_unit_is_of_the_user_s_systemd() -> TestResult {
    if !has_root("engine install --user") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let config = machine.env.path("settings");
    let home: PathBuf = machine.env.path(".config");
    // What the XDG specification says: a relative path counts as none.
    for (config, folder) in [
        (config.as_os_str(), &config),
        (OsStr::new("relative"), &home),
        (OsStr::new(""), &home),
    ] {
        let more = [("XDG_CONFIG_HOME", config)];
        let file = folder.join("systemd/user/hoist.service");
        let told = machine.engine(&["install", "--user"], &more)?.success();
        assert!(told.stdout.contains(&file.display().to_string()), "{told}");
        assert!(told.stdout.contains("loginctl enable-linger"), "{told}");
        let calls = "--user daemon-reload\n--user enable --now hoist.service\n";
        assert_eq!(machine.calls()?, calls);
        let unit = fs::read_to_string(&file)?;
        assert!(unit.contains("WantedBy=default.target\n"), "{unit}");
        assert!(unit.contains("Delegate=yes\n"), "{unit}");

        let _told = machine.engine(&["uninstall", "--user"], &more)?.success();
        let calls = "--user disable --now hoist.service\n--user daemon-reload\n";
        assert_eq!(machine.calls()?, calls);
        assert!(!file.exists());
    }
    assert!(!machine.env.path("etc/systemd").exists());
    Ok(())
}

#[test]
fn what_systemd_refuses_and_what_is_not_there_is_said() -> TestResult {
    if !has_root("engine install") {
        return Ok(());
    }
    let machine = Machine::new()?;
    machine.systemctl("echo 'Unit is masked.' >&2; exit 1")?;
    let refused = machine.engine(&["install"], &[])?;
    assert_ne!(refused.status, 0);
    assert!(
        refused
            .stderr
            .contains("systemctl daemon-reload failed: Unit is masked."),
        "{refused}"
    );
    let without = "mount -t tmpfs none /run && shift && exec \"$@\"";
    let absent = machine.on(without, &["install"], &[])?;
    assert_ne!(absent.status, 0);
    assert!(
        absent
            .stderr
            .contains("systemd does not run on this machine")
            && absent.stderr.contains("hoist engine install --print"),
        "{absent}"
    );
    // Nobody's user of a namespace of its own.
    let nobody = MACHINE.replace("exec", "exec unshare --user");
    let refused = machine.on(&nobody, &["install"], &[])?;
    assert_ne!(refused.status, 0);
    assert!(
        refused.stderr.contains("needs root") && refused.stderr.contains("--user"),
        "{refused}"
    );
    Ok(())
}
