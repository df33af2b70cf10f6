//! `config --resolve-image-digests` and `--lock-image-digests`, against a registry on loopback. No engine takes part.

use std::error::Error;
use std::fs;

use crate::common::env::TestEnvironment;
use crate::common::registry::{Access, Server};
use crate::common::skip;

type Outcome = Result<(), Box<dyn Error>>;

const PINNED: &str =
    "busybox:1@sha256:9532d8c39891ca2ecde4d30d7710e01fb739c87a8b9299685c63704296b16028";

/// A project, the registry of its images, and the digest of one.
type Prepared = (TestEnvironment, Server, String);

/// A project whose images are in the registry, with the digest that they have there.
fn project(test: &str) -> Result<Option<Prepared>, Box<dyn Error>> {
    let Some(registry) = Server::start(Access::Open)? else {
        skip(test, "docker-registry");
        return Ok(None);
    };
    let digest = registry.put_image("team/app", "latest")?;
    let env = TestEnvironment::new()?;
    let image = format!("{}/team/app", registry.address);
    fs::write(
        env.path("compose.yaml"),
        format!(
            "name: shop\nservices:\n  web:\n    image: {image}\n    volumes: [{{type: image, source: {image}, target: /x}}]\n    pre_start: [{{command: [a]}}]\n  pinned:\n    image: {PINNED}\n  built:\n    build: .\n"
        ),
    )?;
    Ok(Some((env, registry, digest)))
}

#[test]
fn images_of_services_hooks_and_mounts_are_pinned() -> Outcome {
    let Some((env, registry, digest)) = project("digests")? else {
        return Ok(());
    };
    let image = format!("{}/team/app:latest@{digest}", registry.address);
    for more in [&[][..], &["--no-interpolate"], &["--format", "json"]] {
        let args = [&["config", "--resolve-image-digests"], more].concat();
        let text = env.run(args)?.success().stdout;
        assert_eq!(text.matches(&image).count(), 3, "{text}");
        let (_, bare) = PINNED.split_once('@').ok_or("no digest")?;
        assert!(
            text.contains(&format!("docker.io/library/busybox@{bare}")),
            "{text}"
        );
    }
    Ok(())
}

#[test]
fn the_lock_file_holds_images_alone() -> Outcome {
    let Some((env, registry, digest)) = project("lock")? else {
        return Ok(());
    };
    let image = format!("{}/team/app:latest@{digest}", registry.address);
    let (_, bare) = PINNED.split_once('@').ok_or("no digest")?;
    let lock = env.run(["config", "--lock-image-digests", "-o", "lock.yaml"])?;
    assert!(
        lock.success()
            .stderr
            .contains("pre_start hook images are not pinned")
    );
    let written = fs::read_to_string(env.path("lock.yaml"))?;
    let expected = format!(
        "services:\n  built: {{}}\n  pinned:\n    image: docker.io/library/busybox@{bare}\n  web:\n    image: {image}\n    volumes:\n      - type: image\n        source: {image}\n        target: /x\n"
    );
    assert_eq!(written, expected);
    // It is laid over the project.
    let args = [
        "-f",
        "compose.yaml",
        "-f",
        "lock.yaml",
        "config",
        "--images",
    ];
    let images = env.run(args)?.success().stdout;
    assert!(images.contains(&image), "{images}");
    Ok(())
}

#[test]
fn every_image_that_cannot_be_resolved_is_told_with_its_place() -> Outcome {
    let Some((env, registry, _)) = project("unresolved")? else {
        return Ok(());
    };
    let file = format!(
        "services:\n  a:\n    image: {0}/team/none\n  b: {{image: 'no image'}}\n  c: {{image: {0}/team/app}}\n",
        registry.address
    );
    fs::write(env.path("compose.yaml"), file)?;
    let refused = env.run(["config", "--resolve-image-digests"])?;
    assert_eq!(refused.status, 1, "{refused}");
    assert_eq!(refused.stdout, "");
    let errors = refused.stderr;
    for expected in [
        "team/none:latest not found",
        "compose.yaml:3:12",
        "`no image` is not the name of an image",
        "compose.yaml:4:14",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    assert_eq!(errors.matches('×').count(), 2, "{errors}");
    Ok(())
}
