//! `publish`, against a registry on loopback.

use std::error::Error;

use crate::common::env::{TestEnvironment, output};
use crate::common::registry::{Access, Server};
use crate::common::{has_root, skip};

type Outcome = Result<(), Box<dyn Error>>;

/// A project that extends a service of another file and has an env file.
fn project() -> std::io::Result<TestEnvironment> {
    let env = TestEnvironment::new()?;
    std::fs::create_dir(env.path("base"))?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: shop\nservices:\n  web:\n    image: busybox\n    env_file: web.env\n    extends: {file: base/web.yaml, service: base}\n",
    )?;
    std::fs::write(
        env.path("base/web.yaml"),
        "services:\n  base:\n    image: busybox\n    working_dir: /srv\n",
    )?;
    std::fs::write(env.path("web.env"), "COLOUR=green\n")?;
    Ok(env)
}

/// The manifest that the registry has, without a client of ours.
fn fetch(address: &str, path: &str) -> Result<String, Box<dyn Error>> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(
        stream,
        "GET /v2/{path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/vnd.oci.image.manifest.v1+json\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    Ok(body.to_owned())
}

#[test]
fn a_project_is_published_with_what_its_files_need() -> Outcome {
    // The engine pushes the images of the services first.
    if !has_root("a_project_is_published_with_what_its_files_need") {
        return Ok(());
    }
    let Some(registry) = Server::start(Access::Open)? else {
        skip("publish", "docker-registry");
        return Ok(());
    };
    let env = project()?;
    let target = format!("{}/team/shop:1", registry.address);
    let args = [
        "publish",
        "--with-env",
        "--oci-version",
        "1.0",
        "-y",
        &target,
    ];
    let published = env.run(args)?.success();
    assert!(
        published.stderr.contains(&format!("{target} published")),
        "{published}"
    );
    let manifest: serde_json::Value =
        serde_json::from_str(&fetch(&registry.address, "team/shop/manifests/1")?)?;
    let layers = manifest["layers"].as_array().ok_or("no layers")?;
    let notes: Vec<_> = layers.iter().map(|layer| &layer["annotations"]).collect();
    assert_eq!(notes.len(), 3, "{manifest}");
    assert_eq!(notes[0]["com.docker.compose.file"], "compose.yaml");
    assert_eq!(notes[1]["com.docker.compose.extends"], "true");
    let env_name = notes[2]["com.docker.compose.envfile"]
        .as_str()
        .ok_or("no env file")?;
    let digest = layers[0]["digest"].as_str().ok_or("no digest")?;
    let file = fetch(&registry.address, &format!("team/shop/blobs/{digest}"))?;
    assert!(file.contains(env_name), "{file}");
    assert!(!file.contains("web.env"), "{file}");
    let parent = notes[1]["com.docker.compose.file"]
        .as_str()
        .ok_or("no parent")?;
    assert!(file.contains(parent), "{file}");
    let digest = layers[2]["digest"].as_str().ok_or("no digest")?;
    let env_file = fetch(&registry.address, &format!("team/shop/blobs/{digest}"))?;
    assert_eq!(env_file, "COLOUR=green\n");
    Ok(())
}

#[test]
fn declined_questions_publish_nothing() -> Outcome {
    let env = project()?;
    let mut command = env.command(["publish", "localhost:1/team/shop"]);
    let declined = output(&mut command)?;
    assert_eq!(declined.status, 130, "{declined}");
    assert!(
        declined
            .stdout
            .contains("service \"web\": env_file declared"),
        "{declined}"
    );
    Ok(())
}

#[test]
fn what_others_could_not_use_is_refused() -> Outcome {
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: shop\ninclude: [other.yaml]\nservices:\n  web: {image: busybox}\n",
    )?;
    std::fs::write(
        env.path("other.yaml"),
        "services:\n  db: {image: busybox}\n",
    )?;
    let refused = env.run(["publish", "localhost:1/team/shop"])?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("local includes"), "{refused}");
    std::fs::write(
        env.path("compose.yaml"),
        "name: shop\nservices:\n  web: {build: .}\n",
    )?;
    let refused = env.run(["publish", "localhost:1/team/shop"])?;
    assert!(
        refused.stderr.contains("only contains a build section"),
        "{refused}"
    );
    Ok(())
}
