//! A registry that wants a password: `push`, `pull`, `build` and `create` send what `docker login` left.

use std::error::Error;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::registry::{Access, Server};
use crate::common::{has_root, skip};

type Outcome = Result<(), Box<dyn Error>>;

/// `user:secret`.
const AUTH: &str = "dXNlcjpzZWNyZXQ=";

struct Project {
    env: TestEnvironment,
    registry: Server,
}

impl Project {
    /// A project with an image in the registry's name that is built already.
    fn new(test: &str) -> Result<Option<Self>, Box<dyn Error>> {
        if !has_root(test) {
            return Ok(None);
        }
        let Some(registry) = Server::start(Access::Password)? else {
            skip(test, "docker-registry");
            return Ok(None);
        };
        let env = TestEnvironment::new()?;
        std::fs::create_dir_all(env.path("home"))?;
        std::fs::write(env.path("file"), "content")?;
        let image = format!("{}/team/base:1", registry.address);
        std::fs::write(
            env.path("compose.yaml"),
            format!(
                "name: locked
services:
  base:
    image: {image}
    build: {{ context: ., dockerfile_inline: \"FROM scratch\\nCOPY file /file\\n\" }}
  plain:
    image: {image}
    network_mode: none
    command: [/none]
    profiles: [plain]
  derived:
    image: derived
    build: {{ context: ., dockerfile_inline: \"FROM {image}\\nCOPY file /again\\n\" }}
    profiles: [derived]
"
            ),
        )?;
        let project = Self { env, registry };
        let _built = project.run(&["build", "base"], &[])?.success();
        Ok(Some(project))
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> std::io::Result<CommandOutput> {
        let mut command = self.env.command(["--progress", "plain"]);
        command.args(args).envs(variables.iter().copied());
        output(&mut command)
    }

    /// Writes the configuration of the docker command line.
    fn configure(&self, config: &Value) -> Outcome {
        std::fs::create_dir_all(self.env.path(".docker"))?;
        std::fs::write(self.env.path(".docker/config.json"), config.to_string())?;
        Ok(())
    }

    fn forget_images(&self) -> Outcome {
        let image = format!("{}/team/base:1", self.registry.address);
        let _removed = self.run(&["image", "rm", &image], &[])?;
        Ok(())
    }
}

#[test]
fn a_password_opens_push_pull_create_and_build() -> Outcome {
    let Some(project) = Project::new("credentials")? else {
        return Ok(());
    };
    let refused = project.run(&["push", "base"], &[])?;
    assert_eq!(refused.status, 1, "{refused}");
    project.configure(&json!({ "auths": { &project.registry.address: { "auth": AUTH } } }))?;
    let _pushed = project.run(&["push", "base"], &[])?.success();
    for command in [
        &["pull", "plain"][..],
        &["create", "plain"],
        &["build", "derived"],
    ] {
        let _down = project.run(&["--profile", "*", "down"], &[])?.success();
        project.forget_images()?;
        project.configure(&json!({}))?;
        let refused = project.run(command, &[])?;
        assert_ne!(refused.status, 0, "{command:?}: {refused}");
        project.configure(&json!({ "auths": { &project.registry.address: { "auth": AUTH } } }))?;
        let _done = project.run(command, &[])?.success();
    }
    Ok(())
}

#[test]
fn helpers_stores_and_the_environment_are_asked_too() -> Outcome {
    let Some(project) = Project::new("credential helpers")? else {
        return Ok(());
    };
    let address = &project.registry.address;
    let helper = project.env.path("bin/docker-credential-hoisttest");
    std::fs::create_dir(project.env.path("bin"))?;
    std::fs::write(
        &helper,
        format!(
            "#!/bin/sh
case $1 in
  list) echo '{{\"{address}\": \"user\"}}' ;;
  get) [ \"$(cat)\" = {address} ] || exit 1; echo '{{\"Username\": \"user\", \"Secret\": \"secret\"}}' ;;
esac
"
        ),
    )?;
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755))?;
    let path = std::env::var("PATH")?;
    let path = format!("{}:{path}", project.env.path("bin").display());
    let inline = json!({ "auths": { address: { "auth": AUTH } } }).to_string();
    let _pushed = project
        .run(&["push", "base"], &[("DOCKER_AUTH_CONFIG", &inline)])?
        .success();
    for config in [
        json!({ "credHelpers": { address: "hoisttest" } }),
        json!({ "credsStore": "hoisttest", "auths": { address: {} } }),
    ] {
        project.configure(&config)?;
        project.forget_images()?;
        let _pulled = project
            .run(&["pull", "plain"], &[("PATH", &path)])?
            .success();
        project.forget_images()?;
        let _built = project
            .run(&["build", "derived"], &[("PATH", &path)])?
            .success();
    }
    project.configure(&json!({ "credsStore": "none-of-this-name" }))?;
    project.forget_images()?;
    let failed = project.run(&["pull", "plain"], &[])?;
    assert_eq!(failed.status, 1, "{failed}");
    assert!(
        failed
            .stderr
            .contains("docker-credential-none-of-this-name"),
        "{failed}"
    );
    Ok(())
}
