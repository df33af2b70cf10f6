//! hoist and docker compose take turns on one project: what one made, the other finds as it should be.
//!
//! Needs a Docker engine in `DOCKER_HOST` with an image `busybox`, and docker compose's binary in
//! `HOIST_TEST_COMPOSE`.

use std::error::Error;
use std::ffi::OsString;
use std::process::Command;

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::skip;

type Outcome = Result<(), Box<dyn Error>>;

/// A project: its name, its files, and what `up` is given beside `-d`.
struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    before: &'static [&'static str],
    up: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "plain",
        files: &[(
            "compose.yaml",
            "
services:
  web:
    image: busybox
    command: sleep 1000
    environment: { A: '1', B: 'x$$y', C: }
    ports: ['127.0.0.1::80', '8000/udp']
    labels: { some.label: '<&>' }
    hostname: webhost
    stop_grace_period: 0s
  job:
    image: busybox
    command: ['true']
    depends_on: { web: { condition: service_started } }
",
        )],
        before: &[],
        up: &[],
    },
    Case {
        name: "networks",
        files: &[(
            "compose.yaml",
            "
services:
  a:
    image: busybox
    command: sleep 1000
    init: true
    stop_grace_period: 0s
    networks:
      front: { aliases: [alpha], priority: 10 }
      back: { priority: 100 }
  b:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    networks: [back]
    links: ['a:other']
  c:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    network_mode: service:a
networks:
  front: { labels: { tier: front }, driver_opts: { com.docker.network.bridge.enable_icc: 'true' } }
  back: { internal: true }
",
        )],
        before: &[],
        up: &[],
    },
    Case {
        name: "volumes",
        files: &[
            (
                "compose.yaml",
                "
services:
  db:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    tmpfs: [/scratch]
    volumes:
      - data:/data
      - ./shared:/shared:ro
      - /anonymous
      - { type: volume, source: more, target: /more, volume: { nocopy: true } }
      - { type: bind, source: ./shared, target: /again, bind: { propagation: rprivate } }
  reader:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    volumes_from: ['db:ro']
  scratch:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    volumes: [{ type: tmpfs, target: /fast, tmpfs: { size: 1m } }]
volumes:
  data:
  more: { labels: { kept: 'yes' } }
",
            ),
            ("shared/file", "text"),
        ],
        before: &[],
        up: &[],
    },
    Case {
        name: "files",
        files: &[
            (
                "compose.yaml",
                "
services:
  app:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    secrets: [from_file, { source: from_env, target: other }]
    configs:
      - { source: inline, target: /etc/inline }
      - { source: file, target: /etc/file, mode: 0440 }
secrets:
  from_file: { file: ./secret }
  from_env: { environment: PATH }
configs:
  inline: { content: 'hello $${NAME}' }
  file: { file: ./config }
",
            ),
            ("secret", "s3cret"),
            ("config", "key = value"),
        ],
        before: &[],
        up: &[],
    },
    Case {
        name: "health",
        files: &[(
            "compose.yaml",
            "
services:
  db:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    healthcheck: { test: ['CMD', 'true'], interval: 1s, timeout: 2s, retries: 3, start_period: 1s }
  init:
    image: busybox
    command: 'true'
    depends_on: { db: { condition: service_healthy } }
  web:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    healthcheck: { test: 'exit 0', interval: 1s }
    depends_on:
      db: { condition: service_healthy, restart: true }
      init: { condition: service_completed_successfully }
  none:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    healthcheck: { disable: true }
",
        )],
        before: &[],
        up: &[],
    },
    Case {
        name: "scale",
        files: &[(
            "compose.yaml",
            "
services:
  worker:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    scale: 2
  other:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    container_name: hoist-test-alternation-named
",
        )],
        before: &[],
        up: &["--scale", "worker=3"],
    },
    Case {
        name: "build",
        files: &[
            (
                "compose.yaml",
                "
services:
  made:
    build: { context: ., args: { WHO: me }, labels: { built: by-test } }
    command: sleep 1000
    stop_grace_period: 0s
  inline:
    image: hoist-test-alternation-inline
    build: { dockerfile_inline: \"FROM busybox\\nLABEL inline=1\\nVOLUME /state\\n\" }
    command: sleep 1000
    stop_grace_period: 0s
",
            ),
            ("Dockerfile", "FROM busybox\nARG WHO\nENV WHO=$WHO\n"),
        ],
        before: &[],
        up: &[],
    },
    Case {
        name: "layers",
        files: &[
            (
                "compose.yaml",
                "
include: [./part/compose.yaml]
services:
  web:
    extends: { file: base.yaml, service: base }
    command: sleep 1000
    env_file: [{ path: ./some.env, required: true }]
    depends_on: [part]
",
            ),
            (
                "compose.override.yaml",
                "services: { web: { environment: [LAYER=2], labels: [over=ridden] } }",
            ),
            (
                "base.yaml",
                "services: { base: { image: busybox, stop_grace_period: 0s, cap_drop: [NET_RAW] } }",
            ),
            ("some.env", "FROM_FILE=\"a value\"\nEMPTY=\n"),
            (
                "part/compose.yaml",
                "services: { part: { image: busybox, command: sleep 1000, stop_grace_period: 0s } }",
            ),
        ],
        before: &[],
        up: &[],
    },
    Case {
        name: "profiles",
        files: &[(
            "compose.yaml",
            "
services:
  always:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
  debug:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [debug]
    depends_on: [always]
  never:
    image: busybox
    command: sleep 1000
    profiles: [never]
",
        )],
        before: &["--profile", "debug"],
        up: &[],
    },
    Case {
        name: "deploy",
        files: &[(
            "compose.yaml",
            "
services:
  app:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    restart: on-failure:3
    deploy:
      replicas: 2
      labels: { deployed: 'yes' }
      resources:
        limits: { cpus: '0.5', memory: 64M, pids: 100 }
        reservations: { memory: 16M }
      restart_policy: { condition: on-failure, max_attempts: 2 }
      update_config: { parallelism: 1, order: start-first }
  limited:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    mem_limit: 32m
    cpu_shares: 512
    shm_size: 8m
    read_only: true
    user: '1000:1000'
    working_dir: /tmp
    ulimits: { nofile: { soft: 100, hard: 200 }, nproc: 50 }
    sysctls: { net.core.somaxconn: 1024 }
    extra_hosts: ['up.example:10.0.0.1']
    dns: [10.0.0.2]
    security_opt: ['no-new-privileges:true']
    cap_add: [SYS_NICE]
    logging: { driver: json-file, options: { max-size: 1m } }
    post_start: [{ command: ['true'] }]
    annotations: { note: here }
",
        )],
        before: &[],
        up: &[],
    },
];

/// Who acts on the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Hoist,
    Compose,
}

/// The project of a case on the engine; it is taken down when dropped.
struct Project<'a> {
    case: &'a Case,
    env: TestEnvironment,
    compose: OsString,
    host: OsString,
}

impl<'a> Project<'a> {
    fn new(case: &'a Case, compose: &OsString, host: &OsString) -> Result<Self, Box<dyn Error>> {
        let env = TestEnvironment::new()?;
        for (path, text) in case.files {
            let path = env.path(path);
            std::fs::create_dir_all(path.parent().ok_or("a file has a folder")?)?;
            std::fs::write(path, text)?;
        }
        Ok(Self {
            case,
            env,
            compose: compose.clone(),
            host: host.clone(),
        })
    }

    fn run(&self, tool: Tool, args: &[&str]) -> std::io::Result<CommandOutput> {
        let mut command = self.env.command(["--progress", "plain"]);
        if tool == Tool::Compose {
            let environment: Vec<_> = command
                .get_envs()
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect();
            command = Command::new(&self.compose);
            command.env_clear().envs(environment);
            command.args(["--progress", "plain"]);
            command.current_dir(self.env.path("."));
        }
        let name = format!("alternation-{}-{}", self.case.name, std::process::id());
        command
            .args(["-p", &name])
            .args(self.case.before)
            .args(args);
        // The oracle's own builder: buildx is not everywhere.
        command
            .env("DOCKER_HOST", &self.host)
            .env("DOCKER_BUILDKIT", "0");
        output(&mut command)
    }

    fn up(&self, tool: Tool) -> std::io::Result<CommandOutput> {
        let mut args = vec!["up", "-d"];
        args.extend(self.case.up);
        self.run(tool, &args)
    }

    /// The identifiers of all containers, as this tool lists them.
    fn containers(&self, tool: Tool) -> Result<Vec<String>, Box<dyn Error>> {
        let listed = self.run(tool, &["ps", "-a", "-q"])?.success();
        let mut ids: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn volumes(&self, tool: Tool) -> Result<Vec<String>, Box<dyn Error>> {
        let listed = self.run(tool, &["volumes", "-q"])?.success();
        let mut names: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// `first` makes the project, `second` finds nothing to do, lists the same, and takes it down.
    fn alternate(&self, first: Tool, second: Tool) -> Outcome {
        let what = format!("{}: {first:?}, then {second:?}", self.case.name);
        let made = self.up(first)?;
        assert_eq!(made.status, 0, "{what}: {made}");
        let before = self.containers(first)?;
        assert!(!before.is_empty(), "{what}: {made}");
        let again = self.up(second)?;
        assert_eq!(again.status, 0, "{what}: {again}");
        for word in ["Creat", "Recreat", "Remov", "Stopp"] {
            assert!(!again.stderr.contains(word), "{what}: {again}");
        }
        assert_eq!(self.containers(first)?, before, "{what}: {again}");
        assert_eq!(self.containers(second)?, before, "{what}");
        assert_eq!(self.volumes(first)?, self.volumes(second)?, "{what}");
        let gone = self.run(second, &["down", "-v"])?;
        assert_eq!(gone.status, 0, "{what}: {gone}");
        assert_eq!(
            self.containers(first)?,
            Vec::<String>::new(),
            "{what}: {gone}"
        );
        let nothing = self.run(first, &["down", "-v"])?;
        assert!(!nothing.stderr.contains("Removed"), "{what}: {nothing}");
        Ok(())
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _down = self.run(Tool::Hoist, &["down", "-v", "-t", "0", "--rmi", "local"]);
    }
}

/// Runs a case in both directions, or says what is missing for it.
fn alternate(name: &str) -> Outcome {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let test = format!("alternation of {name}");
    let Some(host) = variable("DOCKER_HOST") else {
        skip(&test, "a Docker engine in DOCKER_HOST");
        return Ok(());
    };
    let Some(compose) = variable("HOIST_TEST_COMPOSE") else {
        skip(&test, "docker compose's binary in HOIST_TEST_COMPOSE");
        return Ok(());
    };
    let case = CASES.iter().find(|case| case.name == name);
    let project = Project::new(case.ok_or("no such case")?, &compose, &host)?;
    project.alternate(Tool::Compose, Tool::Hoist)?;
    project.alternate(Tool::Hoist, Tool::Compose)
}

/// Declares a test for each project.
macro_rules! alternations {
    ($($test:ident => $case:literal,)*) => {
        $(
            #[test]
            fn $test() -> Outcome {
                alternate($case)
            }
        )*
    };
}

alternations! {
    a_plain_project_passes_from_hand_to_hand => "plain",
    networks_pass_from_hand_to_hand => "networks",
    volumes_pass_from_hand_to_hand => "volumes",
    secrets_and_configs_pass_from_hand_to_hand => "files",
    health_checks_pass_from_hand_to_hand => "health",
    replicas_pass_from_hand_to_hand => "scale",
    built_images_pass_from_hand_to_hand => "build",
    layered_files_pass_from_hand_to_hand => "layers",
    profiles_pass_from_hand_to_hand => "profiles",
    deployments_pass_from_hand_to_hand => "deploy",
}
