//! Several files as one project: overrides, `include`, `extends`, `!reset`, and where values come from.

use std::{error::Error, fs};

use hoist::load::{self, Phase};

use super::request;

type TestResult = Result<(), Box<dyn Error>>;

const BASE: &str = "\
services:
  web:
    image: nginx
    command: [serve]
    environment: {A: '1', B: '2'}
    ports: ['80:80']
    volumes: ['./data:/data']
";

#[test]
fn lays_an_override_over_a_base() -> TestResult {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("base.yaml"), BASE)?;
    let over = "\
services:
  web:
    image: nginx:2
    command: [other]
    environment: ['B=3', 'C=$SET']
    ports: !override ['81:81']
    volumes: ['./more:/data']
";
    fs::write(directory.path().join("over.yaml"), over)?;
    let loaded = load::load(&request(directory.path(), &["base.yaml", "over.yaml"]))?;
    let web = &loaded.project.services["web"];
    assert_eq!(web.image, "nginx:2");
    assert_eq!(web.command.as_deref(), Some(&["other".to_owned()][..]));
    let environment: Vec<String> = web
        .environment
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(environment, ["A=1", "B=3", "C=value"]);
    assert_eq!(web.ports.len(), 1);
    assert_eq!(web.ports[0].published, "81");
    assert_eq!(web.volumes.len(), 1);
    assert!(web.volumes[0].source.ends_with("/more"));
    Ok(())
}

#[test]
fn a_label_file_is_read_and_stays_in_the_model() -> TestResult {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("labels"), "team=a\n")?;
    let base = "services:\n  web:\n    image: x\n    label_file: labels\n";
    fs::write(directory.path().join("base.yaml"), base)?;
    let loaded = load::load(&request(directory.path(), &["base.yaml"]))?;
    let web = &loaded.project.services["web"];
    assert_eq!(web.labels.get("team").map(String::as_str), Some("a"));
    let path = directory.path().canonicalize()?.join("labels");
    assert_eq!(web.label_file, [path.display().to_string()]);
    Ok(())
}

#[test]
fn a_published_number_and_its_text_are_two_ports() -> TestResult {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, ports: &str| {
        let text = format!("services:\n  web:\n    image: x\n    ports: [{ports}]\n");
        fs::write(directory.path().join(name), text)
    };
    write("base.yaml", "{target: 80, published: 80}")?;
    write("text.yaml", "'80:80'")?;
    write("number.yaml", "{target: 80, published: 80, protocol: tcp}")?;
    for (over, expected) in [("text.yaml", 2), ("number.yaml", 1)] {
        let loaded = load::load(&request(directory.path(), &["base.yaml", over]))?;
        assert_eq!(
            loaded.project.services["web"].ports.len(),
            expected,
            "{over}"
        );
    }
    Ok(())
}

#[test]
fn tells_where_a_value_comes_from() -> TestResult {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("base.yaml"), BASE)?;
    let over = "services:\n  web:\n    image: ${IMAGE:-nginx:3}\n";
    fs::write(directory.path().join("over.yaml"), over)?;
    let loaded = load::load(&request(directory.path(), &["base.yaml", "over.yaml"]))?;
    let steps = loaded
        .origins
        .explain("services.web.image")
        .unwrap_or_default();
    let told: Vec<String> = steps
        .iter()
        .map(|step| {
            format!(
                "{} {}",
                step.place.rsplit('/').next().unwrap_or_default(),
                step.text
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "base.yaml:3:12 set to `nginx`",
            "over.yaml:3:12 replaced by `${IMAGE:-nginx:3}`",
            " `IMAGE` is not set; `nginx:3` stands in",
        ]
    );
    Ok(())
}

#[test]
fn resets_what_an_earlier_file_says() -> TestResult {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("base.yaml"), BASE)?;
    let over = "services:\n  web:\n    ports: !reset []\n    environment:\n      A: !reset null\n";
    fs::write(directory.path().join("over.yaml"), over)?;
    let loaded = load::load(&request(directory.path(), &["base.yaml", "over.yaml"]))?;
    let web = &loaded.project.services["web"];
    assert!(web.ports.is_empty());
    assert!(!web.environment.contains_key("A"));
    Ok(())
}

#[test]
fn instructions_behind_merge_keys_count_as_in_docker_compose() -> TestResult {
    const ONE: &str = "x-o: &o {ports: !override ['9:9']}\nx-p: &p {ports: ['7:7']}\n";
    let cases: [(&str, &[&str]); 5] = [
        ("{<<: *o}", &["9"]),
        ("{<<: *o, ports: !reset null}", &["9"]),
        ("{<<: *p, ports: !reset null}", &["7"]),
        // Of a list behind `<<` the instructions are not heard.
        ("{<<: [*o]}", &["1", "9"]),
        ("{<<: [*o], ports: !reset null}", &["9"]),
    ];
    for (service, expected) in cases {
        let directory = tempfile::tempdir()?;
        let base = "services:\n  web: {image: nginx, ports: ['1:1']}\n";
        fs::write(directory.path().join("base.yaml"), base)?;
        let over = format!("{ONE}services:\n  web: {service}\n");
        fs::write(directory.path().join("over.yaml"), over)?;
        let loaded = load::load(&request(directory.path(), &["base.yaml", "over.yaml"]))?;
        let ports = loaded.project.services["web"].ports.iter();
        let published: Vec<String> = ports.map(|port| port.published.clone()).collect();
        assert_eq!(published, expected, "{service}");
    }
    Ok(())
}

#[test]
fn includes_a_project_with_its_own_directory_and_environment() -> TestResult {
    let directory = tempfile::tempdir()?;
    fs::create_dir(directory.path().join("part"))?;
    let main = "include: [part/compose.yaml]\nservices:\n  web: {image: nginx, depends_on: [db]}\n";
    fs::write(directory.path().join("compose.yaml"), main)?;
    let part = "services:\n  db:\n    image: postgres:${TAG}\n    volumes: ['./data:/data']\n";
    fs::write(directory.path().join("part/compose.yaml"), part)?;
    fs::write(directory.path().join("part/.env"), "TAG=15\n")?;
    let loaded = load::load(&request(directory.path(), &[]))?;
    let db = &loaded.project.services["db"];
    assert_eq!(db.image, "postgres:15");
    let data = directory.path().join("part/data");
    assert_eq!(db.volumes[0].source, data.display().to_string());
    Ok(())
}

#[test]
fn extends_services_of_other_files_and_refuses_circles() -> TestResult {
    let directory = tempfile::tempdir()?;
    let base = "services:\n  base: {image: nginx, build: ./ctx, labels: {a: '1'}}\n  a: {extends: b}\n  b: {extends: a}\n";
    fs::write(directory.path().join("base.yaml"), base)?;
    let main =
        "services:\n  web:\n    extends: {file: base.yaml, service: base}\n    labels: {b: '2'}\n";
    fs::write(directory.path().join("compose.yaml"), main)?;
    let loaded = load::load(&request(directory.path(), &[]))?;
    let labels: Vec<&String> = loaded.project.services["web"].labels.keys().collect();
    assert_eq!(labels, ["a", "b"]);
    let circle = "services:\n  web:\n    extends: {file: base.yaml, service: a}\n";
    fs::write(directory.path().join("compose.yaml"), circle)?;
    let error = load::load(&request(directory.path(), &[]));
    assert!(error.is_err_and(|error| error.to_string().contains("Circular reference:")));
    Ok(())
}

#[test]
fn hides_the_values_of_secrets() -> TestResult {
    let directory = tempfile::tempdir()?;
    let main =
        "services:\n  web: {image: nginx, secrets: [s]}\nsecrets:\n  s: {environment: SET}\n";
    fs::write(directory.path().join("compose.yaml"), main)?;
    let loaded = load::load(&request(directory.path(), &[]))?;
    assert_eq!(loaded.project.secrets["s"].content, "value");
    assert!(!serde_json::to_string(&loaded.project)?.contains("value"));
    let mut raw = request(directory.path(), &[]);
    raw.skip.push(Phase::Interpolation);
    let tree = load::load_tree(&raw)?;
    assert!(!load::to_json(&tree.tree).to_string().contains("value"));
    Ok(())
}

#[test]
fn paths_of_an_included_file_stay_relative_to_the_project_where_paths_are_not_resolved()
-> TestResult {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text);
    fs::create_dir_all(directory.path().join("sub/deep"))?;
    write("base.yaml", "include: [sub/a.yaml]\n")?;
    write(
        "sub/a.yaml",
        "include: [deep/b.yaml]\nservices: {a: {build: ./x}}\n",
    )?;
    write("sub/deep/b.yaml", "services: {b: {build: ../y}}\n")?;
    let mut request = request(directory.path(), &["base.yaml"]);
    request.skip = vec![Phase::PathResolution];
    let services = load::load(&request)?.project.services;
    let context = |name: &str| {
        services[name]
            .build
            .as_ref()
            .map(|build| build.context.as_str())
    };
    assert_eq!(context("a"), Some("sub/x"));
    assert_eq!(context("b"), Some("sub/y"));
    Ok(())
}

#[test]
fn a_project_directory_that_is_not_there_counts_as_a_file() -> TestResult {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text);
    let base = "include: [{path: a.yaml, project_directory: no/where}]\n";
    write("base.yaml", base)?;
    write("a.yaml", "services: {a: {build: ./x}}\n")?;
    let services = load::load(&request(directory.path(), &["base.yaml"]))?
        .project
        .services;
    let build = services["a"].build.as_ref();
    let want = directory.path().join("no/x").display().to_string();
    assert_eq!(
        build.map(|build| build.context.as_str()),
        Some(want.as_str())
    );
    Ok(())
}
