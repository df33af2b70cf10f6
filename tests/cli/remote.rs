//! Files on a network: repositories of git and artifacts of a registry, through a cache.
//!
//! The repositories are folders of this machine: git's own `insteadOf` leads there, as a mirror would.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::registry::{Access, Server};
use crate::common::{has_root, skip};

type Outcome = Result<(), Box<dyn Error>>;

const MAIN: &str = "\
services:
  web:
    image: nginx
    volumes: ['./data:/d']
    env_file: web.env
";

fn git(folder: &Path, args: &[&str]) -> io::Result<String> {
    let run = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b"])
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .output()?;
    assert!(run.status.success(), "{args:?} {run:?}");
    Ok(String::from_utf8_lossy(&run.stdout).trim().to_owned())
}

/// A repository `repo.git` with a project at its top and one in `sub`.
fn repository(env: &TestEnvironment) -> io::Result<()> {
    let work = env.path("work");
    fs::create_dir_all(work.join("sub"))?;
    git(&work, &["init", "-q", "-b", "main"])?;
    fs::write(work.join("compose.yaml"), MAIN)?;
    fs::write(work.join("web.env"), "A=1\n")?;
    fs::write(
        work.join("sub/docker-compose.yml"),
        "services:\n  s: {image: other}\n",
    )?;
    std::os::unix::fs::symlink("/etc/hostname", work.join("leak.yaml"))?;
    // A hook and a submodule, neither of which may come into play.
    fs::write(
        work.join(".gitmodules"),
        "[submodule \"m\"]\n\tpath = m\n\turl = ext::touch stolen\n",
    )?;
    git(&work, &["add", "-A"])?;
    git(&work, &["commit", "-q", "-m", "one"])?;
    git(&work, &["tag", "-a", "v1", "-m", "one"])?;
    git(
        env.path("").as_path(),
        &["clone", "-q", "--bare", "work", "repo.git"],
    )?;
    fs::create_dir_all(env.path("shop"))
}

/// A command to which `https://git.test/` is the test's own folder.
fn command(env: &TestEnvironment, args: &[&str]) -> Command {
    let mut command = env.command(args);
    command
        .current_dir(env.path("shop"))
        .env("GIT_CONFIG_COUNT", "1")
        .env(
            "GIT_CONFIG_KEY_0",
            format!("url.file://{}/.insteadOf", env.path("").display()),
        )
        .env("GIT_CONFIG_VALUE_0", "https://git.test/");
    command
}

fn run(env: &TestEnvironment, args: &[&str], more: &[(&str, &str)]) -> io::Result<CommandOutput> {
    output(command(env, args).envs(more.iter().copied()))
}

fn has_git(test: &str) -> bool {
    let found = Command::new("git").arg("--version").output().is_ok();
    if !found {
        skip(test, "git");
    }
    found
}

#[test]
fn a_project_of_a_repository_is_read_from_the_cache() -> Outcome {
    if !has_git("remote") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    repository(&env)?;
    let commit = git(&env.path("work"), &["rev-parse", "HEAD"])?;
    let cached = env.path(".cache/docker-compose").join(&commit);
    for name in ["", "#main", "#v1"] {
        let reference = format!("https://git.test/repo.git{name}");
        let text = run(&env, &["-f", &reference, "config"], &[])?
            .success()
            .stdout;
        assert!(text.starts_with("name: shop\n"), "{text}");
        assert!(text.contains("A: \"1\""), "{text}");
        // A tag with a message is an object of its own.
        let place = format!("source: {}/data", cached.display());
        assert!(name == "#v1" || text.contains(&place), "{text}");
    }
    let sub = run(
        &env,
        &[
            "-f",
            "https://git.test/repo.git#main:sub",
            "config",
            "--images",
        ],
        &[],
    )?;
    assert_eq!(sub.success().stdout, "other\n");
    // A commit that is in the cache is not asked for again.
    fs::rename(env.path("repo.git"), env.path("gone.git"))?;
    let again = format!("https://git.test/repo.git#{commit}");
    let text = run(&env, &["-f", &again, "config", "--images"], &[])?
        .success()
        .stdout;
    assert_eq!(text, "nginx\n");
    assert!(!cached.join("stolen").exists() && !env.path("shop/stolen").exists());
    Ok(())
}

#[test]
fn include_and_extends_follow_repositories() -> Outcome {
    if !has_git("remote") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    repository(&env)?;
    let main = "include: ['https://git.test/repo.git#main:sub']\nservices:\n  own:\n    extends: {file: 'https://git.test/repo.git', service: web}\n";
    fs::write(env.path("shop/compose.yaml"), main)?;
    let text = run(&env, &["config"], &[])?.success().stdout;
    assert!(
        text.contains("image: other") && text.contains("A: \"1\""),
        "{text}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_had_is_said() -> Outcome {
    if !has_git("remote") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    repository(&env)?;
    for (reference, part) in [
        (
            "https://git.test/repo.git#nope",
            "repository does not contain ref https://git.test/repo.git#nope",
        ),
        (
            "https://git.test/none.git",
            "cannot ask the repository `https://git.test/none.git`",
        ),
        (
            "https://git.test/repo.git#main:none",
            "no such file or directory",
        ),
        (
            "https://git.test/repo.git#main:../..",
            "leads out of what was fetched",
        ),
        (
            "https://git.test/repo.git#main:leak.yaml",
            "leads out of what was fetched",
        ),
        (
            "https://git.test/repo.git#--upload-pack=touch stolen",
            "may start with `-`",
        ),
        ("ssh://-oProxyCommand=touch/x.git", "may start with `-`"),
        (
            "oci://127.0.0.1:1/x:y",
            "cannot fetch `oci://127.0.0.1:1/x:y`",
        ),
    ] {
        let failed = run(&env, &["-f", reference, "config", "-q"], &[])?;
        assert_eq!(failed.status, 1, "{reference} {failed}");
        assert!(failed.stderr.contains(part), "{reference} {failed}");
    }
    let off = [("COMPOSE_EXPERIMENTAL_GIT_REMOTE", "false")];
    let failed = run(
        &env,
        &["-f", "https://git.test/repo.git", "config", "-q"],
        &off,
    )?;
    assert!(
        failed
            .stderr
            .contains("git remote resource is disabled by \"COMPOSE_EXPERIMENTAL_GIT_REMOTE\""),
        "{failed}"
    );
    let off = [("COMPOSE_EXPERIMENTAL_OCI_REMOTE", "0")];
    let failed = run(&env, &["-f", "oci://x/y", "config", "-q"], &off)?;
    assert!(
        failed.stderr.contains("OCI remote resource is disabled"),
        "{failed}"
    );
    // An address with a password, from a variable: neither is shown.
    let main = "services:\n  web: {extends: {file: 'https://me:${TOKEN}@git.test/none.git', service: web}}\n";
    fs::write(env.path("shop/compose.yaml"), main)?;
    let failed = run(&env, &["config", "-q"], &[("TOKEN", "hunter2")])?;
    assert_eq!(failed.status, 1, "{failed}");
    assert!(!failed.stderr.contains("hunter2"), "{failed}");
    assert!(!env.path("shop/stolen").exists());
    Ok(())
}

#[test]
fn a_published_project_is_read_from_its_registry() -> Outcome {
    // The engine pushes the images of the services first.
    if !has_root("a_published_project_is_read_from_its_registry") {
        return Ok(());
    }
    let Some(registry) = Server::start(Access::Open)? else {
        skip("remote", "docker-registry");
        return Ok(());
    };
    let env = TestEnvironment::new()?;
    fs::create_dir_all(env.path("shop"))?;
    fs::create_dir_all(env.path("base"))?;
    let main = "services:\n  web:\n    image: nginx\n    env_file: web.env\n    extends: {file: base/b.yaml, service: b}\n";
    fs::write(env.path("compose.yaml"), main)?;
    fs::write(
        env.path("base/b.yaml"),
        "services:\n  b: {image: x, working_dir: /srv}\n",
    )?;
    fs::write(env.path("web.env"), "COLOUR=green\n")?;
    let name = format!("{}/team/shop:1", registry.address);
    let published = env.run(["publish", "--with-env", "-y", &name])?.success();
    assert!(published.stderr.contains("published"), "{published}");
    let reference = format!("oci://{name}");
    let text = run(&env, &["-f", &reference, "config"], &[])?
        .success()
        .stdout;
    assert!(text.starts_with("name: shop\n"), "{text}");
    assert!(
        text.contains("COLOUR: green") && text.contains("working_dir: /srv"),
        "{text}"
    );
    Ok(())
}

/// Runs a command that may ask, with an answer on standard input.
fn answered(env: &TestEnvironment, args: &[&str], answer: &str) -> io::Result<CommandOutput> {
    let path = env.path("answer");
    fs::write(&path, answer)?;
    output(
        command(env, args)
            .env("TAG", "9")
            .stdin(fs::File::open(path)?),
    )
}

#[test]
fn a_project_of_somebody_else_is_asked_about_before_it_sees_the_environment() -> Outcome {
    if !has_git("remote") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    repository(&env)?;
    let main =
        "services:\n  web: {image: 'nginx:${TAG}', user: '${WHO:-me}', hostname: '${HOST}'}\n";
    fs::write(env.path("work/compose.yaml"), main)?;
    git(&env.path("work"), &["commit", "-q", "-a", "-m", "two"])?;
    git(&env.path("work"), &["push", "-q", "../repo.git", "main"])?;
    let commit = git(&env.path("work"), &["rev-parse", "HEAD"])?;
    let cached = env.path(".cache/docker-compose").join(&commit);
    let stored =
        format!("Your compose stack \"https://git.test/repo.git\" is stored in {cached:?}\n");
    let asked = "
Found the following variables in configuration:
VARIABLE   VALUE     SOURCE         REQUIRED   DEFAULT
HOST       <unset>   none           no         
TAG        9         environment    no         
WHO        me        compose file   no         me

Do you want to proceed with these variables? [Y/n]: ";
    let file = ["-f", "https://git.test/repo.git"];
    for command in [["up", "-d"].as_slice(), &["run", "web"]] {
        for answer in ["n\n", "\n", ""] {
            let args = [file.as_slice(), command].concat();
            let refused = answered(&env, &args, answer)?;
            assert_eq!(refused.status, 1, "{refused}");
            assert_eq!(refused.stdout, format!("{stored}{asked}"));
            assert!(
                refused.stderr.ends_with("operation cancelled by user\n"),
                "{refused}"
            );
        }
    }
    let quiet = [["--progress", "quiet"].as_slice(), &file, &["up"]].concat();
    assert_eq!(answered(&env, &quiet, "n\n")?.stdout, asked);
    // Without an engine what follows fails, but nothing was asked.
    let engine = ["--engine", "unix:///nowhere"];
    for (command, told) in [
        (["up", "-y"].as_slice(), stored.as_str()),
        (&["create"], ""),
    ] {
        let args = [engine.as_slice(), &file, command].concat();
        let ran = answered(&env, &args, "")?;
        assert_eq!(ran.stdout, told, "{ran}");
        assert!(!ran.stderr.contains("cancelled"), "{ran}");
    }
    Ok(())
}
