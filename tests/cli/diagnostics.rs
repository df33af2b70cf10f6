//! `config --quiet --format json`: what is wrong, for editors and pipelines.

use std::{error::Error, fs};

use serde_json::Value;

use crate::common::env::TestEnvironment;

type TestResult = Result<(), Box<dyn Error>>;

fn lines(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    text.lines().map(serde_json::from_str).collect()
}

#[test]
fn each_mistake_is_one_line_of_json() -> TestResult {
    let env = TestEnvironment::new()?;
    let text = "\
version: '3'
services:
  web:
    imagee: nginx
    image: x
    image: y
    environment: {A: $UNSET}
";
    fs::write(env.path("compose.yaml"), text)?;
    let output = env.run(["config", "-q", "--format", "json"])?;
    assert_eq!(output.status, 1, "{output}");
    assert_eq!(output.stdout, "");
    let told = lines(&output.stderr)?;
    let shown: Vec<String> = told
        .iter()
        .map(|line| {
            format!(
                "{} {} {}:{}-{}:{}",
                line["severity"],
                line["code"],
                line["line"],
                line["column"],
                line["end_line"],
                line["end_column"]
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "\"warning\" \"unset-variable\" 7:22-7:28",
            "\"warning\" \"deprecated\" 1:1-1:8",
            "\"error\" \"unknown-key\" 4:5-4:11",
            "\"error\" \"duplicate-key\" 6:5-6:10",
        ]
    );
    assert_eq!(told[2]["help"][0], "did you mean `image`?");
    assert_eq!(told[3]["related"][0]["line"], 5);
    assert_eq!(told[3]["related"][0]["message"], "the first time");
    assert!(
        told[3]["file"]
            .as_str()
            .is_some_and(|file| file.ends_with("/compose.yaml"))
    );
    Ok(())
}

#[test]
fn what_is_right_prints_nothing() -> TestResult {
    let env = TestEnvironment::new()?;
    fs::write(env.path("compose.yaml"), "services:\n  web: {image: x}\n")?;
    let output = env.run(["config", "-q", "--format", "json"])?.success();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    Ok(())
}

#[test]
fn errors_that_are_not_about_the_files_are_json_too() -> TestResult {
    let env = TestEnvironment::new()?;
    let output = env.run(["config", "-q", "--format", "json"])?;
    assert_eq!(output.status, 1, "{output}");
    let told = lines(&output.stderr)?;
    assert_eq!(told.len(), 1, "{output}");
    assert_eq!(told[0]["code"], "empty");
    assert!(told[0].get("file").is_none());
    Ok(())
}

#[test]
fn without_quiet_the_errors_are_for_people() -> TestResult {
    let env = TestEnvironment::new()?;
    fs::write(env.path("compose.yaml"), "services:\n  web: {imag: x}\n")?;
    let output = env.run(["config", "--format", "json"])?;
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stderr.contains("unknown key `imag`"), "{output}");
    assert!(lines(&output.stderr).is_err());
    Ok(())
}

#[test]
fn a_file_without_an_end_is_refused() -> TestResult {
    let env = TestEnvironment::new()?;
    let text = "include: [/dev/zero]\nservices: {a: {image: x, env_file: /dev/zero}}\n";
    fs::write(env.path("compose.yaml"), text)?;
    let output = env.run(["config", "-q", "--format", "json"])?;
    assert_eq!(output.status, 1, "{output}");
    let told = lines(&output.stderr)?;
    let shown: Vec<String> = told
        .iter()
        .map(|line| format!("{}:{} {}", line["line"], line["column"], line["message"]))
        .collect();
    assert_eq!(
        shown,
        [
            "1:11 \"cannot read `/dev/zero`: it has more than 128 MiB\"",
            "2:36 \"cannot read the env file `/dev/zero`: it has more than 128 MiB\"",
        ]
    );
    Ok(())
}

#[test]
fn nothing_of_a_file_acts_on_the_terminal() -> TestResult {
    let env = TestEnvironment::new()?;
    let text = "services:\n  a: {image: x, \"im\\e[31m\u{202e}\": y}\n";
    fs::write(env.path("compose.yaml"), text)?;
    let output = env.run(["config", "-q"])?;
    assert_eq!(output.status, 1, "{output}");
    assert!(
        output.stderr.contains("unknown key `im?[31m\u{fffd}`"),
        "{output}"
    );
    assert!(!output.stderr.contains(['\u{1b}', '\u{202e}']), "{output}");
    Ok(())
}

#[test]
fn the_end_of_a_long_path_is_told() -> TestResult {
    let env = TestEnvironment::new()?;
    let file = format!("{}/settings.env", "folder/".repeat(20));
    let text = format!("services: {{a: {{image: x, env_file: {file}}}}}\n");
    fs::write(env.path("compose.yaml"), text)?;
    let output = env.run(["config", "-q"])?;
    assert!(output.stderr.contains("settings.env not found"), "{output}");
    Ok(())
}

#[test]
fn what_is_no_text_has_a_place() -> TestResult {
    let env = TestEnvironment::new()?;
    for (bytes, want) in [
        (
            &b"services:\n  a: {image: \xffx}\n"[..],
            "2:14 this is not UTF-8 text",
        ),
        (
            b"services:\n  a: {image: \"\0\"}\n",
            "2:15 a NUL character cannot be in YAML",
        ),
    ] {
        fs::write(env.path("compose.yaml"), bytes)?;
        let output = env.run(["config", "-q", "--format", "json"])?;
        assert_eq!(output.status, 1, "{output}");
        let told = lines(&output.stderr)?;
        let message = told[0]["message"].as_str().unwrap_or_default();
        let shown = format!("{}:{} {message}", told[0]["line"], told[0]["column"]);
        assert_eq!(shown, want);
    }
    Ok(())
}
