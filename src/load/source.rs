//! Which files are loaded, from which directory, and under which project name (behaviours.md B001-B020).

use std::{
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use super::{
    Code, bounded,
    env::{self, EnvMap},
    interpolate,
    node::{Node, Span},
    report::{Failure, Failures, Report},
    request::{LoadRequest, Phase},
    schema,
};

const FILE_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What the files of a run are, before any is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Discovered {
    /// The files in order, absolute; `-` is standard input.
    pub(super) files: Vec<String>,
    /// The directory that relative paths start from; that of the first file, where it was fetched from a network.
    pub(super) working_directory: PathBuf,
    /// The directory that names the project.
    pub(super) name_directory: PathBuf,
    /// The explicit env files.
    pub(super) env_files: Vec<PathBuf>,
    /// The environment that variables are taken from.
    pub(super) environment: EnvMap,
    /// The active profiles.
    pub(super) profiles: Vec<String>,
}

/// Finds the files, the directory and the environment.
///
/// # Errors
/// Fails where there is no file, or an env file is wrong.
pub(super) fn discover(request: &LoadRequest, report: &mut Report) -> Result<Discovered, Failure> {
    let mut environment = request.environment.clone();
    let current = &request.current_directory;
    environment
        .entry("PWD".to_owned())
        .or_insert_with(|| current.display().to_string());
    let env_files = env::explicit_files(request);
    if env_files.is_empty() {
        let first = directory_of(request, &request.files);
        if let Some(file) = env::default_file(request, &first)? {
            env::add_files(&mut environment, &[file], report)?;
        }
    } else {
        env::add_files(&mut environment, &env_files, report)?;
    }
    let named = find_files(request, &environment, report)?;
    let directory = directory_of(request, &named);
    if env_files.is_empty()
        && let Some(file) = env::default_file(request, &directory)?
    {
        env::add_files(&mut environment, &[file], report)?;
    }
    let mut files = Vec::with_capacity(named.len());
    let mut fetched = None;
    for file in named {
        if is_remote(&file) {
            let local = fetch(request, &file, Span::NOWHERE)?;
            fetched = fetched.or_else(|| Path::new(&local).parent().map(Path::to_path_buf));
            files.push(local);
        } else {
            files.push(file);
        }
    }
    let name_directory = directory.clone();
    let working_directory = fetched.unwrap_or(directory);
    let profiles = profiles(request, &environment);
    Ok(Discovered {
        files,
        working_directory,
        name_directory,
        env_files,
        environment,
        profiles,
    })
}

fn profiles(request: &LoadRequest, environment: &EnvMap) -> Vec<String> {
    if !request.profiles.is_empty() {
        return request.profiles.clone();
    }
    let listed = environment
        .get("COMPOSE_PROFILES")
        .map_or("", String::as_str);
    listed
        .split(',')
        .map(str::trim)
        .filter(|profile| !profile.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the project directory that follows from a list of files.
fn directory_of(request: &LoadRequest, files: &[String]) -> PathBuf {
    let current = &request.current_directory;
    if let Some(directory) = &request.project_directory {
        return clean(&current.join(directory));
    }
    let first = files.iter().find(|file| *file != "-");
    match first {
        Some(file) if !is_remote(file) => {
            let file = clean(&current.join(file));
            file.parent()
                .map_or_else(|| current.clone(), Path::to_path_buf)
        }
        _ => current.clone(),
    }
}

/// Returns the files that are named on the command line, absolute.
pub(super) fn given_files(request: &LoadRequest) -> Vec<String> {
    let files = request.files.iter();
    files
        .map(|file| absolute(&request.current_directory, file))
        .collect()
}

fn absolute(current: &Path, file: &str) -> String {
    match file {
        "-" => "-".to_owned(),
        remote if is_remote(remote) => remote.to_owned(),
        local => clean(&current.join(local)).display().to_string(),
    }
}

fn find_files(
    request: &LoadRequest,
    environment: &EnvMap,
    report: &mut Report,
) -> Result<Vec<String>, Failure> {
    let current = &request.current_directory;
    if !request.files.is_empty() {
        return Ok(given_files(request));
    }
    if let Some(listed) = environment.get("COMPOSE_FILE") {
        return listed_files(listed, environment, |file| absolute(current, file));
    }
    let start = directory_of(request, &[]);
    for directory in start.ancestors() {
        let Some(file) = first_of(&FILE_NAMES, directory, "config", report) else {
            continue;
        };
        let over = first_of(&OVERRIDE_NAMES, directory, "override", report);
        return Ok([Some(file), over].into_iter().flatten().collect());
    }
    Err(
        Failure::new(Code::Empty, "no configuration file provided: not found").hint(format!(
            "`{}` and the directories above it hold none of {}; name one with `-f`",
            start.display(),
            FILE_NAMES.map(|name| format!("`{name}`")).join(", ")
        )),
    )
}

fn listed_files(
    listed: &str,
    environment: &EnvMap,
    absolute: impl Fn(&String) -> String,
) -> Result<Vec<String>, Failure> {
    let separator = environment
        .get("COMPOSE_PATH_SEPARATOR")
        .filter(|separator| !separator.is_empty())
        .map_or(":", String::as_str);
    let files: Vec<String> = listed
        .split(separator)
        .map(|file| absolute(&file.to_owned()))
        .collect();
    for file in &files {
        if file != "-" && !is_remote(file) && !Path::new(file).exists() {
            return Err(Failure::new(
                Code::File,
                format!("stat {file}: no such file or directory"),
            )
            .hint("`COMPOSE_FILE` names it"));
        }
    }
    Ok(files)
}

fn first_of(names: &[&str], directory: &Path, what: &str, report: &mut Report) -> Option<String> {
    let found: Vec<String> = names
        .iter()
        .map(|name| directory.join(name))
        .filter(|file| file.exists())
        .map(|file| file.display().to_string())
        .collect();
    let first = found.first()?.clone();
    if found.len() > 1 {
        report.warn(Failure::new(
            Code::Ambiguous,
            format!(
                "Found multiple {what} files with supported names: {}",
                found.join(", ")
            ),
        ));
        report.warn(Failure::new(Code::Ambiguous, format!("Using {first}")));
    }
    Some(first)
}

/// Says whether a path names something on a network, as docker compose decides it.
#[must_use]
pub fn is_remote(path: &str) -> bool {
    let address = path.split(['#', '?']).next().unwrap_or_default();
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    ["oci://", "git@", "git://", "ssh://", "github.com/"]
        .iter()
        .any(|start| path.starts_with(start))
        || is_web
            && address
                .rsplit_once('.')
                .is_some_and(|(_, last)| last == "git")
}

/// Brings a file of a network to this machine; answers where it is now.
///
/// # Errors
/// Fails where it cannot be had.
pub(super) fn fetch(
    request: &LoadRequest,
    reference: &str,
    named: Span,
) -> Result<String, Failure> {
    let Some(fetch) = &request.fetch else {
        return Err(Failure::new(Code::Remote, "cannot load ")
            .quoted(named, reference)
            .say(": remote files are not fetched here")
            .at(named, "")
            .hint("fetch it first, and name the local copy"));
    };
    let found = fetch.fetch(reference).map_err(|error| {
        Failure::new(Code::Remote, "")
            .detail(named, &error.message)
            .at(named, "")
            .hint_if(error.hint)
    })?;
    Ok(found.display().to_string())
}

/// Suggests the file beside a missing one whose name is most like it.
pub(super) fn similar_file(missing: &str) -> Option<String> {
    let missing = Path::new(missing);
    let name = missing.file_name()?.to_str()?;
    let entries = missing.parent()?.read_dir().ok()?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    schema::nearest_file(name, names.iter().map(String::as_str))
}

/// What was read of a file.
pub(super) enum Content {
    Text(String),
    /// What it shows instead of the bytes that are no text, and the place of the first of them.
    Broken(String, usize),
}

/// Reads a file that is named at a place, or standard input.
///
/// # Errors
/// Fails where it cannot be read.
pub(super) fn read(file: &str, named: Span, stdin: Option<&String>) -> Result<Content, Failure> {
    if file == "-" {
        let text = stdin.cloned().ok_or_else(|| {
            Failure::new(
                Code::File,
                "standard input was not read, but `-` stands for it",
            )
        });
        return text.map(Content::Text);
    }
    let bytes = bounded::read(file.as_ref()).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::new(Code::File, "open ")
            .made(named, file)
            .say(": no such file or directory"),
        kind => {
            let code = match kind {
                std::io::ErrorKind::FileTooLarge => Code::Limit,
                _ => Code::File,
            };
            Failure::new(code, "cannot read `")
                .made(named, file)
                .say(format!("`: {error}"))
        }
    })?;
    Ok(String::from_utf8(bytes).map_or_else(
        |error| {
            let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Content::Broken(shown, error.utf8_error().valid_up_to())
        },
        Content::Text,
    ))
}

/// Refuses a text that no YAML can be: with bytes that are no UTF-8 (the place of the first is given), or with a NUL, where
/// readers of YAML believe it to end.
///
/// # Errors
/// Fails with the first place.
pub(super) fn check_text(text: &str, number: u32, broken: Option<usize>) -> Result<(), Failure> {
    let (at, message, hint) = match (broken, text.find('\0')) {
        (Some(at), _) => (at, "this is not UTF-8 text", "save the file as UTF-8"),
        (None, Some(at)) => (at, "a NUL character cannot be in YAML", "remove it"),
        (None, None) => return Ok(()),
    };
    let length = text[at..].chars().next().map_or(0, char::len_utf8);
    let place = |at| u32::try_from(at).unwrap_or(u32::MAX);
    let span = Span {
        source: number,
        start: place(at),
        end: place(at + length),
    };
    Err(Failure::new(Code::YamlSyntax, message)
        .at(span, "")
        .hint(hint))
}

/// Finds the project's name: flag, variable, `name` of the files, directory.
///
/// # Errors
/// Fails where the name is given and is not a valid one.
pub(super) fn project_name(
    request: &LoadRequest,
    discovered: &Discovered,
    documents: &[Rc<Vec<Node>>],
    report: &mut Report,
) -> Result<String, Failures> {
    let environment = &discovered.environment;
    let given = request
        .project_name
        .as_ref()
        .filter(|name| !name.is_empty());
    let variable = environment
        .get("COMPOSE_PROJECT_NAME")
        .filter(|name| !name.is_empty());
    if let Some(name) = given.or(variable) {
        if *name == normalize_name(name) {
            return Ok(name.clone());
        }
        return Err(invalid_name(name).into());
    }
    let written = documents
        .iter()
        .flat_map(|documents| documents.iter())
        .filter_map(|document| document.find("name"))
        .filter_map(|node| Some((node.as_text().filter(|name| !name.is_empty())?, node.span)))
        .next_back();
    if let Some((name, span)) = written {
        let name = if request.runs(Phase::Interpolation) {
            interpolate::interpolate_text(name, span, environment, report)?
        } else {
            name.to_owned()
        };
        let name = if request.runs(Phase::Normalization) {
            normalize_name(&name)
        } else {
            name
        };
        if !name.is_empty() {
            return Ok(name);
        }
        return Ok(String::new());
    }
    Ok(directory_name(discovered))
}

/// Returns the name that a project has from its directory.
pub(super) fn directory_name(discovered: &Discovered) -> String {
    let directory = discovered.name_directory.file_name();
    normalize_name(&directory.unwrap_or_default().to_string_lossy())
}

fn invalid_name(name: &str) -> Failure {
    Failure::new(Code::ProjectName, format!(
        "invalid project name \"{name}\": must consist only of lowercase alphanumeric characters, hyphens, and \
         underscores as well as start with a letter or number"
    ))
    .at(Span::NOWHERE, "")
    .hint_if(Some(normalize_name(name)).filter(|name| !name.is_empty()).map(|name| format!("`{name}` would do")))
}

/// Makes a name of a project out of any text.
#[must_use]
pub fn normalize_name(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .filter(|next| {
            next.is_ascii_lowercase() || next.is_ascii_digit() || matches!(next, '_' | '-')
        })
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// Removes `.`, `..` and doubled separators from a path, without looking at the disk.
#[must_use]
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match cleaned.components().next_back() {
                Some(Component::Normal(_)) => {
                    cleaned.pop();
                }
                Some(Component::RootDir) => {}
                _ => cleaned.push(".."),
            },
            other => cleaned.push(other),
        }
    }
    if cleaned.as_os_str().is_empty() {
        cleaned.push(".");
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_names() {
        assert_eq!(normalize_name("My App 2!"), "myapp2");
        assert_eq!(normalize_name("My_Dir.X-1"), "my_dirx-1");
        assert_eq!(normalize_name("___"), "");
    }

    #[test]
    fn cleans_paths() {
        assert_eq!(clean(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(clean(Path::new("../x/..")), Path::new(".."));
        assert_eq!(clean(Path::new("/../a")), Path::new("/a"));
        assert_eq!(clean(Path::new(".")), Path::new("."));
    }
}
