//! `cp` and mounts, asked of the engine while the container does its worst: CVE-2018-15664, CVE-2019-14271.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use super::super::fixture::{TestResult, make_root};
use crate::common::env::{CommandOutput, TestEnvironment};
use crate::common::has_root;

/// A project of one service `box` with a folder of the host that nobody gave it.
struct Project {
    env: TestEnvironment,
}

impl Project {
    fn up(test: &str, script: &str, more: &str) -> Result<Option<Self>, Box<dyn Error>> {
        if !has_root(test) {
            return Ok(None);
        }
        let env = TestEnvironment::new()?;
        make_root(&env.path("image"))?;
        fs::create_dir_all(env.path("outside"))?;
        fs::write(env.path("outside/file"), "secret of the host")?;
        let file = format!(
            "name: {}\nservices:\n  box:\n    image: rootfs:{}\n    network_mode: none\n    stop_signal: KILL\n    \
             command: [sh, -c, {}]\n{more}",
            test.replace('_', "-"),
            env.path("image").display(),
            serde_json::to_string(script)?,
        );
        fs::write(env.path("compose.yaml"), file)?;
        let _up = env.run(["up", "-d"])?.success();
        Ok(Some(Self { env }))
    }

    fn copy(&self, from: &str, to: &str) -> Result<CommandOutput, Box<dyn Error>> {
        Ok(self.env.run(["cp", from, to])?)
    }

    fn outside(&self) -> PathBuf {
        self.env.path("outside")
    }

    fn untouched(&self) -> TestResult {
        let names: Vec<_> = fs::read_dir(self.outside())?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        assert_eq!(names, ["file"]);
        assert_eq!(
            fs::read_to_string(self.outside().join("file"))?,
            "secret of the host"
        );
        Ok(())
    }
}

#[test]
fn a_folder_that_becomes_a_link_leads_no_copy_out() -> TestResult {
    // CVE-2018-15664: between looking at a path and using it, the container makes it a link to the host's.
    let script = "mkdir -p /data/dir; echo mine > /data/dir/file; cd /data; while [ ! -e link ]; do :; done; \
                  while :; do mv dir real; mv link dir; mv dir link; mv real dir; done";
    let Some(project) = Project::up("copy_race", script, "")? else {
        return Ok(());
    };
    let way = project.env.path("way");
    fs::write(&way, "planted")?;
    // The container's link names the path that the host's folder has.
    let link = format!("ln -s {} /data/link", project.outside().display());
    let _linked = project
        .env
        .run(["exec", "-T", "box", "sh", "-c", &link])?
        .success();
    for number in 0..12 {
        let into = project.env.path(format!("got{number}"));
        drop(project.copy("box:/data/dir/file", &into.display().to_string()));
        if let Ok(text) = fs::read_to_string(&into) {
            assert_eq!(text, "mine\n");
        }
        drop(project.copy(&way.display().to_string(), "box:/data/dir/planted"));
        project.untouched()?;
    }
    Ok(())
}

#[test]
fn a_link_to_a_folder_of_the_host_is_followed_inside_only() -> TestResult {
    let Some(project) = Project::up("copy_link", "sleep 1000", "")? else {
        return Ok(());
    };
    let outside = project.outside().display().to_string();
    let links = format!(
        "ln -s {outside} /to; ln -s {outside}/file /file; ln -s /proc/1/root{outside} /by; ln -s ../../../..{outside} /up"
    );
    let _made = project
        .env
        .run(["exec", "-T", "box", "sh", "-c", &links])?
        .success();
    let got = project.env.path("got");
    let got_text = got.display().to_string();
    for path in [
        "/to/file",
        "/by/file",
        "/up/file",
        "/proc/1/root/../outside/file",
    ] {
        let _refused = project.copy(&format!("box:{path}"), &got_text)?;
        assert!(!got.exists(), "{path}");
    }
    let source = project.env.path("compose.yaml").display().to_string();
    for path in [
        "/to/planted",
        "/to/file",
        "/by/planted",
        "/up/planted",
        "/file",
    ] {
        let _copied = project.copy(&source, &format!("box:{path}"))?;
        project.untouched()?;
    }
    Ok(())
}

#[test]
fn devices_and_queues_are_copied_as_such_and_never_opened() -> TestResult {
    let script = "mkdir /data; mknod /data/zero c 1 5; mknod /data/disk b 7 0; mkfifo /data/queue; \
                  echo kept > /data/kept; sleep 1000";
    let Some(project) = Project::up("copy_devices", script, "")? else {
        return Ok(());
    };
    let _waited = project.env.run([
        "exec",
        "-T",
        "box",
        "sh",
        "-c",
        "while [ ! -e /data/kept ]; do :; done",
    ])?;
    let output = std::process::Command::new("tar")
        .args(["-tv"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut tar = output?;
    let archive = project
        .env
        .command(["cp", "box:/data", "-"])
        .stdout(tar.stdin.take().ok_or("no input")?)
        .status()?;
    assert!(archive.success());
    let listed = String::from_utf8(tar.wait_with_output()?.stdout)?;
    let kinds: String = listed
        .lines()
        .filter_map(|line| line.chars().next())
        .collect();
    assert_eq!(kinds, "db-pc", "{listed}");
    Ok(())
}

#[test]
fn a_file_that_becomes_a_device_is_not_read() -> TestResult {
    let script = "mkdir /data; cd /data; dd if=/bin/busybox of=a bs=4096 count=1; mknod b c 1 5; \
                  while :; do mv a c; mv b a; mv a b; mv c a; done";
    let Some(project) = Project::up("copy_swap", script, "")? else {
        return Ok(());
    };
    let truth = fs::read(project.env.path("image/bin/busybox"))?;
    for number in 0..12 {
        let into = project.env.path(format!("got{number}"));
        drop(project.copy("box:/data/a", &into.display().to_string()));
        if into.is_file() {
            assert!(truth.starts_with(&fs::read(&into)?));
        }
    }
    Ok(())
}

#[test]
fn nothing_of_the_container_is_loaded_for_a_copy() -> TestResult {
    // CVE-2019-14271: a copy inside the container's root loads its name service libraries. Ours loads none at all.
    const INTERPRETER: usize = 3;
    let program = fs::read(env!("CARGO_BIN_EXE_hoist"))?;
    let number = |at: usize, size: usize| {
        program[at..at + size]
            .iter()
            .rev()
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    for index in 0..count {
        assert_ne!(number(table + index * size, 4), INTERPRETER);
    }
    Ok(())
}

#[test]
fn a_part_of_a_volume_shows_no_other_part_and_nothing_of_the_host() -> TestResult {
    let more = "    volumes:\n      - {type: volume, source: data, target: /data, volume: {subpath: part}}\n";
    let test = "volume_part";
    let script = "echo inside > /data/file; sleep 1000";
    if !has_root(test) {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    make_root(&env.path("image"))?;
    fs::create_dir_all(env.path("outside"))?;
    fs::write(env.path("outside/file"), "secret of the host")?;
    let image = env.path("image").display().to_string();
    let command = serde_json::to_string(script)?;
    let file = format!(
        "name: volume-part\nservices:\n  first:\n    image: rootfs:{image}\n    network_mode: none\n    \
         command: [sh, -c, 'mkdir -p /all/part; echo other > /all/other']\n    volumes: ['data:/all']\n  \
         box:\n    image: rootfs:{image}\n    network_mode: none\n    stop_signal: KILL\n    \
         command: [sh, -c, {command}]\n    depends_on: {{first: {{condition: service_completed_successfully}}}}\n{more}\
         volumes: {{data: {{}}}}\n"
    );
    fs::write(env.path("compose.yaml"), file)?;
    let _up = env.run(["up", "-d"])?.success();
    let got = env.path("got").display().to_string();
    let _copied = env.run(["cp", "box:/data/file", &got])?.success();
    let _stopped = env.run(["stop"])?.success();
    let _copied = env.run(["cp", "box:/data/file", &got])?.success();
    assert_eq!(fs::read_to_string(env.path("got"))?, "inside\n");
    let _refused = env.run([
        "cp",
        "box:/data/other",
        &env.path("not").display().to_string(),
    ])?;
    assert!(!env.path("not").exists());

    // The part becomes a link to the host's folder: neither a copy nor a start follows it.
    let swap = format!(
        "rm -r /all/part; ln -s {} /all/part",
        env.path("outside").display()
    );
    let _ran = env
        .run(["run", "--rm", "-T", "first", "sh", "-c", &swap])?
        .success();
    let _refused = env.run([
        "cp",
        "box:/data/file",
        &env.path("not").display().to_string(),
    ])?;
    assert!(!env.path("not").exists());
    assert_ne!(env.run(["start", "box"])?.status, 0);
    Ok(())
}
