//! What needs no engine: versions, usage errors, and engines that are not there.

use std::io;

use crate::common::env::TestEnvironment;

#[test]
fn the_version_is_that_of_the_docker_compose_it_stands_in_for() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    assert_eq!(env.run(["version", "--short"])?.success().stdout, "5.5.0\n");
    assert_eq!(
        env.run(["version", "--format", "json"])?.success().stdout,
        "{\"version\":\"v5.5.0\"}\n"
    );
    let sentence = env.run(["version"])?.success().stdout;
    assert!(
        sentence.contains("Docker Compose version v5.5.0"),
        "{sentence}"
    );
    Ok(())
}

#[test]
fn without_a_command_the_help_is_shown() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    let output = env.run::<[&str; 0], &str>([])?.success();
    assert!(output.stdout.contains("Usage: hoist"), "{output}");
    assert_eq!(output.stderr, "");
    Ok(())
}

#[test]
fn usage_errors_are_worded_as_docker_compose_words_them_and_end_with_1() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    let flag = env.run(["ps", "--nope"])?;
    assert_eq!(flag.status, 1, "{flag}");
    assert!(flag.stderr.starts_with("unknown flag: --nope\n"), "{flag}");
    let command = env.run(["frobnicate"])?;
    assert_eq!(command.status, 1, "{command}");
    assert_eq!(
        command.stderr,
        "unknown docker command: \"compose frobnicate\"\n"
    );
    assert!(command.stdout.contains("Commands:"), "{command}");
    let progress = env.run(["--progress", "fancy", "ps"])?;
    assert_eq!(progress.status, 1, "{progress}");
    assert!(
        progress
            .stderr
            .contains("unsupported --progress value \"fancy\""),
        "{progress}"
    );
    Ok(())
}

#[test]
fn an_engine_that_is_not_there_is_named_with_a_way_out() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    let output = env.run(["--engine", "unix:///nowhere/e.sock", "-p", "shop", "ps"])?;
    assert_eq!(output.status, 1, "{output}");
    assert_eq!(
        output.stderr,
        "connect to engine `unix:///nowhere/e.sock`: there is no such socket\n  \
         help: is the engine running? Choose another with --engine or DOCKER_HOST\n"
    );
    let unknown = env.run(["--engine", "dokcer", "-p", "shop", "ps"])?;
    assert_eq!(unknown.status, 1, "{unknown}");
    assert!(unknown.stderr.contains("`dokcer`"), "{unknown}");
    Ok(())
}

#[test]
fn a_project_without_files_is_refused() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    let output = env.run(["ps"])?;
    assert_eq!(output.status, 1, "{output}");
    assert!(
        output
            .stderr
            .contains("no configuration file provided: not found"),
        "{output}"
    );
    Ok(())
}

#[test]
fn variables_have_the_fields_in_docker_compose_s_order() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: x\nservices:\n  a:\n    image: i\n    ports: [\"${PORT:-8080}:80\"]\n",
    )?;
    let text = env.run(["config", "--variables", "--format", "yaml"])?;
    assert_eq!(
        text.success().stdout,
        "PORT:\n    name: PORT\n    defaultvalue: \"8080\"\n    presencevalue: \"\"\n    required: false\n"
    );
    Ok(())
}

#[test]
fn build_print_says_what_buildx_would_be_told() -> Result<(), Box<dyn std::error::Error>> {
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: p\nservices: { a.b: { build: { context: . } } }\n",
    )?;
    let flags = ["--print", "--provenance", "mode=max", "--sbom", "true"];
    let printed = env.run(["build"].iter().chain(&flags))?.success();
    let definition: serde_json::Value = serde_json::from_str(&printed.stdout)?;
    assert_eq!(definition["group"]["default"]["targets"][0], "a_b");
    let target = &definition["target"]["a_b"];
    assert_eq!(target["tags"][0], "p-a.b");
    assert_eq!(
        target["attest"],
        serde_json::json!(["type=provenance,mode=max", "type=sbom"])
    );
    let checked = env
        .run(["build", "--print", "--check", "--ssh", ""])?
        .success();
    let definition: serde_json::Value = serde_json::from_str(&checked.stdout)?;
    let target = &definition["target"]["a_b"];
    assert_eq!(target["call"], "lint");
    assert_eq!(target["ssh"][0], "default");
    let refused = env.run(["build", "--print", "--memory", "much"])?;
    assert_eq!(refused.status, 1, "{refused}");
    Ok(())
}

#[test]
fn a_mistyped_command_is_told_what_was_meant() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    for (typed, meant) in [("upp", "up"), ("conifg", "config")] {
        let told = env.run([typed])?;
        assert_eq!(
            told.stderr,
            format!(
                "unknown docker command: \"compose {typed}\"\n  help: did you mean `{meant}`?\n"
            )
        );
    }
    Ok(())
}

#[test]
fn variables_are_listed_although_the_file_has_mistakes() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    let text = "services:\n  a: {image: '${TAG:-1}', bogus: '${1}'}\n";
    std::fs::write(env.path("compose.yaml"), text)?;
    let table = env.run(["config", "--variables"])?.success().stdout;
    let names: Vec<&str> = table
        .lines()
        .skip(1)
        .map(|line| line[..20].trim())
        .collect();
    assert_eq!(names, ["", "TAG"]);
    let json = env.run(["config", "--variables", "--format", "json"])?;
    assert!(json.success().stdout.ends_with("}\n\n"));
    Ok(())
}

#[test]
fn a_date_is_printed_as_docker_compose_prints_it() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    let text = "x-day: 2001-01-01\nservices:\n  a: {image: a, environment: {DAY: 2001-01-01}}\n";
    std::fs::write(env.path("compose.yaml"), text)?;
    let yaml = env.run(["config"])?.success().stdout;
    assert!(
        yaml.contains("\n      DAY: 2001-01-01 00:00:00 +0000 UTC\n"),
        "{yaml}"
    );
    assert!(yaml.ends_with("\nx-day: 2001-01-01T00:00:00Z\n"), "{yaml}");
    let raw = env.run(["config", "--no-interpolate"])?.success().stdout;
    assert!(raw.contains("\n      DAY: 2001-01-01T00:00:00Z\n"), "{raw}");
    let name = "services:\n  a: {image: a, hostname: 2001-01-01}\n";
    std::fs::write(env.path("compose.yaml"), name)?;
    let refused = env.run(["config"])?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(
        refused.stderr.contains("put the date in quotes"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn an_env_file_that_is_not_read_is_printed_without_what_is_usual() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    let text = "services:\n  a: {image: a, env_file: [a.env, {path: b.env, required: false}]}\n";
    std::fs::write(env.path("compose.yaml"), text)?;
    let yaml = env.run(["config", "--no-env-resolution"])?.success().stdout;
    assert!(!yaml.contains("required: true"), "{yaml}");
    assert!(yaml.contains("b.env\n        required: false\n"), "{yaml}");
    Ok(())
}

#[test]
fn the_graph_is_the_one_that_docker_compose_draws() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: drawn
services:
  web: {image: 'nginx:1', depends_on: [db], ports: ['127.0.0.1:8080:80', '99'], networks: [back, front]}
  db: {build: ., network_mode: none}
networks: {front: {}, back: {}}
",
    )?;
    // What docker compose 5.5.0 prints, but for the order of services, which is by chance there.
    let plain = env.run(["alpha", "viz"])?.success();
    insta::assert_snapshot!(plain.stdout.replace('\t', "  "), @r#"
    digraph "drawn" {
      layout=dot;
      "db" [style="filled" label=<<font point-size="15">db</font>>];
      "web" [style="filled" label=<<font point-size="15">web</font>>];

      "web" -> "db";
    }
    "#);
    let flags = [
        "--networks",
        "--ports",
        "--image",
        "--spaces",
        "--indentation-size",
        "2",
    ];
    let full = env.run(["alpha", "viz"].iter().chain(&flags))?.success();
    let web = concat!(
        r#"  "web" [style="filled" label=<<font point-size="15">web</font>"#,
        r#"<font point-size="10"><br/><br/><b>Networks:</b><br/>back<br/>front</font>"#,
        r#"<font point-size="10"><br/><br/><b>Ports:</b><br/>127.0.0.1:8080:80 (tcp, ingress)<br/>:99 (tcp, ingress)</font>"#,
        r#"<font point-size="10"><br/><br/><b>Image:</b><br/>nginx:1</font>>];"#,
    );
    assert!(full.stdout.lines().any(|line| line == web), "{full}");
    let missing = env.run(["alpha", "dry-run"])?;
    assert_eq!(missing.status, 1, "{missing}");
    assert!(
        missing
            .stderr
            .contains("help: `generate`, `publish` and `viz` are here"),
        "{missing}"
    );
    Ok(())
}

#[test]
fn flags_without_effect_are_taken_with_a_warning() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: old\nservices: {web: {image: 'nginx:1'}}\n",
    )?;
    for (command, flag) in [
        ("build", "--compress"),
        ("build", "--force-rm"),
        ("build", "--no-rm"),
        ("build", "--parallel"),
        ("pull", "--parallel"),
        ("pull", "--no-parallel"),
        ("rm", "--all"),
    ] {
        // The warning comes before the engine is looked for.
        let output = env.run(["--engine", "unix:///nowhere/e.sock", command, flag])?;
        let warning =
            format!("level=warning msg=\"option '{flag}' is DEPRECATED and will be ignored.\"");
        assert!(
            output.stderr.contains(&warning),
            "{command} {flag}: {output}"
        );
        let without = env.run(["--engine", "unix:///nowhere/e.sock", command])?;
        assert!(!without.stderr.contains("DEPRECATED"), "{without}");
    }
    Ok(())
}

#[test]
fn the_log_level_decides_about_warnings_and_more() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: told\nservices: {web: {image: 'nginx:$UNSET'}}\n",
    )?;
    let logged = |flags: &[&str]| -> io::Result<(bool, bool)> {
        let output = env.run(flags.iter().chain(&["config", "-q"]))?.success();
        Ok((
            output.stderr.contains("level=warning"),
            output.stderr.contains("level=debug"),
        ))
    };
    assert_eq!(logged(&[])?, (true, false));
    for level in ["info", "warn", "WARNING"] {
        assert_eq!(logged(&["--log-level", level])?, (true, false), "{level}");
    }
    for level in ["error", "fatal", "panic"] {
        assert_eq!(logged(&["--log-level", level])?, (false, false), "{level}");
    }
    for flags in [
        &["--log-level", "debug"][..],
        &["--debug"],
        &["-D"],
        &["--verbose"],
        &["--log-level", "error", "--debug"],
    ] {
        assert_eq!(logged(flags)?, (true, true), "{flags:?}");
    }
    let files = env.run(["--debug", "config", "-q"])?.success();
    assert!(files.stderr.contains("compose.yaml\""), "{files}");
    let wrong = env.run(["--log-level", "loud", "config", "-q"])?;
    assert_eq!(wrong.status, 1, "{wrong}");
    assert_eq!(wrong.stderr, "Unable to parse logging level: loud\n");
    Ok(())
}
