//! Where the variables of a one-off command come from, on the built-in engine.

use crate::common::env::TestEnvironment;
use crate::common::has_root;

type TestResult = Result<(), Box<dyn std::error::Error>>;

const COMPOSE: &str = "name: oneoff
services:
  a:
    image: rootfs:/
    network_mode: none
    environment: {FROM_SERVICE: service, KEPT: service}
";

const FIRST: &str = "# what is decided first stays
export A=one
FROM_SERVICE=file
B=\"x ${A} ${TOLD} ${PROJECT}\"
C='lit $A'
D=value # comment
TOLD=file
PROJECT
COLON: colon
";

fn prepared() -> Result<TestEnvironment, Box<dyn std::error::Error>> {
    let env = TestEnvironment::new()?;
    for (file, text) in [
        ("compose.yaml", COMPOSE),
        (".env", "PROJECT=project\n"),
        ("first.env", FIRST),
        ("second.env", "A=two\nZ=${A}\n"),
        ("bad.env", "GOOD=1\nA B=1\n"),
    ] {
        std::fs::write(env.path(file), text)?;
    }
    Ok(env)
}

#[test]
fn what_is_said_first_decides_and_files_may_use_it() -> TestResult {
    if !has_root("run --env-from-file") {
        return Ok(());
    }
    let env = prepared()?;
    let script = "echo \"$A|$B|$C|$D|$TOLD|${PROJECT-unset}|$COLON|$Z|$FROM_SERVICE|$KEPT\"";
    let files = [
        "--env-from-file",
        "first.env",
        "--env-from-file",
        "second.env",
    ];
    let mut arguments = vec!["run", "--rm", "-T", "-e", "TOLD=flag", "-e", "KEPT"];
    arguments.extend(files);
    arguments.extend(["a", "sh", "-c", script]);
    let run = env.run(arguments)?.success();
    assert_eq!(
        run.stdout,
        "one|x one flag |lit $A|value|flag|unset|colon|one|file|service\n"
    );
    let warning = r#"The \"PROJECT\" variable is not set."#;
    assert!(run.stderr.contains(warning), "{run}");
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_line() -> TestResult {
    if !has_root("run --env-from-file") {
        return Ok(());
    }
    let env = prepared()?;
    for (file, said) in [
        ("bad.env", "env file bad.env: line 2: "),
        ("none.env", "couldn't read env file: none.env: "),
    ] {
        let run = env.run(["run", "--rm", "-T", "--env-from-file", file, "a", "true"])?;
        assert_eq!(run.status, 1, "{run}");
        assert!(run.stderr.contains(said), "{run}");
    }
    Ok(())
}
