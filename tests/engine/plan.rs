//! `plan` on the built-in engine: what it says of a change, and that it has no effect.

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::{TestResult, has_root, sleeper};

/// What the service has beside [`sleeper`]'s.
const MORE: &str = "    environment:
      TOKEN: hunter2
    labels:
      tier: front
    volumes:
      - /tmp:/host:ro
    cap_add: [NET_ADMIN]
    mem_limit: 64m
    healthcheck:
      test: [CMD, 'true']
      interval: 30s
";

const PRODUCTION: &str = "services:
  web:
    environment:
      TOKEN: hunter3
    labels:
      tier: back
    mem_limit: 128m
";

fn run(env: &TestEnvironment, args: &[&str]) -> std::io::Result<CommandOutput> {
    let files = ["-f", "compose.yaml", "-f", "compose.prod.yaml"];
    env.run(files.iter().chain(args))
}

#[test]
fn a_plan_names_each_changed_field_with_its_line_and_no_secret() -> TestResult {
    if !has_root("plan") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    std::fs::write(env.path("compose.yaml"), sleeper("planned") + MORE)?;
    std::fs::write(env.path("compose.prod.yaml"), PRODUCTION)?;
    let _up = env.run(["-f", "compose.yaml", "up", "-d"])?.success();
    let same = env.run(["-f", "compose.yaml", "plan", "--detailed-exitcode"])?;
    insta::assert_snapshot!(same, @r"
    nothing to do
    [exit status: 0]
    ");

    let text = run(&env, &["plan", "--detailed-exitcode"])?;
    insta::assert_snapshot!(text, @r"
    ~ recreate container planned-web-1  # environment.TOKEN changed, compose.prod.yaml:4; labels.tier: front -> back, compose.prod.yaml:6; mem_limit: 64m -> 128m, compose.prod.yaml:7
    > start container planned-web-1  # just created
    [exit status: 2]
    ");

    let json = run(&env, &["plan", "--format", "json"])?.success();
    assert!(!json.stdout.contains("hunter"), "{json}");
    let plan: serde_json::Value = serde_json::from_str(&json.stdout)?;
    insta::assert_snapshot!(plan["actions"][0]["cause"], @r#"
    {"why":"config_changed","changes":[{"field":"environment.TOKEN","change":"changed","place":"compose.prod.yaml:4"},{"field":"labels.tier","change":"changed","from":"front","to":"back","place":"compose.prod.yaml:6"},{"field":"mem_limit","change":"changed","from":"64m","to":"128m","place":"compose.prod.yaml:7"}]}
    "#);

    assert!(plan["actions"][0]["step"].get("shown").is_none(), "{json}");
    let actions = plan["actions"].as_array().ok_or("no actions")?;
    let start = actions.last().ok_or("no action")?;
    assert_eq!(start["step"]["container"]["made_by"], 0, "{json}");

    let dry = run(&env, &["--dry-run", "up", "-d"])?.success();
    assert_eq!(
        dry.stdout, text.stdout,
        "the plan and `up --dry-run` are one"
    );
    let listed = run(&env, &["ps", "--format", "{{.Name}} {{.State}}"])?.success();
    assert_eq!(listed.stdout, "planned-web-1 running\n");
    Ok(())
}

const VOLUME: &str = "    volumes: [data:/data]
volumes:
  data: {labels: {edition: '${EDITION:-1}'}}
";

#[test]
fn a_dry_run_asks_nothing_and_shows_what_the_plan_shows() -> TestResult {
    if !has_root("up --dry-run") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    std::fs::write(env.path("compose.yaml"), sleeper("questions") + VOLUME)?;
    let _up = env.run(["up", "-d"])?.success();
    let changed = |args: &[&str]| output(env.command(args).env("EDITION", "2"));
    let plan = changed(&["plan"])?.success();
    assert!(
        plan.stdout.starts_with("? recreate volume questions_data"),
        "{plan}"
    );
    let dry = changed(&["--dry-run", "up", "-d"])?.success();
    assert_eq!(dry.stdout, plan.stdout);
    let allowed = changed(&["--dry-run", "up", "-d", "-y"])?.success();
    assert!(
        allowed
            .stdout
            .contains("- remove volume questions_data  # labels.edition: 1 -> 2"),
        "{allowed}"
    );
    let other = changed(&["--dry-run", "create"])?.success();
    assert!(!other.stdout.contains("[y/N]"), "{other}");
    let same = env.run(["plan", "--detailed-exitcode"])?;
    assert_eq!(same.status, 0, "a dry run has no effect: {same}");
    Ok(())
}

const SECOND: &str = "    depends_on: [db]
  db:
    image: rootfs:/
    command: sleep 1000
    network_mode: none
    stop_grace_period: 0s
";

#[test]
fn a_plan_takes_the_flags_of_up_and_means_the_same() -> TestResult {
    if !has_root("plan with the flags of up") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let files = sleeper("wishes") + SECOND;
    std::fs::write(env.path("compose.yaml"), &files)?;
    let _up = env.run(["up", "-d"])?.success();
    let recreated = |plan: &CommandOutput, service: &str| {
        let line = format!("~ recreate container wishes-{service}-1");
        plan.stdout.contains(&line)
    };
    for (flags, web, db) in [
        (&["--force-recreate"][..], true, true),
        (&["--force-recreate", "web"], true, false),
        (
            &["--force-recreate", "--always-recreate-deps", "web"],
            true,
            true,
        ),
        (&["--always-recreate-deps", "web"], false, true),
        (&["--force-recreate", "--no-deps", "web"], true, false),
        (&["-V"], true, true),
        (&["--renew-anon-volumes", "db"], false, true),
        (&["--no-recreate"], false, false),
        (&["--no-start"], false, false),
        (&["--wait"], false, false),
        (&["--scale", "db=2", "-t", "1"], false, false),
        (
            &["--pull", "never", "--no-build", "--remove-orphans", "-y"],
            false,
            false,
        ),
    ] {
        let plan = env.run(["plan"].iter().chain(flags))?.success();
        assert_eq!(recreated(&plan, "web"), web, "{flags:?}: {plan}");
        assert_eq!(recreated(&plan, "db"), db, "{flags:?}: {plan}");
        let scaled = plan.stdout.contains("+ create container wishes-db-2");
        assert_eq!(scaled, flags.contains(&"--scale"), "{flags:?}: {plan}");
        let dry = env.run(["--dry-run", "up", "-d"].iter().chain(flags))?;
        assert_eq!(dry.success().stdout, plan.stdout, "{flags:?}");
    }
    std::fs::write(env.path("compose.yaml"), files.replace("1000", "2000"))?;
    let kept = env.run(["plan", "--no-recreate", "--detailed-exitcode"])?;
    assert_eq!(kept.status, 0, "nothing is made anew: {kept}");
    let both = env.run(["plan", "--no-recreate", "--force-recreate"])?;
    assert_eq!(both.status, 1, "{both}");
    Ok(())
}
