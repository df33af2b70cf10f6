//! One run tells every independent mistake, and none twice.

use std::{error::Error, fs};

use hoist::load::{self, LoadError};

use super::request;

type TestResult = Result<(), Box<dyn Error>>;

/// The file, line and code of each error.
fn told(error: &LoadError) -> Vec<String> {
    let shown = error.diagnostics.iter().map(|diagnostic| {
        let place = diagnostic.labels.first().map(|label| {
            let (line, _) = label.source.line_column(label.span.start);
            let name = label.source.name.rsplit('/').next().unwrap_or_default();
            format!("{name}:{line} ")
        });
        format!("{}{}", place.unwrap_or_default(), diagnostic.code)
    });
    shown.collect()
}

fn errors(files: &[(&str, &str)], given: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(directory.path()))?;
        fs::write(path, text)?;
    }
    let error = load::load(&request(directory.path(), given));
    Ok(error.err().map(|error| told(&error)).unwrap_or_default())
}

#[test]
fn every_phase_adds_what_it_finds() -> TestResult {
    let text = "\
services:
  web:
    imagee: nginx
    image: nginx
    image: httpd
    ports: ['80:http', '81:81']
    mem_limit: 5q
    depends_on: [db]
  api:
    image: ${NONE:?which}
    scale: ${SET}
    volumes: ['data:/d']
    network_mode: host
    networks: [front]
    env_file: gone.env
networks: {front: }
secrets:
  s: {file: a, environment: B}
";
    assert_eq!(
        errors(&[("compose.yaml", text)], &[])?,
        [
            "compose.yaml:3 unknown-key",
            "compose.yaml:5 duplicate-key",
            "compose.yaml:6 invalid-value",
            "compose.yaml:7 invalid-value",
            "compose.yaml:8 undefined",
            "compose.yaml:10 required-variable",
            "compose.yaml:11 wrong-type",
            "compose.yaml:12 undefined",
            "compose.yaml:13 conflict",
            "compose.yaml:15 file",
            "compose.yaml:18 conflict",
        ]
    );
    Ok(())
}

#[test]
fn several_files_are_read_to_the_end_although_one_is_not_yaml() -> TestResult {
    let files = [
        ("a.yaml", "services:\n  web: {image: [x], ports: ['x']}\n"),
        ("b.yaml", "services:\n  web: {image: x\n"),
        (
            "c.yaml",
            "services:\n  db: {imag: x, depends_on: [web, b]}\n  db: {image: x}\n",
        ),
    ];
    assert_eq!(
        errors(&files, &["a.yaml", "b.yaml", "c.yaml", "d.yaml"])?,
        [
            "file",
            "a.yaml:2 wrong-type",
            "a.yaml:2 invalid-value",
            "b.yaml:2 yaml-syntax",
            "c.yaml:2 unknown-key",
            "c.yaml:3 duplicate-key",
        ]
    );
    Ok(())
}

#[test]
fn parts_that_cannot_be_followed_do_not_hide_the_rest() -> TestResult {
    let main = "\
include: [gone.yaml, part/compose.yaml]
services:
  a: {extends: b}
  b: {extends: a}
  c: {extends: {file: base.yaml, service: nothing}}
  d: {image: x, ports: [x]}
  e: {image: x, depends_on: [in_gone]}
";
    let files = [
        ("compose.yaml", main),
        (
            "part/compose.yaml",
            "services:\n  p: {image: x, cpus: many}\n",
        ),
        ("base.yaml", "services:\n  some: {image: x}\n"),
    ];
    assert_eq!(
        errors(&files, &[])?,
        [
            "compose.yaml:1 include",
            "compose.yaml:3 extends",
            "compose.yaml:5 extends",
            "compose.yaml:6 invalid-value",
            "compose.yaml:2 wrong-type",
        ]
    );
    Ok(())
}

#[test]
fn what_cannot_be_laid_over_another_is_told_everywhere() -> TestResult {
    let base = "services:\n  web: {image: x, environment: {A: 1}, deploy: {mode: global}, labels: [a=b]}\n";
    let over = "services:\n  web: {image: [y], deploy: [z], build: {target: [x]}, logging: 5}\n";
    assert_eq!(
        errors(&[("a.yaml", base), ("b.yaml", over)], &["a.yaml", "b.yaml"])?,
        [
            "b.yaml:2 wrong-type",
            "b.yaml:2 override",
            "b.yaml:2 wrong-type",
            "b.yaml:2 wrong-type",
        ]
    );
    Ok(())
}

#[test]
fn a_wrong_value_makes_no_second_error() -> TestResult {
    for text in [
        "services:\n  web: {image: [x]}\n",
        "services:\n  web: 5\n  api: {image: x, depends_on: [web]}\n",
        "services:\n  web: {image: x, networks: [n], volumes: ['v:/v']}\nnetworks: 5\nvolumes: {v: }\n",
        "services:\n  web: {image: x, ports: [{target: '${NONE:?x}'}]}\n",
        "services:\n  web: {image: x}\nsecrets:\n  s: {environment: [x]}\n",
        "services:\n  web: {image: x, scale: many, container_name: one}\n",
        "services:\n  web: {image: x, depends_on: {db: {condition: ready}}}\n  db: {image: x}\n",
        "name: '${NONE:?x}'\nservices:\n  web: {image: x}\n",
        "services:\n  web: {extends: {file: gone.yaml, service: x}}\n",
    ] {
        let errors = errors(&[("compose.yaml", text)], &[])?;
        assert_eq!(errors.len(), 1, "{text}{errors:?}");
    }
    Ok(())
}
