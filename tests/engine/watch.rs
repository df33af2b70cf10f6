//! `watch` and `up --watch` on the built-in engine: files that change arrive in containers, or make them anew.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::env::TestEnvironment;
use crate::common::{has_root, skip};

type Outcome = Result<(), Box<dyn Error>>;

/// A command that goes on, and the lines that it has printed.
struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(env: &TestEnvironment, args: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut child = env
            .command(["--progress", "plain"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, lines) = channel();
        read_lines(child.stdout.take().ok_or("no output")?, sender.clone());
        read_lines(child.stderr.take().ok_or("no errors")?, sender);
        Ok(Self {
            child,
            lines,
            seen: Vec::new(),
        })
    }

    /// Waits for a line with this text, and forgets it; the two outputs come in any order.
    fn until(&mut self, text: &str) -> Outcome {
        loop {
            if let Some(found) = self.seen.iter().position(|line| line.contains(text)) {
                self.seen.remove(found);
                return Ok(());
            }
            let line = self.lines.recv_timeout(Duration::from_mins(1));
            let line = line.map_err(|error| format!("{text}: {error}: {:#?}", self.seen))?;
            self.seen.push(line);
        }
    }

    /// Ends the command as Ctrl-C does; answers its exit status.
    fn interrupt(mut self) -> Result<Option<i32>, Box<dyn Error>> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("no pid")?;
        kill_process(pid, Signal::INT)?;
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

fn project(compose: &str) -> Result<TestEnvironment, Box<dyn Error>> {
    let env = TestEnvironment::new()?;
    std::fs::create_dir(env.path("src"))?;
    std::fs::write(env.path("src/first"), "1")?;
    std::fs::write(
        env.path("compose.yaml"),
        format!("name: watched\n{compose}"),
    )?;
    Ok(env)
}

fn files_in(env: &TestEnvironment, folder: &str) -> Result<String, Box<dyn Error>> {
    let listed = env.run(["exec", "-T", "web", "ls", folder])?.success();
    Ok(listed.stdout.replace('\n', " ").trim_end().to_owned())
}

const SYNC: &str = "
services:
  web:
    image: rootfs:/
    command: sleep 1000
    network_mode: none
    stop_grace_period: 0s
    develop:
      watch:
        - path: ./src
          action: sync+exec
          target: /watched
          initial_sync: true
          ignore: ['*.tmp']
          exec: { command: [sh, -c, 'echo files: $$(ls /watched)'] }
";

#[test]
fn changed_files_arrive_and_removed_files_go() -> Outcome {
    if !has_root("watch sync") {
        return Ok(());
    }
    let env = project(SYNC)?;
    let mut watch = Running::start(&env, &["watch"])?;
    watch.until("Watch enabled")?;
    assert_eq!(files_in(&env, "/watched")?, "first", "by initial_sync");
    std::fs::write(env.path("src/ignored.tmp"), "1")?;
    std::fs::create_dir(env.path("src/deep"))?;
    std::fs::write(env.path("src/deep/second"), "2")?;
    // One batch of two changes, or two where the machine was slow in between.
    watch.until("web-1 -> files: deep first")?;
    if files_in(&env, "/watched/deep")?.is_empty() {
        watch.until("web-1 -> files: deep first")?;
    }
    assert_eq!(files_in(&env, "/watched/deep")?, "second");
    std::fs::remove_file(env.path("src/first"))?;
    watch.until("web-1 -> files: deep")?;
    assert_eq!(files_in(&env, "/watched")?, "deep");
    let second = env.run(["watch", "--no-up"])?;
    assert_eq!(second.status, 1);
    assert!(
        second.stderr.contains("cannot take exclusive lock"),
        "{second}"
    );
    assert_eq!(watch.interrupt()?, Some(130));
    assert_eq!(files_in(&env, "/watched")?, "deep", "the containers run on");
    Ok(())
}

#[test]
fn attached_up_shows_the_watch_among_the_logs_and_outlives_a_restart() -> Outcome {
    if !has_root("up --watch") {
        return Ok(());
    }
    let env = project(
        "
services:
  web:
    image: rootfs:/
    command: sh -c 'echo begun with $$(cat /conf); sleep 1000'
    network_mode: none
    stop_grace_period: 0s
    develop: { watch: [{ path: ./src/first, action: sync+restart, target: /conf }] }
",
    )?;
    let mut up = Running::start(&env, &["up", "--watch"])?;
    up.until("web-1  | begun with")?;
    up.until("⦿ Watch enabled")?;
    std::fs::write(env.path("src/first"), "changed")?;
    up.until("web-1  | begun with changed")?;
    assert_eq!(up.interrupt()?, Some(130));
    let nothing = env.run(["ps", "-q"])?.success();
    assert_eq!(nothing.stdout, "", "Ctrl-C stops what `up` started");
    Ok(())
}

#[test]
fn a_changed_source_is_built_and_its_containers_are_made_anew() -> Outcome {
    if !has_root("watch rebuild") {
        return Ok(());
    }
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        skip("watch rebuild", "busybox-static");
        return Ok(());
    };
    let env = project(
        "
services:
  web:
    build: { context: ./src, dockerfile_inline: \"FROM scratch\\nCOPY --chmod=755 busybox /bin/\\nCOPY first /first\\n\" }
    command: [/bin/busybox, sleep, '1000']
    network_mode: none
    stop_grace_period: 0s
    develop: { watch: [{ path: ./src, action: rebuild }] }
  other:
    image: rootfs:/
    command: sleep 1000
    network_mode: none
    stop_grace_period: 0s
",
    )?;
    std::fs::write(env.path("src/busybox"), busybox)?;
    let mut watch = Running::start(&env, &["watch"])?;
    watch.until("Container watched-web-1 Started")?;
    watch.until("Watch enabled")?;
    let before = env.run(["ps", "-q", "other"])?.success().stdout;
    std::fs::write(env.path("src/first"), "a change")?;
    watch.until("Rebuilding service(s) [\"web\"] after changes were detected...")?;
    watch.until("service(s) [\"web\"] successfully built")?;
    watch.until("Container watched-web-1 Started")?;
    let read = ["exec", "-T", "web", "/bin/busybox", "cat", "/first"];
    assert_eq!(env.run(read)?.success().stdout, "a change");
    assert_eq!(env.run(["ps", "-q", "other"])?.success().stdout, before);
    assert_eq!(watch.interrupt()?, Some(130));
    Ok(())
}

#[test]
fn what_cannot_be_watched_is_refused_before_anything_is_made() -> Outcome {
    let env = project("services: { web: { image: x } }\n")?;
    let refused = |args: &[&str]| -> Result<String, Box<dyn Error>> {
        let refused = env.run(args)?;
        assert_eq!(refused.status, 1, "{refused}");
        Ok(refused.stderr)
    };
    let nothing = "none of the selected services is configured for watch, consider setting a 'develop' section";
    assert!(refused(&["watch"])?.contains(nothing));
    assert!(refused(&["up", "--watch", "-d"])?.contains("--detach"));
    assert!(refused(&["up", "--watch", "--no-build"])?.contains("incompatible"));
    Ok(())
}
