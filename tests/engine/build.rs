//! `hoist build` on the built-in engine: what the classic `/build` has no words for.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::registry::{Access, Server};
use crate::common::{has_root, skip};

type TestResult = Result<(), Box<dyn Error>>;

/// A project folder and an engine with an image `base` that has a shell.
struct Yard {
    env: TestEnvironment,
}

impl Yard {
    /// `None` where the test cannot run here.
    fn new(test: &str) -> Result<Option<Self>, Box<dyn Error>> {
        if !has_root(test) {
            return Ok(None);
        }
        if !Path::new("/bin/busybox").exists() {
            skip(test, "busybox-static");
            return Ok(None);
        }
        let env = TestEnvironment::new()?;
        let mut archive = tar::Builder::new(fs::File::create(env.path("base.tar"))?);
        archive.append_path_with_name("/bin/busybox", "bin/busybox")?;
        for program in ["sh", "cat", "ls", "echo", "test", "touch"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            archive.append_link(&mut header, format!("bin/{program}"), "busybox")?;
        }
        drop(archive.into_inner()?);
        let _imported = env.run(["image", "import", "base.tar", "base"])?.success();
        Ok(Some(Self { env }))
    }

    fn write(&self, path: &str, text: &str) -> TestResult {
        let path = self.env.path(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, text)?)
    }

    fn build(&self, variables: &[(&str, &str)]) -> Result<CommandOutput, Box<dyn Error>> {
        let mut command = self.env.command(["build"]);
        command.envs(variables.iter().copied());
        Ok(output(&mut command)?)
    }

    fn stop(&self) -> TestResult {
        let _stopped = self.env.run(["engine", "stop"])?.success();
        Ok(())
    }
}

#[test]
fn a_build_whose_client_leaves_ends_a_step_that_says_nothing() -> TestResult {
    let Some(yard) = Yard::new("a_build_whose_client_leaves_ends_a_step_that_says_nothing")? else {
        return Ok(());
    };
    yard.write(
        "compose.yaml",
        "services:\n  app:\n    build:\n      context: .\n      dockerfile_inline: |\n        FROM base\n        RUN echo begun; busybox tail -f /dev/null\n",
    )?;
    let mut command = yard.env.command(["build"]);
    let mut client = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(client.stdout.take().ok_or("no output")?).lines();
    while !lines.next().ok_or("the build ended")??.ends_with("begun") {}
    client.kill()?;
    client.wait()?;
    let start = Instant::now();
    // The directory of the step goes when it has ended.
    while fs::read_dir(yard.env.path("root/staging"))?
        .next()
        .is_some()
    {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the step runs on"
        );
    }
    yard.stop()
}

#[test]
fn secrets_and_further_contexts_reach_the_steps() -> TestResult {
    let Some(yard) = Yard::new("described builds")? else {
        return Ok(());
    };
    yard.write("token.txt", "from a file")?;
    yard.write("extra/e.txt", "from elsewhere")?;
    yard.write(
        "compose.yaml",
        r#"name: t
secrets:
  token: {file: ./token.txt}
  word: {environment: WORD}
services:
  below:
    build:
      dockerfile_inline: "FROM base\nRUN echo below > /below"
  app:
    build:
      secrets: [token, {source: word, target: other}]
      additional_contexts: {extra: ./extra, parent: "service:below"}
      dockerfile_inline: |
        FROM parent
        RUN --mount=type=secret,id=token --mount=type=secret,id=other,env=OTHER \
          cat /below /run/secrets/token && echo "and $$OTHER"
        COPY --from=extra e.txt /
        RUN cat /e.txt && test ! -e /run/secrets/token
"#,
    )?;
    let built = yard.build(&[("WORD", "from a variable")])?.success();
    for text in [
        "below",
        "from a file",
        "and from a variable",
        "from elsewhere",
    ] {
        assert!(built.stdout.contains(text), "{text}: {built}");
    }
    yard.stop()
}

#[test]
fn a_step_gets_the_privileges_that_the_file_grants_and_no_more() -> TestResult {
    let Some(yard) = Yard::new("entitled builds")? else {
        return Ok(());
    };
    let file = |entitlements: &str| {
        format!(
            "name: t\nservices:\n  app:\n    build:\n      {entitlements}\n      dockerfile_inline: |\n        FROM base\n        RUN --security=insecure --network=host ls /\n"
        )
    };
    yard.write("compose.yaml", &file("no_cache: true"))?;
    let refused = yard.build(&[])?;
    assert_ne!(refused.status, 0);
    assert!(
        refused
            .stderr
            .contains("network.host is not allowed: the build needs the entitlement"),
        "{refused}"
    );
    yard.write(
        "compose.yaml",
        &file("entitlements: [network.host, security.insecure]"),
    )?;
    let _built = yard.build(&[])?.success();
    yard.write("compose.yaml", &file("platforms: [linux/s390x]"))?;
    let foreign = yard.build(&[])?;
    assert!(
        foreign.stderr.contains("cannot build for linux/s390x"),
        "{foreign}"
    );
    yard.stop()
}

#[test]
fn the_rules_of_a_dockerfile_from_elsewhere_hold_and_its_failure_is_shown() -> TestResult {
    let Some(yard) = Yard::new("dockerfiles from elsewhere")? else {
        return Ok(());
    };
    yard.write("context/seen", "")?;
    yard.write("context/hidden", "")?;
    yard.write(
        "app.Dockerfile",
        "FROM base\nCOPY . /all\nRUN ls /all && echo last words && exit 3\n",
    )?;
    yard.write("app.Dockerfile.dockerignore", "hidden\n")?;
    yard.write(
        "compose.yaml",
        "name: t\nservices:\n  app:\n    build: {context: ./context, dockerfile: ../app.Dockerfile}\n",
    )?;
    let failed = yard.build(&[])?;
    assert_ne!(failed.status, 0);
    assert!(
        failed.stdout.contains("seen") && !failed.stdout.contains("hidden"),
        "{failed}"
    );
    let shown = "../app.Dockerfile:3\n--------------------\n   1 |     FROM base\n   2 |     COPY . /all\n   3 | >>> RUN ls /all";
    assert!(failed.stdout.contains(shown), "{failed}");
    assert!(
        failed.stderr.contains("returned a non-zero code: 3"),
        "{failed}"
    );
    yard.stop()
}

#[test]
fn the_same_files_at_the_same_epoch_give_the_same_image() -> TestResult {
    let Some(yard) = Yard::new("reproducible builds")? else {
        return Ok(());
    };
    yard.write(
        "compose.yaml",
        "name: t\nservices:\n  app:\n    image: app\n    build:\n      dockerfile_inline: |\n        FROM base\n        RUN touch /made\n        WORKDIR /w\n",
    )?;
    let build = || {
        let mut command = yard.env.command(["build", "--no-cache"]);
        let _built = output(command.env("SOURCE_DATE_EPOCH", "1700000000"))?.success();
        let inspected = yard.env.run(["image", "inspect", "app"])?.success();
        let found: serde_json::Value = serde_json::from_str(&inspected.stdout)?;
        let first = found.get(0).unwrap_or(&found).clone();
        Ok::<_, Box<dyn Error>>((first["Id"].clone(), first["Created"].clone()))
    };
    let (id, created) = build()?;
    assert_eq!(created, "2023-11-14T22:13:20Z");
    assert_eq!(build()?.0, id);
    yard.stop()
}

#[test]
fn images_go_out_as_an_archive_and_as_a_layout_and_come_back() -> TestResult {
    let Some(yard) = Yard::new("image commands")? else {
        return Ok(());
    };
    yard.write(
        "compose.yaml",
        "name: t\nservices:\n  app:\n    image: app:1\n    build:\n      dockerfile_inline: |\n        FROM base\n        RUN echo made > /made\n        CMD [\"cat\", \"/made\"]\n",
    )?;
    let _built = yard.build(&[])?.success();
    let image = |args: &[&str]| {
        let args = [&["image"], args].concat();
        yard.env.run(args)
    };
    let history = image(&["history", "app:1"])?.success();
    assert!(history.stdout.contains("echo made > /made"), "{history}");
    assert!(history.stdout.contains("CMD [\"cat\""), "{history}");
    let _tagged = image(&["tag", "app:1", "app:2"])?.success();
    let tree = image(&["tree"])?.success();
    assert!(tree.stdout.contains("  base:latest\n└── "), "{tree}");
    assert!(tree.stdout.contains("app:1, app:2"), "{tree}");
    let id = |name: &str| {
        let inspected = image(&["inspect", name])?.success();
        let found: serde_json::Value = serde_json::from_str(&inspected.stdout)?;
        Ok::<_, Box<dyn Error>>(found[0]["Id"].clone())
    };
    let before = id("app:1")?;
    let _saved = image(&["save", "-o", "docker-archive:a.tar", "app:1"])?.success();
    let _saved = image(&["save", "-o", "oci:layout", "app:1"])?.success();
    assert!(
        yard.env.path("layout/index.json").exists()
            && !yard.env.path("layout/manifest.json").exists()
    );
    for place in ["a.tar", "oci:layout"] {
        let _removed = image(&["rm", "app:1", "app:2"])?;
        let _pruned = image(&["prune", "--force", "--all"])?.success();
        assert_ne!(image(&["inspect", "app:1"])?.status, 0);
        let _loaded = image(&["load", place])?.success();
        assert_eq!(id("app:1")?, before, "{place}");
    }
    let unknown = image(&["save", "-o", "b.tar", "missing"])?;
    assert_ne!(unknown.status, 0);
    assert!(!yard.env.path("b.tar").exists());
    yard.stop()
}

/// Two engines that share nothing but a cache: what the one has done, the other does not do again.
fn build_twice(test: &str, cache: &str, folder: &Path) -> TestResult {
    let (Some(first), Some(second)) = (Yard::new(test)?, Yard::new(test)?) else {
        return Ok(());
    };
    let mut ids = Vec::new();
    for yard in [&first, &second] {
        fs::create_dir(yard.env.path("context"))?;
        fs::copy("/bin/busybox", yard.env.path("context/busybox"))?;
        let file = format!(
            "name: t\nservices:\n  app:\n    image: app\n    build:\n      context: ./context\n      cache_from: ['{}']\n      cache_to: ['{},mode=max']\n      dockerfile_inline: |\n        FROM scratch AS made\n        COPY busybox /bin/sh\n        RUN echo from a step > /made\n        FROM scratch\n        COPY --from=made /made /made\n",
            cache.replace("PLACE", "src"),
            cache.replace("PLACE", "dest"),
        );
        yard.write(
            "compose.yaml",
            &file.replace("DIR", &folder.to_string_lossy()),
        )?;
        let built = yard.build(&[])?.success();
        let cached = built.stdout.matches("CACHED").count();
        ids.push((cached, built));
    }
    assert_eq!(ids[0].0, 0, "{}", ids[0].1);
    assert_eq!(ids[1].0, 3, "{}", ids[1].1);
    first.stop()?;
    second.stop()
}

#[test]
fn a_cache_in_a_directory_spares_another_engine_the_steps() -> TestResult {
    let folder = tempfile::tempdir()?;
    build_twice(
        "a cache in a directory",
        "type=local,PLACE=DIR/cache",
        folder.path(),
    )
}

#[test]
fn a_cache_in_a_registry_spares_another_engine_the_steps() -> TestResult {
    let Some(registry) = Server::start(Access::Open)? else {
        skip("a cache in a registry", "docker-registry");
        return Ok(());
    };
    let cache = format!("type=registry,ref={}/shop/cache:main", registry.address);
    build_twice("a cache in a registry", &cache, Path::new("/"))
}
