//! Thirty kinds of mistakes: each is told at the right line and column. `docs/mistakes.md` is made from this list;
//! `HOIST_UPDATE=1` writes it anew.

use std::{error::Error, fmt::Write as _, fs, path::Path};

use hoist::load::{Code, LoadError};

use super::load_text;

/// A file, the line and column of its first error, and a part of the message.
type Mistake = (&'static str, usize, usize, &'static str);

const MISTAKES: [Mistake; 31] = [
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
        5,
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
        4,
        1,
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
        "services:\n  web:\n    image: nginx\n    volumes: ['data:/b:ro:rw']\n",
        4,
        15,
        "not a volume",
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
