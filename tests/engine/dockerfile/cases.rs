//! The cases: read from `cases.txt`, written into a folder, shown as the table of the docs.

use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::server::Server;

/// Age of the files of contexts, so that kept times are seen.
const OLD: u64 = 1_000_000_000;

/// One build.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) section: String,
    pub(super) name: String,
    pub(super) dockerfile: String,
    pub(super) expect: Vec<String>,
    pub(super) output: Vec<String>,
    pub(super) refused: Option<String>,
    pub(super) differs: Option<String>,
    pub(super) alone: Option<String>,
    pub(super) needs_git: bool,
    files: Vec<(String, String, String)>,
    yaml: Vec<String>,
    secrets: Vec<(String, String)>,
}

/// All cases.
pub(super) fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/dockerfile/cases.txt");
    let text = fs::read_to_string(path)?;
    let mut section = String::new();
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("@@ ") {
            title.clone_into(&mut section);
        } else if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case {
                section: section.clone(),
                name: name.to_owned(),
                ..Case::default()
            });
        } else if let Some(case) = cases.last_mut() {
            case.line(line)?;
        }
    }
    Ok(cases)
}

impl Case {
    fn line(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        let Some((word, rest)) = line.strip_prefix(':').and_then(|line| line.split_once(' '))
        else {
            self.needs_git |= line.contains("{http}/repo");
            self.dockerfile.push_str(line);
            self.dockerfile.push('\n');
            return Ok(());
        };
        match word {
            "file" | "program" | "link" | "archive" => {
                let (path, text) = rest.split_once(' ').ok_or(line)?;
                let path = path.replace("\\x20", " ");
                self.files
                    .push((word.to_owned(), path, text.replace("\\n", "\n")));
            }
            "yaml" => self.yaml.push(rest.to_owned()),
            "secret" => {
                let (id, text) = rest.split_once(' ').ok_or(line)?;
                self.secrets.push((id.to_owned(), text.to_owned()));
            }
            "expect" => self.expect.push(rest.to_owned()),
            "output" => self.output.push(rest.to_owned()),
            "refused" => self.refused = Some(rest.to_owned()),
            "differs" => self.differs = Some(rest.to_owned()),
            "alone" => self.alone = Some(rest.to_owned()),
            _ => return Err(line.into()),
        }
        Ok(())
    }

    /// Writes the context and the Compose file.
    pub(super) fn write(&self, folder: &Path, server: &Server) -> Result<(), Box<dyn Error>> {
        let context = folder.join("context");
        fs::create_dir_all(&context)?;
        for (kind, path, text) in &self.files {
            let path = context.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            match kind.as_str() {
                "link" => symlink(text, &path)?,
                "archive" => write_archive(&path, text)?,
                _ => fs::write(&path, text)?,
            }
            if kind != "link" {
                let mode = if kind == "program" { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
                let old = SystemTime::UNIX_EPOCH + Duration::from_secs(OLD);
                fs::File::options()
                    .write(true)
                    .open(&path)?
                    .set_modified(old)?;
            }
        }
        let text = server.fill(&self.dockerfile);
        let text = text
            .replace("FROM base", "FROM hoistdockerfile/base")
            .replace("BASE=base", "BASE=hoistdockerfile/base")
            .replace("PLATFORM base", "PLATFORM hoistdockerfile/base")
            .replace("--from=base", "--from=hoistdockerfile/base");
        fs::write(context.join("Dockerfile"), text)?;
        fs::write(folder.join("compose.yaml"), self.compose())?;
        Ok(())
    }

    /// The environment that its secrets are taken from.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        let pairs = self.secrets.iter();
        pairs.map(|(id, value)| (format!("VALUE_OF_{id}"), value.as_str()))
    }

    fn compose(&self) -> String {
        let mut text = "name: hoistdockerfile\n".to_owned();
        if !self.secrets.is_empty() {
            text.push_str("secrets:\n");
            for (id, _) in &self.secrets {
                text.push_str(&format!("  {id}: {{environment: VALUE_OF_{id}}}\n"));
            }
        }
        text.push_str(
            "services:\n  made:\n    image: hoistdockerfile/made\n    build:\n      context: .\n",
        );
        if !self.secrets.is_empty() {
            let ids: Vec<&str> = self.secrets.iter().map(|(id, _)| id.as_str()).collect();
            text.push_str(&format!("      secrets: [{}]\n", ids.join(", ")));
        }
        for line in &self.yaml {
            let line = line.replace("image://base", "image://hoistdockerfile/base");
            text.push_str(&format!("      {line}\n"));
        }
        text
    }
}

fn write_archive(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    let (name, content) = text.split_once(' ').ok_or("an archive without content")?;
    fs::write(path, archive(name, content)?)?;
    Ok(())
}

/// A tar with one old file; compressed is what `ADD` makes of it anyway, so it is plain.
pub(super) fn archive(name: &str, content: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(OLD);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(u64::try_from(content.len())?);
    archive.append_data(&mut header, name, content.as_bytes())?;
    Ok(archive.into_inner()?)
}

/// The page of the docs.
pub(super) fn table(cases: &[Case]) -> String {
    let mut text = "# Dockerfiles on the built-in engine\n\n\
        Each line is a build that the tests run (`cargo test --test main dockerfile`, as root): the Dockerfile as it is, and\n\
        what the image, or the refusal, has to have. With `HOIST_TEST_BUILDX=unix:///…` the same build runs on that Docker engine by\n\
        buildx, and files, modes, owners, kept times and the image's config have to be the same; the last column names the\n\
        lines where they are not, or are not compared. `base` is an image of busybox with the users `root` and `daemon`.\n\
        This page is made of `tests/engine/dockerfile/cases.txt` (`HOIST_TEST_WRITE=1`).\n"
        .to_owned();
    let mut section = "";
    for case in cases {
        if case.section != section {
            section = &case.section;
            text.push_str(&format!(
                "\n## {section}\n\n| What | Build | Result | Apart from BuildKit |\n|---|---|---|---|\n"
            ));
        }
        let refused = case.refused.iter().map(|text| format!("refused: {text}"));
        let results: Vec<String> = refused
            .chain(case.output.iter().map(|text| format!("prints: {text}")))
            .chain(case.expect.iter().cloned())
            .map(|line| code(&line))
            .collect();
        let build: Vec<String> = case.dockerfile.lines().map(code).collect();
        let apart = case.differs.iter().map(|why| format!("differs: {why}"));
        let apart: Vec<String> = apart
            .chain(case.alone.iter().map(|why| format!("not compared: {why}")))
            .collect();
        text.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            case.name.replace('|', "\\|"),
            build.join("<br>"),
            results.join("<br>"),
            apart.join("; ")
        ));
    }
    text
}

fn code(line: &str) -> String {
    if line.trim().is_empty() {
        return String::new();
    }
    let fence = if line.contains('`') { "``" } else { "`" };
    let space = if line.contains('`') { " " } else { "" };
    format!(
        "{fence}{space}{}{space}{fence}",
        line.trim_end().replace('|', "\\|")
    )
}
