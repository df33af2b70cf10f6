//! Kinds of mistakes: each is told at the right line and column. `docs/mistakes.md` is made from this list;
//! `HOIST_UPDATE=1` writes it anew.

use std::{error::Error, fmt::Write as _, fs, path::Path};

use hoist::load::{Code, LoadError};

use super::load_text;

/// A file, the line and column of its first error, and a part of the message.
type Mistake = (&'static str, usize, usize, &'static str);

const MISTAKES: [Mistake; 133] = [
    (
        "services:\n  web:\n    image: nginx\n    command: {run: it}\n",
        4,
        14,
        "must be a list, string or null",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: ['data:/b:ro:rw']\n",
        4,
        15,
        "there are too many colons",
    ),
    (
        "services:\n  web:\n    image: nginx\n    labels: {a: b\n\n\n",
        4,
        13,
        "not valid YAML",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: [80\n  db:\n    image: x\n",
        4,
        12,
        "not valid YAML",
    ),
    (
        "services:\n  web:\n    imagee: nginx\n",
        3,
        5,
        "unknown key `imagee`",
    ),
    (
        "service:\n  web: {image: nginx}\n",
        1,
        1,
        "unknown key `service`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: 80\n",
        4,
        12,
        "must be a list",
    ),
    (
        "services:\n  web:\n    image: [nginx]\n",
        3,
        12,
        "must be a string",
    ),
    (
        "services:\n  web:\n    image: 1.5\n",
        3,
        12,
        "must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    image: httpd\n",
        4,
        5,
        "written twice",
    ),
    (
        "services:\n  web:\n    image: [nginx\n",
        3,
        12,
        "not valid YAML",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: ['80:http']\n",
        4,
        13,
        "not a container port",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: ['1-2:3-5']\n",
        4,
        13,
        "differ in length",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: ['300.1.1.1:80:80']\n",
        4,
        13,
        "not an IP address",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: ['data:/d']\n",
        4,
        15,
        "undefined volume data",
    ),
    (
        "services:\n  web:\n    image: nginx\n    networks: [frnt]\nnetworks: {front: }\n",
        4,
        16,
        "undefined network frnt",
    ),
    (
        "services:\n  web:\n    image: nginx\n    secrets: [key]\n",
        4,
        15,
        "undefined secret key",
    ),
    (
        "services:\n  web:\n    image: nginx\n    depends_on: [db]\n",
        4,
        18,
        "undefined service \"db\"",
    ),
    (
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n",
        2,
        30,
        "dependency cycle",
    ),
    (
        "services:\n  web:\n    restart: always\n",
        2,
        3,
        "neither an image nor a build",
    ),
    (
        "services:\n  web:\n    image: ${IMAGE:?say which}\n",
        3,
        12,
        "say which",
    ),
    (
        "services:\n  web:\n    image: ${1}\n",
        3,
        12,
        "invalid interpolation format",
    ),
    (
        "services:\n  web:\n    image: nginx\n    scale: ${SET}\n",
        4,
        12,
        "must be an integer",
    ),
    (
        "services:\n  web:\n    image: nginx\n    mem_limit: 64q\n",
        4,
        16,
        "must be a size",
    ),
    (
        "services:\n  web:\n    image: nginx\n    stop_grace_period: soon\n",
        4,
        24,
        "must be a duration",
    ),
    (
        "services:\n  web:\n    image: nginx\n    tty: maybe\n",
        4,
        10,
        "must be a boolean",
    ),
    (
        "services:\n  web:\n    image: nginx\n    pull_policy: often\n",
        4,
        18,
        "must be `always`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    depends_on: {web2: {condition: ready}}\n  web2: {image: x}\n",
        4,
        36,
        "cannot be `ready`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    command: echo 'x\n",
        4,
        14,
        "not a valid command",
    ),
    (
        "services:\n  web:\n    image: nginx\n    network_mode: host\n    networks: [a]\nnetworks: {a: }\n",
        4,
        5,
        "mutually exclusive",
    ),
    (
        "services:\n  web:\n    image: nginx\n    environment: ['A =1']\n",
        4,
        19,
        "trailing space",
    ),
    (
        "services:\n  web:\n    image: nginx\n    scale: 2\n    container_name: one\n",
        5,
        5,
        "container name must be unique",
    ),
    (
        "services:\n  web:\n    image: nginx\n    healthcheck: {test: [curl, x]}\n",
        4,
        19,
        "healthcheck.test",
    ),
    (
        "services:\n  web:\n    extends: base\n",
        3,
        14,
        "service \"base\" not found",
    ),
    (
        "services:\n\tweb:\n\t\timage: x\n",
        2,
        2,
        "not valid YAML: tabs disallowed within this context (block indentation)",
    ),
    (
        "services:\n  web:\n    image:nginx\n",
        3,
        5,
        "`services.web` must be a mapping",
    ),
    (
        "services:\n  web:\n    image: nginx\n     ports: ['80']\n",
        4,
        11,
        "not valid YAML: mapping values are not allowed in this context",
    ),
    (
        "services:\n  web:\n    image: nginx\n   ports:\n    - 80\n",
        4,
        4,
        "not valid YAML: while parsing a block mapping, did not find expected key",
    ),
    (
        "services:\n  web:\n    image: \"nginx\n",
        3,
        12,
        "not valid YAML: while scanning a quoted scalar, found unexpected end of stream",
    ),
    (
        "services:\n  web:\n    image: nginx\n    command: echo a: b\n",
        4,
        20,
        "not valid YAML: mapping values are not allowed in this context",
    ),
    (
        "services:\n  web:\n    image: nginx\n    hostname: @x\n",
        4,
        15,
        "not valid YAML: unexpected character: `@'",
    ),
    (
        "services:\n  web:\n    image: nginx\n    environment: *env\n",
        4,
        18,
        "not valid YAML: while parsing node, found unknown anchor",
    ),
    (
        "services:\n  web:\n    image: nginx\n    environment:\n      - FOO: bar\n",
        5,
        9,
        "`services.web.environment[0]` must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    environment:\n      FOO: {a: b}\n",
        5,
        12,
        "`services.web.environment.FOO` must be a string, number, boo",
    ),
    (
        "services:\n  web:\n    image: nginx\n    environment: [1]\n",
        4,
        19,
        "`services.web.environment[0]` must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: {a: /b}\n",
        4,
        14,
        "`services.web.volumes` must be a list",
    ),
    (
        "services:\n  web:\n    image: nginx\nvolumes: [data]\n",
        4,
        10,
        "`volumes` must be a mapping",
    ),
    ("services:\n  - web\n", 2, 3, "`services` must be a mapping"),
    ("services:\n", 1, 1, "`services` must be a mapping"),
    (
        "services:\n  web:\n",
        2,
        3,
        "`services.web` must be a mapping",
    ),
    (
        "services:\n  web: nginx\n",
        2,
        8,
        "`services.web` must be a mapping",
    ),
    (
        "web:\n  image: nginx\n",
        1,
        1,
        "unknown key `web` at the top level",
    ),
    (
        "services:\n  web:\n    image: nginx\n    container-name: x\n",
        4,
        5,
        "unknown key `container-name` in `services.web`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    depends_on: db\n",
        4,
        17,
        "`services.web.depends_on` must be a mapping or list",
    ),
    (
        "services:\n  web:\n    image: nginx\n    depends_on: [web]\n",
        4,
        18,
        "dependency cycle detected: web -> web",
    ),
    (
        "services:\n  web:\n    image: nginx\n    depends_on: [a, a]\n  a: {image: x}\n",
        4,
        21,
        "`services.web.depends_on[1]` is in the list twice",
    ),
    (
        "services:\n  web:\n    image: nginx\n    depends_on: {a: {condition: healthy}}\n  a: {image: x}\n",
        4,
        33,
        "`services.web.depends_on.a.condition` cannot be `healthy`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    depends_on: {a: {restart: true}}\n  a: {image: x}\n",
        4,
        18,
        "`services.web.depends_on.a` has no `condition`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: ['99999:80']\n",
        4,
        13,
        "`services.web.ports[0]` is not valid: `99999:80`: `99999` is",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: ['80:80/icmp']\n",
        4,
        13,
        "`services.web.ports[0]` is not valid: `80:80/icmp`: `icmp` i",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: ['1:2:3:4']\n",
        4,
        13,
        "`services.web.ports[0]` is not valid: `1:2:3:4`: `1:2` is no",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: ['80:']\n",
        4,
        13,
        "`services.web.ports[0]` is not valid: `80:`: no container po",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: [{published: 80}]\n",
        4,
        13,
        "`services.web.ports[0]` has no `target` port",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ports: [{taget: 80}]\n",
        4,
        14,
        "unknown key `taget` in `services.web.ports[0]`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: ['']\n",
        4,
        15,
        "`services.web.volumes[0]` is not a volume: a volume must not",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: [{type: bind, target: /x}]\n",
        4,
        15,
        "`services.web.volumes[0]` is a bind mount without a `source`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: [{type: volume, source: a}]\nvolumes: {a: }\n",
        4,
        15,
        "`services.web.volumes[0]` has no `target`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: [{type: bnd, source: a, target: /x}]\n",
        4,
        22,
        "`services.web.volumes[0].type` cannot be `bnd`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: [{type: tmpfs, target: /x, tmpfs: {size: big}}]\n",
        4,
        55,
        "`services.web.volumes[0].tmpfs.size` must be a size such as ",
    ),
    (
        "services:\n  web:\n    image: nginx\n    mem_limit: 1 gig\n",
        4,
        16,
        "`services.web.mem_limit` must be a size such as `64m`, not `",
    ),
    (
        "services:\n  web:\n    image: nginx\n    cpus: two\n",
        4,
        11,
        "`services.web.cpus` must be a number, not `two`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    pids_limit: many\n",
        4,
        17,
        "`services.web.pids_limit` must be an integer, not `many`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    shm_size: x\n",
        4,
        15,
        "`services.web.shm_size` must be a size such as `64m`, not `x",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ulimits: {nofile: lots}\n",
        4,
        23,
        "`services.web.ulimits.nofile` must be an integer, not `lots`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    ulimits: {nofile: {soft: 1}}\n",
        4,
        15,
        "`services.web.ulimits.nofile` has no `hard`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    healthcheck: {test: curl, interval: 10}\n",
        4,
        41,
        "`services.web.healthcheck.interval` must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    healthcheck: {test: curl, interval: 10 s}\n",
        4,
        41,
        "`services.web.healthcheck.interval` must be a duration such ",
    ),
    (
        "services:\n  web:\n    image: nginx\n    healthcheck: {test: curl, retries: three}\n",
        4,
        40,
        "`services.web.healthcheck.retries` must be an integer, not `",
    ),
    (
        "services:\n  web:\n    image: nginx\n    healthcheck: {tests: curl}\n",
        4,
        19,
        "unknown key `tests` in `services.web.healthcheck`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    build: [.]\n",
        4,
        12,
        "`services.web.build` must be a mapping or string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    build: {dockerfil: x}\n",
        4,
        13,
        "unknown key `dockerfil` in `services.web.build`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    deploy: {replicas: -1}\n",
        4,
        14,
        "services.web.deploy.replicas: must be greater than or equal to 0",
    ),
    (
        "services:\n  web:\n    image: nginx\n    deploy: {resources: {limits: {memory: 5}}}\n",
        4,
        43,
        "`services.web.deploy.resources.limits.memory` must be a stri",
    ),
    (
        "services:\n  web:\n    image: nginx\n    deploy: {resources: {limits: {cpus: 0.5x}}}\n",
        4,
        41,
        "`services.web.deploy.resources.limits.cpus` must be a number",
    ),
    (
        "services:\n  web:\n    image: nginx\ndeploy: {replicas: 2}\n",
        4,
        1,
        "unknown key `deploy` at the top level",
    ),
    (
        "services:\n  web:\n    image: nginx\n    networks: [a]\nnetworks: {a: bridge}\n",
        5,
        15,
        "`networks.a` must be a mapping or null",
    ),
    (
        "services:\n  web:\n    image: nginx\n    secrets: [s]\nsecrets: {s: }\n",
        5,
        11,
        "`secrets.s` must be a mapping",
    ),
    (
        "services:\n  web:\n    image: nginx\n    secrets: [s]\nsecrets: {s: {file: a, environment: B}}\n",
        5,
        24,
        "`secrets.s` must have only one of `file`, `environment`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    configs: [c]\nconfigs: {c: {content: 5}}\n",
        5,
        24,
        "`configs.c.content` must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    volumes: ['v:/v']\nvolumes: {v: {external: true, driver: x}}\n",
        5,
        31,
        "`volumes.v` is external, so it cannot have `driver`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    env_file: missing.env\n",
        4,
        15,
        "env file ",
    ),
    (
        "services:\n  web:\n    image: nginx\n    env_file: [{path: a, format: json}]\n",
        4,
        16,
        "env file ",
    ),
    (
        "services:\n  web:\n    image: nginx\n    label_file: missing\n",
        4,
        17,
        "label file ",
    ),
    (
        "services:\n  web:\n    image: nginx\n    labels: [5]\n",
        4,
        14,
        "`services.web.labels[0]` must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    command: ${FOO\n",
        4,
        14,
        "invalid interpolation format for `services.web.command`: `${",
    ),
    (
        "services:\n  web:\n    image: nginx\n    command: ${FOO:=x}\n",
        4,
        14,
        "invalid interpolation format for `services.web.command`: `${",
    ),
    (
        "services:\n  web:\n    image: nginx\n    hostname: ${FOO?}\n",
        4,
        15,
        "required variable `FOO` is missing a value",
    ),
    (
        "services:\n  web:\n    image: nginx\n    depends_on: [db]\n  db: {image: x, profiles: [p]}\n",
        4,
        18,
        "service \"web\" depends on undefined service \"db\"",
    ),
    (
        "services:\n  my web:\n    image: x\n",
        2,
        3,
        "`my web` in `services` is not a valid name: it may hold lett",
    ),
    (
        "services:\n  my/web: {image: x}\n",
        2,
        3,
        "`my/web` in `services` is not a valid name: it may hold lett",
    ),
    (
        "services:\n  1: {image: x}\n",
        2,
        3,
        "a key must be a string, this one is a number",
    ),
    (
        "name: 5\nservices:\n  web:\n    image: nginx\n",
        1,
        7,
        "`name` must be a string",
    ),
    (
        "include: [gone.yaml]\nservices:\n  web:\n    image: nginx\n",
        1,
        11,
        "cannot include `",
    ),
    (
        "include: [{pth: a}]\nservices:\n  web:\n    image: nginx\n",
        1,
        11,
        "an entry of `include` has no `path`",
    ),
    (
        "include: a.yaml\nservices:\n  web:\n    image: nginx\n",
        1,
        10,
        "`include` must be a list, this is a string",
    ),
    (
        "services:\n  web: {extends: web}\n",
        2,
        18,
        "Circular reference:",
    ),
    (
        "services:\n  web: {extends: {file: a}}\n",
        2,
        9,
        "`services.web.extends` has no `service`",
    ),
    (
        "services:\n  web: {extends: {file: a, service: b}}\n",
        2,
        25,
        "open ",
    ),
    (
        "services:\n  web:\n    image: nginx\n    <<: 5\n",
        4,
        5,
        "`<<` takes a mapping, or a list of mappings",
    ),
    (
        "services:\n  web:\n    image: nginx\n    command: sh -c 'x\n",
        4,
        14,
        "`services.web.command` is not a valid command: `sh -c 'x`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    entrypoint: {a: b}\n",
        4,
        17,
        "`services.web.entrypoint` must be a list, string or null",
    ),
    (
        "services:\n  web:\n    image: nginx\n    sysctls: net\n",
        4,
        14,
        "`services.web.sysctls` must be a mapping or list",
    ),
    (
        "services:\n  web:\n    image: nginx\n    extra_hosts: [host]\n",
        4,
        19,
        "`services.web.extra_hosts[0]` must be a host with its addres",
    ),
    (
        "services:\n  web:\n    image: nginx\n    devices: ['a:b:c:d']\n",
        4,
        15,
        "`services.web.devices[0]` is not valid: `a:b:c:d`: there are",
    ),
    (
        "services:\n  web:\n    image: nginx\n    cap_add: NET_ADMIN\n",
        4,
        14,
        "`services.web.cap_add` must be a list",
    ),
    (
        "services:\n  web:\n    image: nginx\n    container_name: '-'\n",
        4,
        21,
        "`services.web.container_name` must hold two or more of `a-z`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    container_name: a\n  b: {image: x, container_name: a}\n",
        4,
        21,
        "`services.web.container_name` must hold two or more of `a-z`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    gpus: some\n",
        4,
        11,
        "`services.web.gpus` cannot be `some`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    build: .\n    develop: {watch: [{path: ., action: synk}]}\n",
        5,
        41,
        "`services.web.develop.watch[0].action` cannot be `synk`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    build: .\n    develop: {watch: [{path: ., action: sync}]}\n",
        5,
        23,
        "services.web.develop.watch: target is required for non-rebuild actions",
    ),
    (
        "services:\n  web:\n    image: nginx\n    logging: {driver: 5}\n",
        4,
        23,
        "`services.web.logging.driver` must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    logging: {options: {a: [b]}}\n",
        4,
        28,
        "`services.web.logging.options.a` must be a string, number or",
    ),
    (
        "services:\n  web:\n    image: nginx\n    user: 1000\n",
        4,
        11,
        "`services.web.user` must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    platform: 5\n",
        4,
        15,
        "`services.web.platform` must be a string",
    ),
    (
        "services:\n  web:\n    image: nginx\n    secrets: [{source: s, mode: rw}]\nsecrets: {s: {file: a}}\n",
        4,
        33,
        "`services.web.secrets[0].mode` must be permission bits such ",
    ),
    (
        "{\"services\": {\"web\": {\"image\": \"x\",}}\n",
        1,
        1,
        "not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
    ),
    (
        "hello\n",
        1,
        1,
        "top-level object must be a mapping, this is a string",
    ),
    (
        "- a\n",
        1,
        1,
        "top-level object must be a mapping, this is a list",
    ),
    (
        "services:\n  web:\n    image: nginx\n    blkio_config: {weight: heavy}\n",
        4,
        28,
        "`services.web.blkio_config.weight` must be an integer, not `",
    ),
    (
        "services:\n  web:\n    image: nginx\n    oom_score_adj: 5000\n",
        4,
        20,
        "`services.web.oom_score_adj` must be 1000 or less, not 5000",
    ),
    (
        "services:\n  web:\n    image: nginx\n    deploy: {placement: {constraint: [x]}}\n",
        4,
        26,
        "unknown key `constraint` in `services.web.deploy.placement`",
    ),
    (
        "services:\n  web:\n    image: nginx\n    scale: 2\n    deploy: {replicas: 3}\n",
        4,
        5,
        "services.web: can't set distinct values on 'scale' and 'deploy.replicas'",
    ),
    (
        "services:\n  web:\n    image: nginx\n    models: [m]\n",
        4,
        14,
        "service \"web\" refers to undefined model m",
    ),
];

fn first(error: &LoadError) -> Option<(usize, usize, &str)> {
    let diagnostic = error.diagnostics.first()?;
    let label = diagnostic.labels.first()?;
    let (line, column) = label.source.line_column(label.span.start);
    Some((line, column, &diagnostic.message))
}

#[test]
fn tells_each_mistake_at_its_place() {
    let mut wrong = Vec::new();
    for (text, line, column, part) in MISTAKES {
        match load_text(text).as_ref().err().map(first) {
            Some(Some((found_line, found_column, message)))
                if (found_line, found_column) == (line, column) && message.contains(part) => {}
            other => wrong.push(format!(
                "{text}\nwanted {line}:{column} {part}, got {other:?}\n"
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn documents_each_mistake() -> Result<(), Box<dyn Error>> {
    let mut page =
        "# Mistakes, and what hoist says\n\nMade by `tests/load/mistakes.rs`.\n".to_owned();
    for (text, ..) in MISTAKES {
        let Some(error) = load_text(text).err() else {
            continue;
        };
        write!(page, "\n```yaml\n{text}```\n\n")?;
        for diagnostic in &error.diagnostics {
            writeln!(page, "* `{}`", diagnostic.to_string().replace('`', "'"))?;
            for hint in &diagnostic.hints {
                writeln!(page, "  * hint: {hint}")?;
            }
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mistakes.md");
    if std::env::var_os("HOIST_UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(&file, &page)?;
    }
    assert_eq!(fs::read_to_string(&file)?, page, "run with HOIST_UPDATE=1");
    Ok(())
}

#[test]
fn documents_each_code() -> Result<(), Box<dyn Error>> {
    let mut table = "| code | meaning |\n|---|---|\n".to_owned();
    for code in Code::ALL {
        writeln!(table, "| `{code}` | {} |", code.sentence())?;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnostics.md");
    let page = fs::read_to_string(&file)?;
    let head = page.split("| code | meaning |").next().unwrap_or_default();
    let wanted = format!("{head}{table}");
    if std::env::var_os("HOIST_UPDATE").is_some() {
        fs::write(&file, &wanted)?;
    }
    assert_eq!(
        fs::read_to_string(&file)?,
        wanted,
        "run with HOIST_UPDATE=1"
    );
    Ok(())
}
