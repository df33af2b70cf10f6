//! `config --explain` and `config --annotate`: the way of a value through files, rules and variables.

use std::{error::Error, fs};

use crate::common::env::{TestEnvironment, output};

type TestResult = Result<(), Box<dyn Error>>;

/// What `--explain` prints for a path, without the test's folder.
fn explained(files: &[(&str, &str)], flags: &[&str], path: &str) -> Result<String, Box<dyn Error>> {
    let env = TestEnvironment::new()?;
    for (name, text) in files {
        let file = env.path(name);
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(file, text)?;
    }
    let args = flags.iter().copied().chain(["config", "--explain", path]);
    let mut command = env.command(args);
    let run = output(command.env("STAGE", "test"))?.success();
    let folder = format!("{}/", env.path("").display()).replace("//", "/");
    Ok(run.stdout.replace(&folder, ""))
}

#[test]
fn through_extends_of_the_same_and_of_another_file() -> TestResult {
    let main = "\
services:
  web:
    extends: middle
    environment: {A: '3'}
  middle:
    extends: {file: base.yaml, service: base}
    environment: {A: '2'}
";
    let base = "services:\n  base: {image: x, environment: [A=1, B=1]}\n";
    let files = [("compose.yaml", main), ("base.yaml", base)];
    assert_eq!(
        explained(&files, &[], "services.web.environment.A")?,
        "\
base.yaml:2:34: set to `A=1`, extended by `web` at compose.yaml:3:14, extended by `middle` at compose.yaml:6:21
compose.yaml:7:22: replaced by `'2'`, extended by `web` at compose.yaml:3:14
compose.yaml:4:22: replaced by `'3'`
"
    );
    assert_eq!(
        explained(&files, &[], "services.web.image")?,
        "base.yaml:2:17: set to `x`, extended by `web` at compose.yaml:3:14, extended by `middle` at compose.yaml:6:21\n"
    );
    Ok(())
}

#[test]
fn through_include_layers_and_instructions() -> TestResult {
    let main = "include: [part/compose.yaml]\nservices:\n  web: {image: x, command: [a], ports: ['1:1'], labels: {a: '1', b: '2'}}\n";
    let over = "services:\n  web:\n    command: [b]\n    ports: !override ['2:2']\n    labels: !reset {}\n";
    let last = "services:\n  web:\n    labels: {a: '3'}\n";
    let part = "services:\n  db: {image: 'db:${TAG}'}\n";
    let files = [
        ("compose.yaml", main),
        ("over.yaml", over),
        ("last.yaml", last),
        ("part/compose.yaml", part),
        ("part/.env", "TAG=15\n"),
    ];
    let flags = ["-f", "compose.yaml", "-f", "over.yaml", "-f", "last.yaml"];
    let told = |path| explained(&files, &flags, path);
    assert_eq!(
        told("services.db.image")?,
        "part/compose.yaml:2:15: set to `'db:${TAG}'`, included at compose.yaml:1:11\npart/.env:1:1: `TAG` is set here\n"
    );
    assert_eq!(
        told("services.web.labels.a")?,
        "compose.yaml:3:61: set to `'1'`\nover.yaml:5:13: cleared by `!reset` on `services.web.labels`\nlast.yaml:3:17: replaced by `'3'`\n"
    );
    let ports = told("services.web.ports")?;
    assert!(ports.starts_with("compose.yaml:3:40: begins with `['1:1']`\nover.yaml:4:12: replaced, by `!override`, by `"), "{ports}");
    let command = told("services.web.command")?;
    assert!(
        command.starts_with(
            "compose.yaml:3:28: begins with `[a]`\nover.yaml:3:14: replaced by `[b]`\n"
        ),
        "{command}"
    );
    Ok(())
}

#[test]
fn through_merge_keys_and_aliases() -> TestResult {
    let main = "\
x-base: &base
  restart: always
  environment: &env {A: '1'}
services:
  web:
    <<: *base
    image: x
  api:
    image: x
    environment: *env
";
    let files = [("compose.yaml", main)];
    assert_eq!(
        explained(&files, &[], "services.web.restart")?,
        "compose.yaml:2:12: set to `always`, brought by a merge key `<<`\n"
    );
    let api = explained(&files, &[], "services.api.environment")?;
    assert!(
        api.starts_with("compose.yaml:3:16: begins with `&env {A: '1'}`, through an alias\n"),
        "{api}"
    );
    Ok(())
}

#[test]
fn short_forms_are_told_once_and_as_they_are_merged() -> TestResult {
    let files = [
        (
            "base.yaml",
            "services:\n  web:\n    image: x\n    dns: [1.1.1.1]\n    tmpfs: /a\n    command:\n    ports: ['80:80']\n",
        ),
        (
            "over.yaml",
            "services:\n  web:\n    dns: 2.2.2.2\n    tmpfs: /b\n",
        ),
    ];
    let told = |path| explained(&files, &["-f", "base.yaml", "-f", "over.yaml"], path);
    assert_eq!(
        told("services.web.dns")?,
        "base.yaml:4:10: begins with `[1.1.1.1]`\nover.yaml:3:10: appended `2.2.2.2`\nbase.yaml:4:11: `0` set to `1.1.1.1`\n"
    );
    assert_eq!(
        told("services.web.tmpfs")?,
        "base.yaml:5:12: set to `/a`\nover.yaml:4:12: appended `/b`\n"
    );
    assert_eq!(
        told("services.web.command")?,
        "base.yaml:6:12: set to nothing\n"
    );
    assert_eq!(
        told("services.web.ports[0]")?,
        "base.yaml:7:13: set to `'80:80'`\n"
    );
    Ok(())
}

#[test]
fn through_variables_of_every_origin() -> TestResult {
    let main = "\
services:
  web:
    image: x:$STAGE-${TAG}-${NONE:-d}
    environment: [STAGE, TAG, 'X=1']
    env_file: [web.env]
";
    let files = [
        ("compose.yaml", main),
        (".env", "# tags\nTAG=15\n"),
        ("web.env", "X=hidden\nY=hidden\nTAG=hidden\n"),
    ];
    let told = |path| explained(&files, &[], path);
    assert_eq!(
        told("services.web.image")?,
        "\
compose.yaml:3:12: set to `x:$STAGE-${TAG}-${NONE:-d}`
  `NONE` is not set; `d` stands in
  `STAGE` is `test` in the environment of the process
.env:2:1: `TAG` is `15`
"
    );
    assert_eq!(
        told("services.web.environment.X")?,
        "web.env:1:1: `X` is set by this file, named at compose.yaml:5:16\ncompose.yaml:4:31: set to `'X=1'`\n"
    );
    assert_eq!(
        told("services.web.environment.Y")?,
        "web.env:2:1: `Y` is set by this file, named at compose.yaml:5:16\n"
    );
    assert_eq!(
        told("services.web.environment.STAGE")?,
        "compose.yaml:4:19: set to `STAGE`\n  `STAGE` is `test` in the environment of the process\n"
    );
    Ok(())
}

#[test]
fn annotations_name_lines_variables_and_env_files() -> TestResult {
    let env = TestEnvironment::new()?;
    let main = "\
services:
  web:
    image: x:${TAG}
    environment: {A: '1'}
    env_file: [web.env]
";
    fs::write(env.path("compose.yaml"), main)?;
    fs::write(env.path(".env"), "TAG=15\n")?;
    fs::write(env.path("web.env"), "# first\nB=2\n")?;
    fs::write(
        env.path("over.yaml"),
        "services:\n  web:\n    environment: [A=2]\n",
    )?;
    let run = env.run([
        "-f",
        "compose.yaml",
        "-f",
        "over.yaml",
        "config",
        "--annotate",
    ])?;
    let text = run.success().stdout;
    for line in [
        "      A: \"2\" # over.yaml:3",
        "      B: \"2\" # web.env:2",
        "    image: x:15 # compose.yaml:3, TAG of .env:1",
    ] {
        assert!(
            text.lines().any(|written| written == line),
            "{line}\n{text}"
        );
    }
    Ok(())
}

#[test]
fn labels_that_two_files_give_a_volume_have_the_place_of_the_last() -> TestResult {
    let env = TestEnvironment::new()?;
    let base = "services: {a: {image: x, volumes: ['data:/d']}}\nvolumes:\n  data:\n    labels: [e=1, k=1]\n";
    fs::write(env.path("base.yaml"), base)?;
    fs::write(
        env.path("over.yaml"),
        "volumes:\n  data:\n    labels:\n      - e=2\n",
    )?;
    let args = ["-f", "base.yaml", "-f", "over.yaml", "config", "--annotate"];
    let told = env.run(args)?.success().stdout;
    let line = |start: &str| {
        told.lines()
            .find(|line| line.trim_start().starts_with(start))
    };
    assert!(
        line("e: \"2\"").is_some_and(|line| line.ends_with("over.yaml:4")),
        "{told}"
    );
    assert!(
        line("k: \"1\"").is_some_and(|line| line.ends_with("base.yaml:4")),
        "{told}"
    );
    Ok(())
}

#[test]
fn each_extension_of_one_base_has_its_own_way() -> TestResult {
    let main = "\
include: [part/compose.yaml]
services:
  web:
    extends: {file: base.yaml, service: mid}
    cap_add: [KILL]
";
    let base = "\
services:
  mid: {extends: root, image: x}
  root: {cap_add: [CHOWN], image: '${IMAGE}'}
";
    let part = "services:\n  other: {extends: {file: ../base.yaml, service: root}}\n";
    let files = [
        ("compose.yaml", main),
        ("base.yaml", base),
        ("part/compose.yaml", part),
        (".env", "IMAGE=y\n"),
    ];
    let told = |path| explained(&files, &[], path);
    assert_eq!(
        told("services.web.cap_add.0")?,
        "base.yaml:3:20: set to `CHOWN`, extended by `web` at compose.yaml:4:21, extended by `mid` at base.yaml:2:18\n"
    );
    assert_eq!(
        told("services.other.cap_add")?,
        "\
base.yaml:3:19: begins with `[CHOWN]`, included at compose.yaml:1:11, extended by `other` at part/compose.yaml:2:27
base.yaml:3:20: `0` set to `CHOWN`, included at compose.yaml:1:11, extended by `other` at part/compose.yaml:2:27
"
    );
    let web = told("services.web")?;
    assert!(
        web.starts_with(
            "\
base.yaml:3:9: begins with `{cap_add: [CHOWN], image: '${IMAGE}'}`, extended by `web` at compose.yaml:4:21, extended by `mid` at base.yaml:2:18
base.yaml:2:8: merged with `{extends: root, image: x}`, extended by `web` at compose.yaml:4:21
compose.yaml:4:5: merged with `extends: {file: base.yaml, service: mid} …`
"
        ),
        "{web}"
    );
    Ok(())
}

#[test]
fn what_a_merge_key_brought_is_told_of_its_inside_too() -> TestResult {
    let main = "\
x-base: &base
  logging: {driver: syslog}
services:
  web: {<<: *base, image: x}
";
    assert_eq!(
        explained(
            &[("compose.yaml", main)],
            &[],
            "services.web.logging.driver"
        )?,
        "compose.yaml:2:21: set to `syslog`, brought by a merge key `<<`\n"
    );
    Ok(())
}

#[test]
fn the_name_of_a_project_is_explained() -> TestResult {
    let named = "name: written\nservices: {a: {image: x}}\n";
    let plain = "services: {a: {image: x}}\n";
    let told = |text, dotenv, flags: &[&str]| {
        explained(&[("compose.yaml", text), (".env", dotenv)], flags, "name")
    };
    assert_eq!(
        told(named, "", &[])?,
        "compose.yaml:1:7: set to `written`\n"
    );
    assert_eq!(told(named, "", &["-p", "flag"])?, "  set by `-p`\n");
    assert_eq!(
        told(named, "COMPOSE_PROJECT_NAME=v\n", &[])?,
        ".env:1:1: `COMPOSE_PROJECT_NAME` is set here\n"
    );
    assert_eq!(
        told(plain, "", &[])?,
        "  the name of the project's folder\n"
    );
    Ok(())
}

#[test]
fn a_path_to_nothing_has_a_suggestion() -> TestResult {
    let env = TestEnvironment::new()?;
    fs::write(env.path("compose.yaml"), "services: {web: {image: x}}\n")?;
    let run = env.run(["config", "--explain", "services.wbe.image"])?;
    assert_eq!(run.status, 1, "{run}");
    assert!(
        run.stderr
            .contains("help: did you mean `services.web.image`?"),
        "{run}"
    );
    Ok(())
}
