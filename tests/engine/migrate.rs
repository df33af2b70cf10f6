//! `up --migrate-volumes`: a volume that is another one now keeps what is in it, on the built-in engine.

use std::error::Error;
use std::path::Path;

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::{has_root, skip};

type TestResult = Result<(), Box<dyn Error>>;

const COMPOSE: &str = "name: moved
services:
  web:
    image: ${IMAGE:-rootfs:/}
    command: [/bin/busybox, sleep, '1000']
    init: true
    network_mode: none
    stop_grace_period: 0s
    volumes: [data:/data]
volumes:
  data: {labels: {edition: '${VERSION:-1}'}}
";

/// Everything of a file that a copy could lose.
const FILL: &str = "cd /data && mkdir -p sub/.hidden && echo precious > sub/.hidden/file && \
    ln sub/.hidden/file twin && ln -s twin link && chown -R 123:45 sub && chmod 4750 sub/.hidden/file";
const SHOW: &str =
    "cd /data && stat -c '%n %u:%g %a' sub/.hidden/file && cat link && readlink link";
const SHOWN: &str = "sub/.hidden/file 123:45 4750\nprecious\ntwin\n";

struct Moved(TestEnvironment);

impl Moved {
    /// A project whose volume has something in it.
    fn new(image: &str) -> Result<Self, Box<dyn Error>> {
        let env = TestEnvironment::new()?;
        std::fs::write(env.path("compose.yaml"), COMPOSE)?;
        let project = Self(env);
        if image != "rootfs:/" {
            bare_image(&project.0, image)?;
        }
        let _up = project.run(image, "1", &["up", "-d"])?.success();
        let _filled = project.shell(image, "1", FILL)?.success();
        Ok(project)
    }

    fn run(&self, image: &str, version: &str, args: &[&str]) -> std::io::Result<CommandOutput> {
        let mut command = self.0.command(args);
        output(command.env("IMAGE", image).env("VERSION", version))
    }

    fn shell(&self, image: &str, version: &str, script: &str) -> std::io::Result<CommandOutput> {
        let shell = ["exec", "-T", "web", "/bin/busybox", "sh", "-c", script];
        self.run(image, version, &shell)
    }

    fn version_of_volume(&self) -> Result<String, Box<dyn Error>> {
        let listed = self.0.run(["volumes", "--format", "json"])?.success();
        let at = listed
            .stdout
            .find("edition=")
            .ok_or(listed.stdout.clone())?;
        Ok(listed.stdout[at..].chars().skip(8).take(1).collect())
    }
}

/// An image that has busybox under that name alone: no `sh`, no `cp`.
fn bare_image(env: &TestEnvironment, name: &str) -> TestResult {
    let mut tar = tar::Builder::new(std::fs::File::create(env.path("bare.tar"))?);
    tar.append_path_with_name("/bin/busybox", "bin/busybox")?;
    tar.finish()?;
    let _imported = env.run(["image", "import", "bare.tar", name])?.success();
    Ok(())
}

#[test]
fn a_changed_volume_keeps_its_data_where_that_is_asked_for() -> TestResult {
    if !has_root("--migrate-volumes") {
        return Ok(());
    }
    if !Path::new("/bin/busybox").exists() {
        skip("--migrate-volumes", "busybox-static");
        return Ok(());
    }
    for image in ["rootfs:/", "bare"] {
        let project = Moved::new(image)?;
        let plan = project
            .run(image, "2", &["plan", "--migrate-volumes"])?
            .success();
        let step = "~ copy volume moved_data to moved_data_migration  # the data of volume `moved_data` is taken along";
        assert!(plan.stdout.contains(step), "{plan}");
        assert!(plan.stdout.contains("labels.edition: 1 -> 2"), "{plan}");
        let up = project
            .run(image, "2", &["up", "-d", "--migrate-volumes"])?
            .success();
        assert!(up.stderr.contains("Volume moved_data Copied"), "{up}");
        assert_eq!(project.shell(image, "2", SHOW)?.success().stdout, SHOWN);
        assert_eq!(project.version_of_volume()?, "2");
        let again = project
            .run(image, "2", &["up", "-d", "--migrate-volumes"])?
            .success();
        assert!(!again.stderr.contains("Volume"), "{again}");
    }
    Ok(())
}

#[test]
fn a_changed_volume_stays_as_it_is_where_nobody_answers() -> TestResult {
    if !has_root("volumes that changed") {
        return Ok(());
    }
    if !Path::new("/bin/busybox").exists() {
        skip("volumes that changed", "busybox-static");
        return Ok(());
    }
    let project = Moved::new("rootfs:/")?;
    let _up = project.run("rootfs:/", "2", &["up", "-d"])?.success();
    assert_eq!(
        project.shell("rootfs:/", "2", SHOW)?.success().stdout,
        SHOWN
    );
    assert_eq!(project.version_of_volume()?, "1");
    let _up = project.run("rootfs:/", "2", &["up", "-d", "-y"])?.success();
    assert_eq!(project.version_of_volume()?, "2");
    assert_ne!(project.shell("rootfs:/", "2", SHOW)?.status, 0);
    Ok(())
}
