//! The Dockerfile reference, a build for each instruction and flag: on the built-in engine, and where
//! `HOIST_TEST_BUILDX` names a Docker engine (with its buildx plugin in `DOCKER_CONFIG`), on that too, with the same result.
//!
//! `docs/dockerfile.md` is made of the same cases; `HOIST_TEST_WRITE=1` writes it anew.

mod cases;
mod image;
mod server;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::{has_root, skip};
use cases::{Case, cases};
use server::Server;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Programs of the base image.
const PROGRAMS: [&str; 20] = [
    "sh", "cat", "ls", "echo", "test", "rm", "mkdir", "chmod", "chown", "cp", "id", "stat", "cut",
    "grep", "mount", "false", "true", "touch", "ln", "wc",
];

/// A place to build a case in, and the engine that it is built on.
struct Bench {
    env: TestEnvironment,
    /// `None` is the built-in engine.
    docker: Option<String>,
}

impl Bench {
    fn new(docker: Option<String>) -> Outcome<Self> {
        let bench = Self {
            env: TestEnvironment::new()?,
            docker,
        };
        let path = bench.env.path("base.tar");
        fs::write(&path, base()?)?;
        let imported = bench.hoist(&["image", "import", "base.tar", "hoistdockerfile/base"])?;
        let _imported = imported.success();
        Ok(bench)
    }

    fn hoist(&self, args: &[&str]) -> Outcome<CommandOutput> {
        Ok(output(&mut self.command(args))?)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.env.command(args);
        if let Some(address) = &self.docker {
            command.env("DOCKER_HOST", address);
            if let Some(config) = std::env::var_os("DOCKER_CONFIG") {
                command.env("DOCKER_CONFIG", config);
            }
        }
        command
    }

    /// Builds a case: what the image is, or what was said.
    fn build(&self, case: &Case, server: &Server) -> Outcome<Result<Vec<String>, String>> {
        let folder = self.env.path("case");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        case.write(&folder, server)?;
        let file = folder.join("compose.yaml");
        let file = file.to_string_lossy();
        let context = folder.join("context");
        let context = context.to_string_lossy();
        let mut command = self.command(&["--project-directory", &context, "-f", &file, "build"]);
        command.envs(case.variables());
        let built = output(&mut command)?;
        for text in &case.output {
            assert!(
                built.stdout.contains(text),
                "{}: {text}: {built}",
                case.name
            );
        }
        if built.status != 0 {
            return Ok(Err(built.to_string()));
        }
        let dump = image::dump(&self.socket()?, "hoistdockerfile/made");
        Ok(dump.map_err(|error| error.to_string()))
    }

    fn socket(&self) -> Outcome<String> {
        let address = match &self.docker {
            Some(address) => address.clone(),
            None => self.hoist(&["engine", "socket"])?.success().stdout,
        };
        let path = address
            .trim()
            .strip_prefix("unix://")
            .ok_or("no Unix socket")?;
        Ok(path.to_owned())
    }
}

/// The base image: busybox and two users.
fn base() -> Outcome<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, mode: u32, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(u64::try_from(size).unwrap_or(0));
        header
    };
    for folder in [
        "bin/", "etc/", "mnt/", "tmp/", "proc/", "sys/", "dev/", "run/",
    ] {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        archive.append_data(&mut header, folder, std::io::empty())?;
    }
    let busybox = fs::read(busybox().ok_or("no busybox")?)?;
    let users = b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/sh\n".to_vec();
    let groups = b"root:x:0:\ndaemon:x:1:\n".to_vec();
    for (name, mode, content) in [
        ("bin/busybox", 0o755, busybox),
        ("etc/passwd", 0o644, users),
        ("etc/group", 0o644, groups),
    ] {
        let mut header = header(tar::EntryType::Regular, mode, content.len());
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    for program in PROGRAMS {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        archive.append_link(&mut header, format!("bin/{program}"), "busybox")?;
    }
    Ok(archive.into_inner()?)
}

fn busybox() -> Option<&'static Path> {
    let places = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
    places.into_iter().find(|path| path.exists())
}

/// What is wrong with a case's result.
fn faults(case: &Case, result: &Result<Vec<String>, String>) -> Vec<String> {
    match (result, &case.refused) {
        (Ok(_), Some(text)) => vec![format!("it should be refused with `{text}`")],
        (Err(said), Some(text)) if said.contains(text.as_str()) => Vec::new(),
        (Err(said), _) => vec![said.clone()],
        (Ok(dump), None) => {
            let holds = |expected: &&String| match expected.strip_prefix("absent ") {
                Some(start) => !dump.iter().any(|line| line.starts_with(start)),
                None => match expected.strip_suffix(" none") {
                    Some(start) => !dump.iter().any(|line| line.starts_with(start)),
                    None => dump.contains(expected),
                },
            };
            let missing = case.expect.iter().filter(|expected| !holds(expected));
            missing
                .map(|line| {
                    let found = dump.iter().filter(|line| !line.starts_with("/bin"));
                    let found: Vec<&str> = found.map(String::as_str).collect();
                    format!("no `{line}` in\n  {}", found.join("\n  "))
                })
                .collect()
        }
    }
}

#[test]
fn each_instruction_and_flag_does_what_the_reference_says() -> Outcome<()> {
    if !has_root("the Dockerfile reference") {
        return Ok(());
    }
    if busybox().is_none() {
        skip("the Dockerfile reference", "busybox-static");
        return Ok(());
    }
    let server = Server::start()?;
    let own = Bench::new(None)?;
    let other = std::env::var("HOIST_TEST_BUILDX").ok();
    let other = other.map(|address| Bench::new(Some(address))).transpose()?;
    let only = std::env::var("HOIST_TEST_CASE").unwrap_or_default();
    let mut wrong = String::new();
    let (mut built, mut compared) = (0, 0);
    for case in cases()?.iter().filter(|case| case.name.contains(&only)) {
        if case.needs_git && server.repository.is_none() {
            skip(&case.name, "git");
            continue;
        }
        let result = own.build(case, &server)?;
        built += 1;
        for fault in faults(case, &result) {
            writeln!(wrong, "{} / {}: {fault}", case.section, case.name)?;
        }
        let Some(other) = other.as_ref().filter(|_| case.alone.is_none()) else {
            continue;
        };
        let theirs = other.build(case, &server)?;
        compared += 1;
        for line in differences(&result, &theirs, case) {
            writeln!(wrong, "{} / {}: {line}", case.section, case.name)?;
        }
    }
    let _stopped = own.hoist(&["engine", "stop"])?.success();
    if let Some(other) = &other {
        let _gone = other.hoist(&[
            "image",
            "rm",
            "-f",
            "hoistdockerfile/made",
            "hoistdockerfile/base",
        ])?;
    }
    assert!(
        wrong.is_empty(),
        "{built} built, {compared} compared\n{wrong}"
    );
    writeln!(
        std::io::stderr(),
        "{built} cases built, {compared} compared with buildx"
    )?;
    Ok(())
}

fn differences(
    ours: &Result<Vec<String>, String>,
    theirs: &Result<Vec<String>, String>,
    case: &Case,
) -> Vec<String> {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if case.differs.is_none() => {
            let only = |one: &[String], other: &[String], who: &str| {
                let lines = one.iter().filter(|line| !other.contains(line));
                lines
                    .map(|line| format!("{who}: {line}"))
                    .collect::<Vec<_>>()
            };
            let mut lines = only(ours, theirs, "only hoist");
            lines.extend(only(theirs, ours, "only buildx"));
            lines
        }
        (Err(_), Err(_)) | (Ok(_), Ok(_)) => Vec::new(),
        (Ok(_), Err(said)) => vec![format!("buildx refuses it: {said}")],
        (Err(said), Ok(_)) => vec![format!("only buildx builds it: {said}")],
    }
}

#[test]
fn the_table_of_the_docs_is_made_of_the_cases() -> Outcome<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dockerfile.md");
    let table = cases::table(&cases()?);
    if std::env::var_os("HOIST_TEST_WRITE").is_some() {
        fs::write(&path, &table)?;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "docs/dockerfile.md is not what the cases say: HOIST_TEST_WRITE=1 writes it"
    );
    Ok(())
}
