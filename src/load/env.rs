//! The environment that variables are taken from: the process over dotenv files (behaviours.md B029-B035).

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::{
    Code, bounded,
    dotenv::{self, Dotenv, DotenvError},
    error::SourceKind,
    node::Span,
    report::{Failure, Report},
    request::LoadRequest,
};

/// Variables by name.
pub(super) type EnvMap = IndexMap<String, String>;

/// Adds what the dotenv files say and the environment does not.
///
/// # Errors
/// Fails where a file is missing or is not dotenv.
pub(super) fn add_files(
    environment: &mut EnvMap,
    files: &[PathBuf],
    report: &mut Report,
) -> Result<(), Failure> {
    for (name, value) in read_files(environment, files, report)? {
        environment.entry(name).or_insert(value);
    }
    Ok(())
}

/// Reads dotenv files in order; later ones win, and may use earlier ones.
///
/// # Errors
/// Fails where a file is missing or is not dotenv.
pub(super) fn read_files(
    environment: &EnvMap,
    files: &[PathBuf],
    report: &mut Report,
) -> Result<EnvMap, Failure> {
    let mut variables = EnvMap::new();
    for file in files {
        let shown = file.display();
        if file.is_dir() {
            return Err(Failure::new(
                Code::File,
                format!("the env file `{shown}` is a directory"),
            ));
        }
        let text = bounded::read_text(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(Code::File, format!("couldn't find env file: {shown}"))
            }
            _ => Failure::new(
                Code::File,
                format!("cannot read the env file `{shown}`: {error}"),
            ),
        })?;
        let lookup = |name: &str| environment.get(name).cloned();
        parse(file, text, Format::Dotenv, &mut variables, &lookup, report)?;
    }
    Ok(variables)
}

/// How a file with variables is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// With quotes and variables.
    Dotenv,
    /// As `docker run --env-file` reads it.
    Raw,
}

/// Reads one text into the variables.
///
/// # Errors
/// Fails with the first line that is no assignment.
pub(super) fn parse(
    file: &Path,
    text: String,
    format: Format,
    variables: &mut EnvMap,
    lookup: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Result<(), Failure> {
    let (number, source) =
        report.add_source(&file.display().to_string(), text, SourceKind::Variables);
    let mut missing = Vec::new();
    let result = match format {
        Format::Raw => dotenv::parse_raw(&source.text, variables, lookup),
        Format::Dotenv => {
            let mut dotenv = Dotenv {
                variables,
                lookup,
                missing: Vec::new(),
            };
            let result = dotenv.parse(&source.text);
            missing = dotenv.missing;
            result
        }
    };
    for name in missing {
        let at = source.text.find(&format!("${name}"));
        let at = at.or_else(|| source.text.find(&format!("${{{name}")));
        report.warn(
            Failure::new(
                Code::UnsetVariable,
                format!("The \"{name}\" variable is not set. Defaulting to a blank string."),
            )
            .at(span_at(number, at.unwrap_or(0), name.len() + 1), ""),
        );
    }
    result.map_err(|DotenvError { message, offset }| {
        let line = source.text[offset..]
            .lines()
            .next()
            .unwrap_or("")
            .len()
            .min(1);
        Failure::new(
            Code::EnvFile,
            format!("the env file `{}` is not valid: {message}", file.display()),
        )
        .at(span_at(number, offset, line), "")
    })
}

fn span_at(source: u32, start: usize, length: usize) -> Span {
    let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span {
        source,
        start: position(start),
        end: position(start + length),
    }
}

/// Returns the explicit env files: `--env-file`, else `COMPOSE_ENV_FILES` of the process.
pub(super) fn explicit_files(request: &LoadRequest) -> Vec<PathBuf> {
    let listed = request.environment.get("COMPOSE_ENV_FILES");
    let names: Vec<&str> = match (request.env_files.as_slice(), listed) {
        ([], Some(list)) if !list.is_empty() => list.split(',').collect(),
        (files, _) => files.iter().map(String::as_str).collect(),
    };
    names
        .iter()
        .map(|name| request.current_directory.join(name))
        .collect()
}

/// Returns the `.env` of a directory, where there is one and it is wanted.
///
/// # Errors
/// Fails where `COMPOSE_DISABLE_ENV_FILE` is not a boolean.
pub(super) fn default_file(
    request: &LoadRequest,
    directory: &Path,
) -> Result<Option<PathBuf>, Failure> {
    if let Some(disable) = request.environment.get("COMPOSE_DISABLE_ENV_FILE") {
        match disable.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => return Ok(None),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => {}
            _ => {
                return Err(Failure::new(
                    Code::InvalidValue,
                    "`COMPOSE_DISABLE_ENV_FILE` must be a boolean",
                )
                .hint("say `true` or `false`"));
            }
        }
    }
    let file = directory.join(".env");
    Ok(file.is_file().then_some(file))
}
